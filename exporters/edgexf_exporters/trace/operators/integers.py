"""Integers: sums and powers, which wrap in PyTorch, and types for which onnxruntime lacks an operator.

In: int64, or the smaller types. Out: the operator of PyTorch.

    sum         the last entry of CumSum: ReduceSum of onnxruntime adds int64 in float64, and ends at 2^63
    x ** k      products: Pow of onnxruntime takes no int8, and computes in float64
    int16 ...   in int32, and cast to the type again: a cast wraps
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

aten = torch.ops.aten
SMALL = (torch.int8, torch.uint8, torch.int16)


def added(
    x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """A sum of int64, or of a smaller type in this type."""
    kind = dtype or (x.dtype if x.is_floating_point() or x.is_complex() else torch.int64)
    exact = x.dtype not in (torch.int64, torch.uint64) and kind == torch.int64  # up to 2^31 each: float64 holds the sum
    if kind.is_floating_point or kind.is_complex or x.is_floating_point() or exact or x.ndim == 0:
        return NotImplemented
    found = x.to(torch.int64)
    axes = sorted({axis % x.ndim for axis in (dim or range(x.ndim))}, reverse=True)
    for axis in axes:
        last = found.cumsum(axis).index_select(axis, torch.full((1,), -1, dtype=torch.int64))
        found = last if keepdim else last.squeeze(axis)
    return found.to(kind)


def added_in_all(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    return added(x, dtype=dtype)


def power(x: Tensor, exponent: Any) -> Any:
    """A power of integers by a whole number, by squaring."""
    if x.is_floating_point() and exponent == 0.5:
        return torch.sqrt(x)  # as PyTorch does: of -infinity, Pow of ONNX is infinite
    if x.is_floating_point() or x.dtype == torch.bool or not isinstance(exponent, int) or not exponent >= 1:
        return NotImplemented
    found, square = None, x
    while exponent:
        if exponent & 1:
            found = square if found is None else found * square
        exponent >>= 1
        square = square * square if exponent else square
    return found.clone() if found is x else found


def in_int32(target: Any, *kinds: torch.dtype) -> Callable[..., Any]:
    """Makes a function that computes an operator over `kinds` in int32."""

    def function(*args: Any, **kwargs: Any) -> Any:
        given = {value.dtype for value in args if isinstance(value, Tensor)} - {torch.bool}
        if len(given) != 1 or not given <= set(kinds):
            return NotImplemented
        (kind,) = given
        wide = [value.to(torch.int32) if isinstance(value, Tensor) and value.dtype == kind else value for value in args]
        found = target(*wide, **kwargs)
        return tree_map(lambda value: value.to(kind) if value.dtype == torch.int32 else value, found)

    return function


def running_sum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """A running sum in a small type."""
    if dtype not in SMALL and not (dtype is None and x.dtype in SMALL):
        return NotImplemented
    found = x.to(torch.int64).cumsum(dim)
    return found if dtype is None else found.to(dtype)


def square(x: Tensor) -> Any:
    return NotImplemented if x.is_floating_point() else x * x


NO_INT16 = (
    aten.where.self, aten.clamp.default, aten.clamp.Tensor, aten.max.dim, aten.max.default, aten.min.dim, aten.min.default,
    aten.amax.default, aten.amin.default, aten.argmax.default, aten.argmin.default, aten.maximum.default,
    aten.minimum.default,
)  # fmt: skip
NO_UINT8 = (
    aten.neg.default, aten.__lshift__.Scalar, aten.__rshift__.Scalar, aten.bitwise_left_shift.Tensor,
    aten.bitwise_left_shift.Tensor_Scalar, aten.bitwise_right_shift.Tensor, aten.bitwise_right_shift.Tensor_Scalar,
)  # fmt: skip
OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.sum.default: added_in_all,
    aten.sum.dim_IntList: added,
    aten.pow.Tensor_Scalar: power,
    aten.square.default: square,
    aten.cumsum.default: running_sum,
    **{target: in_int32(target, torch.int16) for target in NO_INT16},
    **{target: in_int32(target, torch.int16, torch.uint8) for target in NO_UINT8},
}
