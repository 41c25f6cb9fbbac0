"""The source of a model of sentence-transformers, from the source of its model of transformers.

In: the source of the model alone, and a `Described`. Out: a source with the same inputs, whose outputs are
``last_hidden_state`` and ``sentence_embedding``. What the family of the model asks for, such as a context for each call,
goes on to the model inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import nn

from edgexf import names
from edgexf.bundle.manifest import Tensor
from edgexf.errors import ExportError, in_a_sentence
from edgexf_exporters.source import Source
from edgexf_exporters.sources.sentences.described import Described
from edgexf_exporters.sources.sentences.encoder import SentenceEncoder
from edgexf_exporters.sources.sentences.layers import LAYERS, chained, check_width, loaded, width_after
from edgexf_exporters.sources.sentences.pooling import Pooling


def with_embedding(source: Source, found: Described, name: str, origin: Mapping[str, str]) -> Source:
    """See the module's docstring. `name` and `origin` are those of the whole checkpoint.

    Raises ExportError for a model without ``last_hidden_state`` or without a mask, and for weights that do not fit.
    """
    hidden = source.outputs[0]
    if hidden.name != names.LAST_HIDDEN_STATE or names.ATTENTION_MASK not in source.inputs:
        raise ExportError(
            f"a model of sentences must read {names.ATTENTION_MASK} and give {names.LAST_HIDDEN_STATE}, got {hidden.name} "
            f"from {', '.join(source.inputs)}; export the model as a module, by its example_inputs."
        )
    width = int(hidden.shape[-1])
    check_width("Pooling", found.width, width)
    layers, dim = layers_of(found, width * len(found.modes))
    encoder = SentenceEncoder(source.module, Pooling(found.modes), layers, found.embedding.include_prompt)
    if found.embedding.dimensions > dim:
        raise ExportError(
            f"truncate_dim must be at most the {dim} values of an embedding, got {found.embedding.dimensions}; mend the config."
        )
    inner = source.call_context

    def call_context(called: nn.Module) -> AbstractContextManager[None]:
        return inner(called.model if isinstance(called, SentenceEncoder) else called)

    return replace(
        source,
        name=name,
        module=encoder.eval(),
        outputs=(hidden, Tensor(names.SENTENCE_EMBEDDING, "float32", (hidden.shape[0], dim))),
        sentences=found.embedding,
        files=lower_case(source.files) if found.lower_case else source.files,
        call_context=call_context,
        provenance={**source.provenance, **origin, "sentences": found.names},
    )


def layers_of(found: Described, width: int) -> tuple[nn.Sequential, int]:
    """The layers behind the pooling, and the number of values of an embedding."""
    layers = []
    for layer in found.layers:
        with in_a_sentence(f"the config of {layer.where} must be whole", "fetch or save the model again"):
            made = LAYERS[layer.kind](layer.config, width)
        layers.append(loaded(made, layer.weights, layer.where))
        width = width_after(made, width)
    return chained(layers), width


def lower_case(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a tokenizer that reads every text in lower case, before what it does else to a text."""
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Lowercase, Sequence

    if names.TOKENIZER_FILE not in files:
        return dict(files)
    tokenizer = Tokenizer.from_str(files[names.TOKENIZER_FILE].decode())
    behind = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    tokenizer.normalizer = Sequence([Lowercase(), *behind])
    return {**files, names.TOKENIZER_FILE: tokenizer.to_str().encode()}
