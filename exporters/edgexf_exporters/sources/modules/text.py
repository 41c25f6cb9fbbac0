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
from edgexf_exporters.sources.tokenizer import Carried, of_tokenizer

GIVEN = (names.INPUT_IDS, names.ATTENTION_MASK, names.TOKEN_TYPE_IDS)


def reads_text(source: Source, tokenizer: Any) -> Source:
    """The source with a tokenizer.

    Raises UsageError unless every input is one of `GIVEN`, [samples, tokens], and an embedding reads the token ids.
    Raises ExportError for a tokenizer that a bundle can't carry.
    """
    if not reads(source):
        raise UsageError(
            f"a tokenizer gives a module's inputs {', '.join(GIVEN)}, each [samples, tokens], got the inputs "
            f"{', '.join(source.inputs)}; give forward's arguments these names, or leave the tokenizer out."
        )
    carried = of_tokenizer(tokenizer, vocabulary_of(source))
    return carries(source, carried, "as transformers reads it")


def reads(source: Source) -> bool:
    """Whether a tokenizer gives all inputs of a module, and an embedding reads the token ids."""
    about = source.module_inputs
    rows = {tensor.name: tensor.shape for tensor in source.tensors}
    shape = rows.get(names.INPUT_IDS, ())
    alike = len(shape) == 2 and all(other == shape for other in rows.values()) and set(rows) <= set(GIVEN)
    return (
        about is not None and alike and shape[0] == about.signature.samples and names.INPUT_IDS in about.signature.below
    )


def vocabulary_of(source: Source) -> int:
    """The number that all token ids are below."""
    return 1 if source.module_inputs is None else source.module_inputs.signature.below[names.INPUT_IDS]


def carries(source: Source, carried: Carried, note: str) -> Source:
    """The source, which `reads` text, with the files of its tokenizer. `note` says how it reads, for the provenance."""
    real = {} if source.module_inputs is None else dict(source.module_inputs.real)
    masked = real == {names.ATTENTION_MASK: 1}  # as the runtime pads; another mask stays as it is
    # of a text; arrays may be as long as the module takes
    longest = min(source.limits.max_length, carried.longest.tokens)
    return replace(
        source,
        preprocess=Text("text", carried.padding, carried.segments),
        files={**source.files, **carried.files},
        limits=replace(
            source.limits,
            vocab=vocabulary_of(source),
            max_length=max(longest, source.limits.min_length),
            padding=source.limits.padding if masked else "none",
        ),
        provenance={**source.provenance, "tokenizer": note},
    )
