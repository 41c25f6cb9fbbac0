"""index_put that adds, and index_add: what an index picks twice gets both summands.

    before  ScatterND(data, [..., k], values), which adds
    after   ScatterElements(data as one axis, places, values), which adds

ONNX Runtime runs a ScatterND on several threads, and two threads that add to one entry lose a summand: with two threads and
20,000 rows added to 64, sums of 300 were wrong by up to 28 (1.32, no error; its issue 18048). ScatterElements runs on one
thread. The gradients of indices, of embeddings and of index_add are such additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def index_put(given: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    """Answers NotImplemented where nothing is added, and for masks, whose entries differ from each other."""
    if not accumulate or any(index is not None and index.dtype == torch.bool for index in indices):
        return NotImplemented
    places = torch.arange(given.numel(), device=given.device).view(given.shape)
    picked = aten.index.Tensor(places, indices)
    added = given.flatten().scatter_add(0, picked.flatten(), values.expand(picked.shape).flatten())
    return added.view(given.shape)


def index_add(given: Tensor, dim: int, index: Tensor, values: Tensor, alpha: float = 1) -> Any:
    """Answers NotImplemented for a single number."""
    if given.ndim == 0:
        return NotImplemented
    axes = [1] * given.ndim
    axes[dim] = -1
    summands = values if alpha == 1 else values * alpha
    return given.scatter_add(dim, index.view(axes).expand(values.shape), summands)


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.index_put.default: index_put,
    aten._unsafe_index_put.default: index_put,  # of the gradient of bilinear resizing
    aten.index_add.default: index_add,
}
