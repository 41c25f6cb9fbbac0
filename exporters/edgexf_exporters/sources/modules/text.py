"""A custom module that reads text.

In: the `Source` of a custom module, and a tokenizer of transformers. Out: the same source, whose bundle turns text into
the inputs of the module. The inputs must be arrays that the tokenizer gives, under the tokenizer's names for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgexf import names
from edgexf.bundle.preprocess import Text
from edgexf.errors import UsageError
from edgexf_exporters.source import Source
from edgexf_exporters.sources.tokenizer import of_tokenizer

GIVEN = (names.INPUT_IDS, names.ATTENTION_MASK, names.TOKEN_TYPE_IDS)


def reads_text(source: Source, tokenizer: Any) -> Source:
    """The source with a tokenizer.

    Raises UsageError unless every input is one of `GIVEN`, [samples, tokens], and an embedding reads the token ids.
    Raises ExportError for a tokenizer that a bundle can't carry.
    """
    about = source.module_inputs
    rows = {tensor.name: tensor.shape for tensor in source.tensors}
    shape = rows.get(names.INPUT_IDS, ())
    alike = len(shape) == 2 and all(other == shape for other in rows.values()) and set(rows) <= set(GIVEN)
    if (
        about is None
        or not alike
        or shape[0] != about.signature.samples
        or names.INPUT_IDS not in about.signature.below
    ):
        raise UsageError(
            f"a tokenizer gives a module's inputs {', '.join(GIVEN)}, each [samples, tokens], got the inputs "
            f"{', '.join(rows)}; give forward's arguments these names, or leave the tokenizer out."
        )
    masked = dict(about.real) == {names.ATTENTION_MASK: 1}  # as the runtime pads; another mask stays as it is
    vocabulary = about.signature.below[names.INPUT_IDS]
    carried = of_tokenizer(tokenizer, vocabulary)
    longest = min(
        source.limits.max_length, carried.longest.tokens
    )  # of a text; arrays may be as long as the module takes
    padding = getattr(tokenizer, "pad_token_id", None) or 0
    return replace(
        source,
        preprocess=Text("text", padding, carried.segments),
        files={**source.files, **carried.files},
        limits=replace(
            source.limits,
            vocab=vocabulary,
            max_length=max(longest, source.limits.min_length),
            padding=source.limits.padding if masked else "none",
        ),
        provenance={**source.provenance, "tokenizer": "as transformers reads it"},
    )
