"""Pooling and the layers behind it, beside sentence-transformers' own modules on the same hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgexf_exporters.sources.sentences.layers import Normalize, chained
from edgexf_exporters.sources.sentences.pooling import POOLS, Pooling

TOLERANCE = 1e-6  # of values around 1 in float32: a sum in another order
# Real tokens on the right, on the left, and one of them; 2 stands for a prompt that is not pooled.
MASKS = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])


def hidden() -> torch.Tensor:
    return torch.randn(len(MASKS), MASKS.shape[1], 8, generator=torch.Generator().manual_seed(0))


def of_the_library(modes: tuple[str, ...], states: torch.Tensor, mask: torch.Tensor, **settings: Any) -> torch.Tensor:
    from sentence_transformers.sentence_transformer.modules import Pooling as Library

    features = {"token_embeddings": states, "attention_mask": mask, **settings}
    found: torch.Tensor = Library(8, modes, include_prompt="prompt_length" not in settings)(features)[
        "sentence_embedding"
    ]
    return found


@pytest.mark.parametrize("modes", [*((mode,) for mode in POOLS), tuple(POOLS)], ids="+".join)
def test_every_way_of_pooling_is_the_librarys(modes: tuple[str, ...]) -> None:
    states, real = hidden(), MASKS > 0
    found = Pooling(modes)(states, real, real)
    assert (found - of_the_library(modes, states, MASKS)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("mode", POOLS)
def test_a_prompt_that_is_not_pooled_is_left_out_as_by_the_library(mode: str) -> None:
    states = hidden()[:3]
    real = MASKS[:3] > 0
    place = torch.arange(MASKS.shape[1]) - (~real).long().cumprod(dim=1).sum(
        dim=1, keepdim=True
    )  # counted from the first
    found = Pooling((mode,))(states, real, real & (place >= 2))
    assert (found - of_the_library((mode,), states, MASKS[:3], prompt_length=2)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("mode", POOLS)
def test_what_stands_at_padding_changes_nothing(mode: str) -> None:
    states, real = hidden(), MASKS > 0
    other = torch.where(real.unsqueeze(-1), states, torch.inf)
    assert torch.equal(Pooling((mode,))(states, real, real), Pooling((mode,))(other, real, real))


def test_a_row_whose_tokens_are_all_of_its_prompt_is_as_in_the_library() -> None:
    states, real = hidden()[1:2], MASKS[1:2] > 0
    for mode in POOLS:
        found = Pooling((mode,))(states, real, real & False)
        assert torch.equal(found, of_the_library((mode,), states, MASKS[1:2], prompt_length=3)), mode


def test_only_the_last_normalize_is_a_constant_to_gradients() -> None:
    first, _, last = chained([Normalize(), torch.nn.Tanh(), Normalize(), torch.nn.Identity()])
    value = torch.tensor([[3.0, 4.0]], requires_grad=True)
    for layer, wanted in ((first, [0.128, -0.096]), (last, [0.2, 0.0])):  # d(x/5)/dx by hand, with and without d5
        (found,) = torch.autograd.grad(layer(value)[0, 0], value)
        assert torch.allclose(found, torch.tensor([wanted]))
