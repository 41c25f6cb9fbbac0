"""Orders: stable sorts, median, kthvalue, mode, searchsorted.

In: a tensor and an axis. Out: the operator of PyTorch.

    sort(stable=True)   the TopK of ONNX over the whole axis: among equals it takes the lower place first
    median              entry (n - 1) // 2 of the sorted entries, and NaN where a NaN is
    mode                the sorted entry whose run is longest, the smallest of several
    searchsorted        the number of sorted entries that are not behind the value

Values are exact. Places are exact for stable sorts, `argmax`, `argmin`, `max` and `min`. For the others PyTorch's choice among
equals is unspecified, and a graph takes the lowest place. What PyTorch 2.13 was seen to take on a CPU:

    sort, argsort      the lowest place up to 16 entries, beyond it any
    topk               any, at every length: three of four places differ from a graph's
    median, kthvalue   any
    mode               the last place up to 16 entries, beyond it any; of several values the smallest
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgexf_exporters.trace.operators.running import running

aten = torch.ops.aten


def stable_sort(
    x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False  # noqa: ARG001 (TopK is stable)
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return aten.sort.default(x, dim, descending)  # type: ignore[no-any-return]


def stable_argsort(x: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:  # noqa: ARG001
    return stable_sort(x, dim=dim, descending=descending)[1]


def at(values: Tensor, axis: int, place: Any, keepdim: bool) -> Tensor:
    """The entry of `values` at a place along an axis."""
    found = values.index_select(axis, torch.full((1,), place, dtype=torch.int64))
    return found if keepdim else found.squeeze(axis)


def median(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, places = aten.sort.default(x, dim)
    middle = (x.shape[dim] - 1) // 2
    value, place = (at(one, dim, middle, keepdim) for one in (values, places))
    if x.is_floating_point():
        absent = torch.isnan(x)
        missing = absent.any(dim, keepdim)
        value = torch.where(missing, torch.full_like(value, torch.nan), value)
        place = torch.where(missing, absent.to(torch.int64).argmax(dim, keepdim), place)
    return value, place


def median_of_all(x: Tensor) -> Tensor:
    return median(x.reshape(-1), 0)[0]


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, places = aten.sort.default(x, dim)
    return at(values, dim, k - 1, keepdim), at(places, dim, k - 1, keepdim)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent entry. A run begins where a sorted entry differs from the one before."""
    axis = dim % x.ndim
    values, places = aten.sort.default(x, axis)
    count = torch.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - 1 - axis))
    before = values.index_select(axis, (torch.arange(x.shape[axis]) - 1).clamp(min=0))
    starts = running(torch.where(values != before, count, torch.zeros_like(count)), axis, torch.maximum)
    last = (count - starts).argmax(axis, keepdim=True)
    value, place = values.gather(axis, last), places.gather(axis, last)
    return (value, place) if keepdim else (value.squeeze(axis), place.squeeze(axis))


def searchsorted(
    sequence: Tensor, x: Tensor, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The place of each value of `x` in a sorted sequence, by a comparison with each entry of the sequence."""
    if sorter is not None:
        sequence = sequence.gather(-1, sorter)
    entries = sequence.reshape((1,) * x.ndim + (-1,)) if sequence.ndim == 1 else sequence.unsqueeze(-2)
    value = x.unsqueeze(-1)
    behind = entries > value if right or side == "right" else entries >= value
    found = (~behind).to(torch.int64).sum(-1)
    return found.to(torch.int32) if out_int32 else found


def bucketize(x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.sort.stable: stable_sort,
    aten.argsort.stable: stable_argsort,
    aten.median.dim: median,
    aten.median.default: median_of_all,
    aten.kthvalue.default: kthvalue,
    aten.mode.default: mode,
    aten.searchsorted.Tensor: searchsorted,
    aten.bucketize.Tensor: bucketize,
}
