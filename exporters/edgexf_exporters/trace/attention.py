"""Scaled dot-product attention in operators that ONNX has.

In: the arguments of ``aten.scaled_dot_product_attention``, of any number of axes. Out: softmax(scale Q K^T + mask) V;
Vaswani et al. 2017, eq. 1.

torch answers 0 for a query whose keys are all hidden. A softmax over -inf alone is NaN, and a softmax over the least
number is a mean over all keys. So the least number hides keys, and the answer to such a query is replaced by 0. The
translation of the exporter gives the mean, and takes four axes only.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LEAST = torch.finfo(torch.float32).min


def grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The keys and values [..., heads, keys, width], repeated so that each head of the queries has its own."""
    repeats = query.shape[-3] // key.shape[-3]
    one, two = (tokens.repeat_interleave(repeats, dim=-3) for tokens in (key, value))
    return one, two


def causal(query: Tensor, key: Tensor) -> Tensor:
    """Which keys a query sees, bool [queries, keys]: the keys up to its own place."""
    return torch.arange(query.shape[-2]).unsqueeze(-1) >= torch.arange(key.shape[-2])


def hidden(scores: Tensor, mask: Tensor) -> Tensor:
    """The scores, with the least number for the keys that a mask hides. The mask is bool, or is added to the scores."""
    if mask.dtype == torch.bool:
        return torch.where(mask, scores, LEAST)
    return scores + mask.clamp(min=LEAST)


def answered(found: Tensor, mask: Tensor) -> Tensor:
    """The answers, with 0 for a query that sees no key."""
    seen = mask if mask.dtype == torch.bool else mask > -math.inf
    return torch.where(seen.any(dim=-1, keepdim=True), found, 0.0)


def attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, _dropout: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False, **_: Any,
) -> Tensor:  # fmt: skip
    """See the module's docstring. There is no dropout: a module that drops at random is refused earlier."""
    if enable_gqa:
        key, value = grouped(query, key, value)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-1, -2)
    mask = causal(query, key) if is_causal else attn_mask
    if mask is None:
        return torch.softmax(scores, -1) @ value
    found = torch.softmax(hidden(scores, mask), -1) @ value
    return found if is_causal else answered(found, mask)
