"""scatter_reduce to a mean.

In: a tensor, places and values. Out: the mean of the values at each place, with the own entry or without it.

torch's translation replaces the entry by the last value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def scatter_reduce(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Any:
    """The mean. ONNX has the other reductions. A mean of integers is rounded down."""
    if reduce != "mean":
        return NotImplemented
    counts = torch.zeros_like(x).scatter_add(dim, index, torch.ones_like(src))
    stays = torch.ones_like(x) if include_self else (counts == 0).to(x.dtype)
    own = torch.where(stays != 0, x, torch.zeros_like(x))
    total = own.scatter_add(dim, index, src)
    return torch.div(total, counts + stays, rounding_mode=None if x.is_floating_point() else "floor")


OPERATORS: dict[Any, Callable[..., Any]] = {aten.scatter_reduce.two: scatter_reduce}
