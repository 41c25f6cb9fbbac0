"""The reference models as sources: a variant with its trained weights, or with weights of the user.

In: the name of a variant, with a user's weights and sizes or without them; or an encoder. Out: a `Source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from edgexf import names
from edgexf.bundle.folder import sha256
from edgexf.bundle.manifest import Limits, Tensor
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import ExportError, UsageError
from edgexf.models import architecture
from edgexf.models.encoder import Encoder
from edgexf.models.weights import load, read, shipped
from edgexf.spec import CLASS_ID, MAX_BYTES, PADDING_ID, VOCABULARY, EncoderSpec
from edgexf_exporters import VARIANTS
from edgexf_exporters.lowerings.swap import variants_in
from edgexf_exporters.source import Source
from edgexf_exporters.variant import Variant
from edgexf_exporters.variant import load as import_reference

TASK = "content-kind"


def from_variant(name: str, weights: Path | None, sizes: Mapping[str, int]) -> Source:
    """The trained reference model, or the user's `weights` in the architecture of the variant.

    `sizes` (such as ``layers``) are needed if the file of weights holds no specification. Raises UsageError for an
    unknown variant or size, InputError for weights that can't be read, and ExportError for weights that don't fit.
    """
    known = {variant.name: variant for variant in VARIANTS if variant.reference}
    if name not in known:
        raise UsageError(f"variant must be one of {', '.join(known)}, got {name!r}; choose one of them.")
    if weights is None:
        if sizes:
            raise UsageError(
                f"sizes describe the weights of a file, got {', '.join(sizes)} without them; add --weights FILE or leave the sizes out."
            )
        path = shipped(name)
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        return source(
            load(path), known[name], {"source": f"reference weights {name}", "weights_sha256": sha256(path)}, card
        )
    encoder = load_own(weights, name, sizes)
    return source(encoder, known[name], {"source": "weights of the user", "weights_sha256": sha256(weights)})


def from_encoder(encoder: Encoder) -> Source:
    """The source of an encoder in memory. Raises UsageError unless its attentions are of one known variant."""
    found = variants_in(encoder)
    if len(found) != 1:
        raise UsageError(
            f"an encoder must have attentions of one known variant, got {[variant.name for variant in found]}; build it with edgexf.models.build."
        )
    return source(encoder, found[0], {"source": "an encoder in memory"})


def source(encoder: Encoder, variant: Variant, origin: Mapping[str, str], card: str = "") -> Source:
    spec = encoder.spec
    if spec.vocabulary < VOCABULARY:
        raise UsageError(
            f"a model that reads bytes needs a vocabulary of at least {VOCABULARY}, got {spec.vocabulary}; "
            "bundles of other inputs come later."
        )
    return Source(
        name=variant.name,
        task=TASK,
        variant=variant,
        module=encoder,
        embedding=encoder.tokens,
        outputs=(Tensor(names.LOGITS, "float32", (names.BATCH, len(spec.labels))),),
        limits=Limits(spec.vocabulary, 2, spec.max_length, 1, 0, variant.padding),
        labels=spec.labels,
        preprocess=Bytes("bytes", CLASS_ID, PADDING_ID, min(MAX_BYTES, spec.max_length - 1)),
        first_id=CLASS_ID,
        padding_id=PADDING_ID,
        config=config(spec, variant.name),
        provenance={**origin, "spec": spec.to_dict()},
        card=card,
        sliced=getattr(import_reference(variant.lowering), "sliced", False),
    )


def load_own(path: Path, variant: str, sizes: Mapping[str, int]) -> Encoder:
    """Loads a user's weights, by the specification in the file or, if the file holds none, by the variant's.

    `sizes` replace sizes of the specification. Raises ExportError for weights of another variant.
    """
    default = EncoderSpec(attention=architecture(variant).attention)
    chosen = resize(read(path)[1] or default, sizes)
    encoder = load(path, chosen)
    if type(chosen.attention) is not type(default.attention):
        raise ExportError(
            f"weights must be of the variant that is named, got {chosen.attention.kind} attention for {variant}; name its own variant."
        )
    return encoder


def resize(spec: EncoderSpec, sizes: Mapping[str, int]) -> EncoderSpec:
    """`spec` with other sizes of the encoder and of its attention. Raises UsageError for an unknown size."""
    of_attention = {field.name for field in fields(spec.attention)}
    of_encoder = {field.name for field in fields(spec)} - {"attention", "labels"}
    unknown = sorted(set(sizes) - of_attention - of_encoder)
    if unknown:
        raise UsageError(
            f"sizes of a {spec.attention.kind} model are {', '.join(sorted(of_attention | of_encoder))}, got {', '.join(unknown)}; leave them out."
        )
    changed: dict[str, Any] = {name: size for name, size in sizes.items() if name in of_encoder}
    attention = replace(spec.attention, **{name: size for name, size in sizes.items() if name in of_attention})
    return replace(spec, attention=attention, **changed)


def config(spec: EncoderSpec, name: str) -> dict[str, Any]:
    """The values of config.json, by the names that other tools look for."""
    return {
        "architectures": ["Encoder"],
        "model_type": f"edgexf-{name}",
        "vocab_size": spec.vocabulary,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "max_position_embeddings": spec.max_length,
        "id2label": {str(index): label for index, label in enumerate(spec.labels)},
        "label2id": {label: index for index, label in enumerate(spec.labels)},
    }
