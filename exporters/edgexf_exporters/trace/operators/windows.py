"""Adaptive poolings of axes of free length.

In: a tensor whose last axes are pooled, and the number of windows of each axis. Out: the operator of PyTorch.

    window i of n entries in k windows   entries floor(i * n / k) to ceil((i + 1) * n / k)      of 7 in 2: 0-3, 3-6

An axis is pooled by itself, for windows are rectangles: means of means, and maxima of maxima. The entries of all windows are
taken at once, [windows, longest window], and those behind the end of a window count nothing: zeros in a sum, the last entry
of the window in a maximum. torch's translation gathers places beyond the end of an axis of free length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

aten = torch.ops.aten
Size = Any  # an int or a SymInt


def windows(length: Size, count: Size) -> tuple[Tensor, Tensor]:
    """The places of the entries of each window, int64 [count, longest], and whether a place lies in its window."""
    turn = torch.arange(count)
    start = turn * length // count
    end = ((turn + 1) * length + count - 1) // count
    places = start[:, None] + torch.arange((length + count - 1) // count + 1)
    return torch.minimum(places, end[:, None] - 1), places < end[:, None]


def entries(values: Tensor, axis: int, places: Tensor) -> Tensor:
    """The entries at `places` [windows, longest] along an axis, which becomes two axes."""
    found: Tensor = values.index_select(axis, places.flatten()).unflatten(axis, places.shape)
    return found


def to_the_end(mask: Tensor, axis: int, ndim: int) -> Tensor:
    """`mask` [windows, ...] along an axis of a tensor with `ndim` axes."""
    return mask.reshape([*mask.shape, *[1] * (ndim - axis - 1)])


def is_free(x: Tensor, count: int) -> bool:
    return any(isinstance(size, SymInt) for size in x.shape[-count:])


def mean_of_windows(x: Tensor, axis: int, count: Size) -> Tensor:
    if isinstance(count, int) and count == 1:
        return x.mean(axis, keepdim=True)
    places, inside = windows(x.shape[axis], count)
    found = entries(x, axis, places)
    kept = torch.where(to_the_end(inside, axis, x.ndim), found, torch.zeros((), dtype=x.dtype))
    return kept.sum(axis + 1) / to_the_end(inside.sum(1), axis, x.ndim)


def averages(axes: int) -> Callable[..., Any]:
    """Makes the average pooling over the last `axes` axes."""

    def function(x: Tensor, output_size: Sequence[Size]) -> Any:
        if not is_free(x, axes):
            return NotImplemented
        for axis, count in enumerate(output_size, start=x.ndim - axes):
            if not statically_known_true(x.shape[axis] == count):
                x = mean_of_windows(x, axis, count)
        return x

    return function


def largest_of_windows(x: Tensor, axis: int, count: Size) -> tuple[Tensor, Tensor]:
    """The largest entry of each window, and its place along the axis: the first of several."""
    places, _ = windows(x.shape[axis], count)
    largest, turn = entries(x, axis, places).max(axis + 1)
    start = to_the_end(places[:, 0], axis, x.ndim)
    return largest, start + turn


def maxima(axes: int) -> Callable[..., Any]:
    """Makes the maximum pooling over the last `axes` axes. A place counts through all of them, row by row."""

    def function(x: Tensor, output_size: Sequence[Size]) -> Any:
        if not is_free(x, axes):
            return NotImplemented
        sizes, place, step = x.shape, None, 1
        for axis in range(x.ndim - 1, x.ndim - axes - 1, -1):
            x, along = largest_of_windows(x, axis, output_size[axis - x.ndim + axes])
            place = along if place is None else place.gather(axis, along) + along * step
            step = step * sizes[axis]
        return x, place

    return function


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.adaptive_avg_pool1d.default: averages(1),
    aten.adaptive_avg_pool2d.default: averages(2),
    aten._adaptive_avg_pool2d.default: averages(2),
    aten.adaptive_avg_pool3d.default: averages(3),
    aten._adaptive_avg_pool3d.default: averages(3),
    aten.adaptive_max_pool2d.default: maxima(2),
    aten.adaptive_max_pool3d.default: maxima(3),
}
