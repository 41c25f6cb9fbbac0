"""Operators that a free length decides: windows, parts, rolls and remainders, and the bags of embedding_bag."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from operators.layers import WEIGHTS, Named, drawn
from operators.measure import Row
from torch import Tensor


def length(x: Tensor) -> Any:
    return x.shape[0]


def image(x: Tensor) -> Tensor:
    """[tokens, channels] as [1, 2, tokens, channels]."""
    return torch.stack([x, x.flip(1)])[None]


def windows() -> Named:
    return {
        "adaptive_avg_pool1d to five over a length": lambda x: F.adaptive_avg_pool1d(x.T[None], 5), "adaptive_max_pool1d to five over a length": lambda x: F.adaptive_max_pool1d(x.T[None], 5),
        "adaptive_max_pool1d with places over a length": lambda x: F.adaptive_max_pool1d(x.T[None].round(), 5, return_indices=True), "adaptive_avg_pool1d to more than a length": lambda x: F.adaptive_avg_pool1d(x.T[None], 31),
        "adaptive_avg_pool2d over a length": lambda x: F.adaptive_avg_pool2d(image(x), (5, 2)), "adaptive_max_pool2d over a length": lambda x: F.adaptive_max_pool2d(image(x), (5, 3)),
        "adaptive_max_pool2d with places over a length": lambda x: F.adaptive_max_pool2d(image(x).round(), (5, 3), return_indices=True), "adaptive_avg_pool2d of one axis over a length": lambda x: F.adaptive_avg_pool2d(image(x), (None, 2)),
        "adaptive_avg_pool3d over a length": lambda x: F.adaptive_avg_pool3d(image(x)[None], (2, 5, 2)), "adaptive_max_pool3d over a length": lambda x: F.adaptive_max_pool3d(image(x)[None], (2, 5, 2)),
        "adaptive_avg_pool1d of infinity over a length": lambda x: F.adaptive_avg_pool1d(torch.where(x > 1.5, math.inf, x).T[None], 5),
    }  # fmt: skip


def parts() -> Named:
    return {
        "roll by a third of a length": lambda x: x.roll(length(x) // 3, 0), "roll back by a third of a length": lambda x: x.roll(-(length(x) // 3), 0), "roll of two axes by a length": lambda x: x.roll((length(x) // 3, 2), (0, 1)),
        "roll of all by a length": lambda x: x.roll(length(x)), "chunk of a length": lambda x: x.chunk(4, 0), "split of a length into halves": lambda x: x.split(length(x) // 2, 0), "tensor_split of a length": lambda x: x.tensor_split(5, 0),
        "vmap over a length": lambda x: torch.vmap(lambda row: row.cumsum(0) * row.sum())(x), "one_hot of a length": lambda x: F.one_hot(torch.arange(length(x)), length(x)).to(x.dtype) @ x,
        "as_tensor of a length": lambda x: x / torch.as_tensor(length(x)), "new_tensor of a length": lambda x: x / x.new_tensor(length(x)),
    }  # fmt: skip


def places() -> Named:
    return {
        "places % half of a length": lambda x: torch.arange(length(x)) % (length(x) // 2), "-places % a length": lambda x: -torch.arange(length(x)) % (length(x) // 2 + 1), "a length % places": lambda x: length(x) % (torch.arange(length(x)) + 1),
        "places fmod half of a length": lambda x: torch.fmod(torch.arange(length(x)) - 5, length(x) // 2), "places // half of a length": lambda x: torch.arange(length(x)) // (length(x) // 2), "-(-length // 8)": lambda x: x * -(-length(x) // 8),
        "round(length * 0.5)": lambda x: x * round(length(x) * 0.5), "length >> 1": lambda x: x * (length(x) >> 1), "length & 6": lambda x: x * (length(x) & 6),
    }  # fmt: skip


TABLE = WEIGHTS[:200].reshape(50, 4)
OFFSETS = torch.tensor([0, 0, 5, 9, 20, 36])  # the first bag and the last one are empty


def bags() -> Named:
    return {
        f"embedding_bag {mode}": lambda x, mode=mode: F.embedding_bag(x, TABLE, mode=mode) for mode in ("sum", "mean", "max")
    } | {
        f"embedding_bag {mode} with empty bags and padding": lambda x, mode=mode: F.embedding_bag(x.flatten(), TABLE, OFFSETS, mode=mode, padding_idx=7) for mode in ("sum", "mean", "max")
    } | {
        "embedding_bag weights": lambda x: F.embedding_bag(x, TABLE, per_sample_weights=x / 7, mode="sum"),
        "embedding_bag with the last offset": lambda x: F.embedding_bag(x.flatten(), TABLE, OFFSETS, include_last_offset=True),
    }  # fmt: skip


def lengths() -> dict[str, Row]:
    ids = torch.arange(36).reshape(12, 3) * 7 % 50
    rows = {name: Row(one, (drawn(12, 5),), scale=True) for name, one in (windows() | parts() | places()).items()}
    return rows | {name: Row(one, (ids,), scale=True) for name, one in bags().items()}
