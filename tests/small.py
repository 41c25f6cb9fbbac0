"""Small encoders with random weights, for tests that need no trained weights."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from click.testing import CliRunner

from edgexf.bundle.manifest import Limits
from edgexf.spec import (
    AttentionSpec,
    EncoderSpec,
    FullAttentionSpec,
    HashedAttentionSpec,
    ProjectedAttentionSpec,
    WindowedAttentionSpec,
)
from edgexf_exporters import VARIANTS

if TYPE_CHECKING:
    import torch

    from edgexf.models.encoder import Encoder

NAMES = tuple(variant.name for variant in VARIANTS if variant.reference)
LIMITS = Limits(vocab=258, min_length=2, max_length=100, block=1, max_global=0, padding="invariant")
ROOT = Path(__file__).parents[1]  # root folder of the repository
DATA = ROOT / "tests" / "data"

SMALL: dict[str, AttentionSpec] = {
    "transformer": FullAttentionSpec(),
    "longformer": WindowedAttentionSpec(window=8),
    "reformer": HashedAttentionSpec(buckets=4, rounds=2, chunk=8),
    "linformer": ProjectedAttentionSpec(rank=5),
}


def small_spec(name: str) -> EncoderSpec:
    return EncoderSpec(
        attention=SMALL[name], labels=("a", "b", "c"), max_length=100, width=16, heads=2, feedforward=24, context=3
    )


def wide_encoder(name: str) -> Encoder:
    """One layer whose weights hold whole blocks of 32, so that modes in blocks quantize them."""
    import torch  # here and below, because the tests of the runtime run without it

    from edgexf.models import build

    torch.manual_seed(0)
    return build(replace(small_spec(name), layers=1, width=64, feedforward=96))


def small_encoder(name: str, seed: int = 0, layers: int = 2) -> Encoder:
    """Builds an encoder with random weights. The projection is random too, so that no symmetry hides a mistake."""
    import torch

    from edgexf.models import build

    torch.manual_seed(seed)
    encoder = build(replace(small_spec(name), layers=layers))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def random_tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Returns input_ids int64 [batch, length]. The class token is the first token."""
    import torch

    ids = torch.randint(0, 256, (batch, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = 257
    return ids


def random_ids(batch: int, length: int, seed: int = 0) -> npt.NDArray[Any]:
    """Returns such tokens without torch: input_ids int64 [batch, length]."""
    ids = np.random.default_rng(seed).integers(0, 256, (batch, length))
    ids[:, 0] = 257
    return ids


def prompt() -> CliRunner:
    """Returns a prompt that keeps standard output and error apart, which click 8.1 does only if it is asked to."""
    apart: Any = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**apart)
