"""Operators in which the sign of a zero or an absent operand counts: atan2, hypot, copysign, signbit, fmax, fmin, xlogy.

In: two tensors. Out: the operator of PyTorch.

    atan2(y, x)   a = atan(smaller / larger) of the sizes; pi/2 - a where y is larger; pi - a where x is negative
    hypot(x, y)   larger * sqrt(1 + (smaller / larger)^2)
    signbit(x)    x < 0 or 1 / x < 0

ONNX can't see the sign of a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def signbit(x: Tensor) -> Tensor:
    below = x < 0
    return below | (torch.reciprocal(x) < 0) if x.is_floating_point() else below


def sizes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sizes of `x` and `y`, the smaller and the larger, and their quotient: 0 of two zeros, 1 of two infinities."""
    one, two = x.abs(), y.abs()
    smaller, larger = torch.minimum(one, two), torch.maximum(one, two)
    equal = torch.where(larger == 0, torch.zeros_like(larger), torch.ones_like(larger))
    return one, two, torch.where(smaller == larger, equal, smaller / larger)


def floats(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.result_type(x, y)
    kind = kind if kind.is_floating_point else torch.float32
    return x.to(kind), y.to(kind)


def atan2(y: Tensor, x: Tensor) -> Tensor:
    y, x = floats(y, x)
    across, up, quotient = sizes(x, y)
    angle = torch.atan(quotient)
    angle = torch.where(up > across, math.pi / 2 - angle, angle)
    angle = torch.where(signbit(x), math.pi - angle, angle)
    return torch.where(signbit(y), -angle, angle)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    x, y = floats(x, y)
    one, two, quotient = sizes(x, y)
    found = torch.maximum(one, two) * torch.sqrt(1 + quotient * quotient)
    return torch.where((one == math.inf) | (two == math.inf), torch.full_like(found, math.inf), found)


def copysign(x: Tensor, y: Tensor | float) -> Tensor:
    if not isinstance(y, Tensor):
        y = torch.full((), y, dtype=x.dtype if x.is_floating_point() else torch.float32)
    x, y = floats(x, y)
    return torch.where(signbit(y), -x.abs(), x.abs())


def fmax(x: Tensor, y: Tensor) -> Tensor:
    """The larger. A NaN counts as absent."""
    return torch.where((x >= y) | torch.isnan(y), x, y)


def fmin(x: Tensor, y: Tensor) -> Tensor:
    return torch.where((x <= y) | torch.isnan(y), x, y)


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x * log(y), and 0 where x is 0 and y is a number."""
    x, y = floats(x, y)
    return torch.where((x == 0) & ~torch.isnan(y), torch.zeros_like(x), x * torch.log(y))


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.signbit.default: signbit,
    aten.atan2.default: atan2,
    aten.arctan2.default: atan2,
    aten.hypot.default: hypot,
    aten.copysign.Tensor: copysign,
    aten.copysign.Scalar: copysign,
    aten.fmax.default: fmax,
    aten.fmin.default: fmin,
    aten.xlogy.Tensor: xlogy,
    aten.special_xlogy.default: xlogy,
}
