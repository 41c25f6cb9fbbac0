"""embedding_bag: sums, means and maxima of rows of a table, bag by bag.

In: a table [ids, width], ids [entries], and the place at which each bag begins. Out: [bags, width].

    bag of an entry   how many bags begin up to its place, less one
    sum               the rows, added to their bags

torch's translation is a loop over the bags, and no valid graph for means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
MEAN, MAX = 1, 2  # the modes of PyTorch; 0 is a sum


def bags_of_entries(offsets: Tensor, entries: int) -> Tensor:
    """The bag of each entry, int64 [entries]. A bag may be empty, also the last one."""
    starts = torch.zeros(entries + 1, dtype=torch.int64).index_add(
        0, offsets, torch.ones_like(offsets, dtype=torch.int64)
    )
    return starts[:-1].cumsum(0) - 1


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,  # noqa: ARG001 (of the gradient)
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,  # noqa: ARG001
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The bags, and what only a gradient reads: the bag of each entry, and the entries of each bag, twice."""
    rows, indices = weight.index_select(0, indices), indices.to(torch.int64)
    bag = bags_of_entries(offsets.to(torch.int64), indices.shape[0])
    count, width = offsets.shape[0] - int(include_last_offset), weight.shape[1]
    real = torch.ones_like(indices) if padding_idx is None else (indices != padding_idx).to(torch.int64)
    held = torch.zeros(count, dtype=torch.int64).index_add(0, bag, real)
    if mode == MAX:
        rows = torch.where(real.unsqueeze(1) == 1, rows, torch.full((), -math.inf, dtype=rows.dtype))
        least = torch.full((count, width), -math.inf, dtype=rows.dtype)
        found = least.scatter_reduce(0, bag.unsqueeze(1).expand(-1, width), rows, "amax")
        return torch.where(held.unsqueeze(1) == 0, torch.zeros_like(found), found), bag, held, held
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    rows = torch.where(real.unsqueeze(1) == 1, rows, torch.zeros_like(rows))
    found = torch.zeros(count, width, dtype=rows.dtype).index_add(0, bag, rows)
    if mode == MEAN:
        found = found / held.clamp(min=1).unsqueeze(1)
    return found, bag, held, held


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.embedding_bag.default: embedding_bag,
    aten.embedding_bag.padding_idx: embedding_bag,
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_forward_only.default: embedding_bag,
}
