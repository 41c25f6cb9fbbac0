"""conv3d without a bias.

In: volumes and weights. Out: the convolution with a bias of zeros: torch's translation makes a bias of two axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *sizes: Any, **named: Any) -> Any:
    if bias is not None:
        return NotImplemented
    return aten.conv3d.default(x, weight, torch.zeros(weight.shape[0], dtype=x.dtype), *sizes, **named)


OPERATORS: dict[Any, Callable[..., Any]] = {aten.conv3d.default: conv3d}
