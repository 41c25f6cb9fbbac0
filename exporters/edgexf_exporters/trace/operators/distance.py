"""cdist: the distance of each row of one matrix to each row of another.

In: [..., rows, width] and [..., others, width]. Out: [..., rows, others].

Entries are subtracted before they are squared, as PyTorch does for up to 25 rows. PyTorch multiplies matrices for more
rows, which loses small distances. The differences take rows * others * width numbers of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def cdist(x: Tensor, y: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:  # noqa: ARG001 (see above)
    away = (x.unsqueeze(-2) - y.unsqueeze(-3)).abs()
    if p == 0:
        return (away != 0).to(x.dtype).sum(-1)
    if p == 1:
        return away.sum(-1)
    if p == math.inf:
        return away.amax(-1)
    if p == 2:
        return torch.sqrt((away * away).sum(-1))
    return (away**p).sum(-1) ** (1 / p)


OPERATORS: dict[Any, Callable[..., Any]] = {aten.cdist.default: cdist, aten._cdist_forward.default: cdist}
