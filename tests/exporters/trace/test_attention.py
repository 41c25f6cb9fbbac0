"""Scaled dot-product attention in plain operators answers as torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from edgexf_exporters.explain.rules import Rules
from edgexf_exporters.trace.attention import attention

# torch's own kernel rounds in another order: a few units of float32 of values around 1
TOLERANCE = 1e-6


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SEEN = torch.tensor([[True, False, True, False], [False] * 4, [True] * 4])
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "two axes": ((3, 8), (4, 8), {}),
    "three axes": ((2, 3, 8), (2, 4, 8), {}),
    "four axes and a scale": ((2, 2, 3, 8), (2, 2, 4, 8), {"scale": 0.3}),
    "causal, more keys": ((2, 3, 8), (2, 4, 8), {"is_causal": True}),
    "causal, fewer keys": ((2, 4, 8), (2, 3, 8), {"is_causal": True}),
    "a query without keys": ((2, 3, 8), (2, 4, 8), {"attn_mask": SEEN}),
    "an added mask without keys": ((2, 2, 3, 8), (2, 2, 4, 8), {"attn_mask": torch.where(SEEN, 0.5, -math.inf)}),
    "grouped queries": ((2, 4, 3, 8), (2, 2, 4, 8), {"enable_gqa": True}),
}


@pytest.mark.parametrize("kind", CASES)
def test_attention_answers_as_torch_does(kind: str) -> None:
    queries, keys, chosen = CASES[kind]
    query, key, value = drawn(*queries), drawn(*keys, seed=1), drawn(*keys, seed=2)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, **chosen)
    found = attention(query, key, value, chosen.pop("attn_mask", None), **chosen)
    assert torch.isfinite(found).all()
    assert (found - wanted).abs().max() <= TOLERANCE


def test_a_query_without_keys_has_no_relevance_and_no_gradient_is_undefined() -> None:
    tokens = drawn(2, 3, 8).requires_grad_(True)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 0] = True
    with Rules():
        found = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, mask)
        (gradient,) = torch.autograd.grad(found.sum(), tokens)
    assert torch.isfinite(gradient).all()
    assert torch.all(gradient[:, 1:] == 0)
    assert torch.all(gradient[:, 0] != 0)
