"""The PyTorch reference models, written for readers: one encoder, four attentions.

    full, windowed, hashed, projected   the attention modules
    encoder                             the encoder around an attention module
    weights                             trained weights on disk, with their specification

In: a specification (`edgexf.spec`). Out: a `torch.nn.Module` in eval mode. `build` takes the attention of the
specification from `ARCHITECTURES` and puts it into the encoder; `weights` then loads the parameters. `ARCHITECTURES` is
the only list of reference models: the exporters know its attention modules, and `samples/train_reference.py` trains
them.
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
    """A reference model.

    Attributes:
        name: the name that users type.
        attention: the default sizes of the attention.
        module: the attention module.
    """

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
    """Builds an encoder with random weights (from the global seed of PyTorch), in eval mode."""
    for candidate in ARCHITECTURES:
        if type(candidate.attention) is type(spec.attention):
            return Encoder(spec, candidate.module).eval()
    raise UsageError(f"no reference model has {spec.attention.kind!r} attention; see edgexf.models.ARCHITECTURES.")
