"""Remainders and whole quotients, as PyTorch rounds them.

In: a dividend and a divisor, tensors or one number. Out: the operator of PyTorch, also at exact multiples.

    remainder      r = fmod(x, y), exact; r + y where r has the other sign than y
    floor          (x - r) / y, one less where the signs differ, then rounded to the nearest whole
    trunc (whole)  (x - fmod(x, y)) // y

torch's translation takes x - y * floor(x / y), and x / y rounds: 0.3 is three times 0.1, but not to float32. PyTorch's
vector kernel answers NaN where x / y has no place in float32, as in remainder(3e38, 0.5); its scalar kernel answers the
number, and so does this. Source: the steps are those that PyTorch documents for `torch.remainder` and `torch.floor_divide`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import SymInt, Tensor

aten = torch.ops.aten
Operand = Tensor | float


def tensors(x: Operand, y: Operand) -> tuple[Tensor, Tensor]:
    """Both operands as tensors of the type that PyTorch gives the answer."""
    kind = torch.result_type(x, y)
    one, two = (value.to(kind) if isinstance(value, Tensor) else torch.full((), value, dtype=kind) for value in (x, y))
    return one, two


def whole(x: Operand, y: Operand) -> bool:
    return not torch.result_type(x, y).is_floating_point


def remainder_and_shift(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """fmod(x, y), and where it has the other sign than y."""
    rest = torch.fmod(x, y)
    return rest, (rest != 0) & ((rest < 0) != (y < 0))


def by_size(target: Any, x: Operand, y: Operand) -> Any:
    """An operator of whole numbers, with a tensor in place of a size: torch's translation takes a plain number."""
    if not isinstance(x, SymInt) and not isinstance(y, SymInt):
        return NotImplemented
    return target(*tensors(x, y))


def remainder(x: Operand, y: Operand) -> Any:
    if whole(x, y):
        return by_size(torch.remainder, x, y)
    x, y = tensors(x, y)
    rest, shifted = remainder_and_shift(x, y)
    return torch.where(shifted, rest + y, rest)


def floor_divide(x: Operand, y: Operand) -> Any:
    """The largest whole number up to x / y. x / 0 is infinite."""
    if whole(x, y):
        return NotImplemented
    x, y = tensors(x, y)
    rest, shifted = remainder_and_shift(x, y)
    near = (x - rest) / y
    near = torch.where(shifted, near - 1, near)
    floor = torch.floor(near)
    floor = torch.where(near - floor > 0.5, floor + 1, floor)
    quotient = x / y
    return torch.where(y == 0, quotient, torch.where(near == 0, quotient * 0, floor))


def truncated(x: Operand, y: Operand) -> Any:
    """The quotient without its fraction. Whole numbers up to 2^63 have no place in a float."""
    if not whole(x, y):
        x, y = tensors(x, y)
        return torch.trunc(x / y)
    x, y = tensors(x, y)
    return torch.floor_divide(x - torch.fmod(x, y), y)


def rest_of_truncated(x: Operand, y: Operand) -> Any:
    """`fmod`, which has a translation but for sizes."""
    return by_size(torch.fmod, x, y) if whole(x, y) else NotImplemented


def divide(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return torch.floor_divide(*tensors(x, y)) if whole(x, y) else floor_divide(x, y)
    return truncated(x, y) if rounding_mode == "trunc" else NotImplemented


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.remainder.Tensor: remainder,
    aten.remainder.Scalar: remainder,
    aten.remainder.Scalar_Tensor: remainder,
    aten.fmod.Scalar: rest_of_truncated,
    aten.floor_divide.default: floor_divide,
    aten.floor_divide.Scalar: floor_divide,
    aten.div.Tensor_mode: divide,
    aten.div.Scalar_mode: divide,
}
