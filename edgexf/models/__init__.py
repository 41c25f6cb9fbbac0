"""PyTorch references, written to be read: one encoder, four attentions.

In: a specification (`edgexf.spec`). Out: a `torch.nn.Module` in eval mode. `ARCHITECTURES` is the one
list; the exporters know its attention modules and the training sample trains them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgexf.errors import UsageError
from edgexf.models.encoder import Encoder
from edgexf.models.full import FullAttention
from edgexf.models.hashed import HashedAttention
from edgexf.models.projected import ProjectedAttention
from edgexf.models.windowed import WindowedAttention
from edgexf.spec import (
    AttentionSpec,
    EncoderSpec,
    FullAttentionSpec,
    HashedAttentionSpec,
    ProjectedAttentionSpec,
    WindowedAttentionSpec,
)


@dataclass(frozen=True)
class Architecture:
    """A name that users type, the attention's default sizes, and the module that implements it."""

    name: str
    attention: AttentionSpec
    module: type[nn.Module]


ARCHITECTURES = (
    Architecture("transformer", FullAttentionSpec(), FullAttention),
    Architecture("longformer", WindowedAttentionSpec(), WindowedAttention),
    Architecture("reformer", HashedAttentionSpec(), HashedAttention),
    Architecture("linformer", ProjectedAttentionSpec(), ProjectedAttention),
)


def architecture(name: str) -> Architecture:
    for candidate in ARCHITECTURES:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in ARCHITECTURES)
    raise UsageError(f"a reference model must be one of {known}, got {name!r}; choose one of them.")


def build(spec: EncoderSpec) -> Encoder:
    """An encoder with fresh weights (from PyTorch's global seed), in eval mode."""
    for candidate in ARCHITECTURES:
        if type(candidate.attention) is type(spec.attention):
            return Encoder(spec, candidate.module).eval()
    raise UsageError(f"no reference model has {spec.attention.kind!r} attention; see edgexf.models.ARCHITECTURES.")
