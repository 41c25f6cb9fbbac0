"""Resizing to the nearest entry and by a factor, as PyTorch chooses and weighs the entries.

In: the arguments of ``aten.upsample_nearest2d`` and its relatives. Out: the entries that PyTorch takes, by `index_select`.

    place i of the result  ->  floor(i * scale), or floor((i + 0.5) * scale) for "nearest-exact"; scale in float32

Resize of ONNX divides by its own scale. Where a place falls on the border of two entries, rounding decides, and the two
differ: with a scale_factor of 0.6 at every width from 17 on. It also computes the size that a factor asks for in float32
(`edgexf_exporters.trace.sizes`). So linear and cubic resizing by a factor are sums of weighted entries here; by sizes they stay Resize.
Source: Keys 1981, "Cubic convolution interpolation", eq. 15, with a = -0.75 as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def nearest(values: Tensor, sizes: Sequence[int], factors: Sequence[float | None], offset: float) -> Tensor:
    """`values` [batch, channels, ...] in the `sizes` of its last axes. A factor of None follows from the sizes."""
    for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        length = values.shape[axis]
        # PyTorch inverts a factor in float64, and divides sizes in float32.
        scale = (
            torch.full((), length, dtype=torch.float32) / torch.full((), size, dtype=torch.float32)
            if not factor
            else torch.full((), 1 / factor, dtype=torch.float32)
        )
        place = ((torch.arange(size, dtype=torch.float32) + offset) * scale).to(torch.int64)
        values = values.index_select(axis, place.clamp(max=length - 1))
    return values


def resizing(axes: int, offset: float) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Makes the function of the operator that takes sizes, and of the one that takes sizes or factors."""

    def by_sizes(values: Tensor, sizes: Sequence[int], *factors: float | None) -> Tensor:
        return nearest(values, sizes, factors or [None] * axes, offset)

    def by_either(values: Tensor, sizes: Sequence[int] | None, factors: Sequence[float] | None = None) -> Tensor:
        if sizes is not None:
            return nearest(values, sizes, [None] * axes, offset)
        factors = factors or []
        found = [torch.sym_int(length * factor) for length, factor in zip(values.shape[2:], factors, strict=True)]
        return nearest(values, found, factors, offset)

    return by_sizes, by_either


def linear(share: Tensor) -> list[Tensor]:
    """The weights of the entry below a place and of the next one."""
    return [1 - share, share]


def cubic(share: Tensor) -> list[Tensor]:
    """The weights of the four entries around a place, the first one before the entry below it."""

    def near(distance: Tensor) -> Tensor:
        return ((SLOPE + 2) * distance - (SLOPE + 3)) * distance * distance + 1

    def far(distance: Tensor) -> Tensor:
        return ((SLOPE * distance - 5 * SLOPE) * distance + 8 * SLOPE) * distance - 4 * SLOPE

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


SLOPE = -0.75


def weighed(
    values: Tensor, sizes: Sequence[int], factors: Sequence[float], weigh: Callable[..., list[Tensor]]
) -> Tensor:
    """`values` [batch, channels, ...] in the `sizes` of its last axes, each axis by its factor."""
    for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        scale = torch.full((), 1 / factor, dtype=torch.float32)
        place = (torch.arange(size, dtype=torch.float32) + 0.5) * scale - 0.5
        below = place.floor()
        shape, last, first = [-1, *[1] * (values.ndim - axis - 1)], values.shape[axis] - 1, -int(weigh is cubic)
        entries = [
            values.index_select(axis, (below.to(torch.int64) + first + step).clamp(0, last)) * weight.reshape(shape)
            for step, weight in enumerate(weigh(place - below))
        ]
        values = entries[0]
        for entry in entries[1:]:
            values = values + entry
    return values


def by_factors(plain: Any, weigh: Callable[..., list[Tensor]]) -> Callable[..., Tensor]:
    """Makes the function of an operator that takes sizes or factors; `plain` is the one that takes sizes."""

    def resized(
        values: Tensor, sizes: Sequence[int] | None, align_corners: bool, factors: Sequence[float] | None = None
    ) -> Tensor:
        if sizes is not None or not factors:
            answer: Tensor = plain(values, sizes, align_corners)
            return answer
        found = [torch.sym_int(length * factor) for length, factor in zip(values.shape[2:], factors, strict=True)]
        return plain(values, found, True) if align_corners else weighed(values, found, factors, weigh)

    return resized


RESIZED: dict[Any, Callable[..., Tensor]] = {
    getattr(aten, name).vec: by_factors(getattr(aten, name).default, weigh)
    for name, weigh in (
        ("upsample_linear1d", linear),
        ("upsample_bilinear2d", linear),
        ("upsample_trilinear3d", linear),
        ("upsample_bicubic2d", cubic),
    )
} | {
    getattr(getattr(aten, name.format(axes)), overload): function
    for name, offset in (("upsample_nearest{}d", 0.0), ("_upsample_nearest_exact{}d", 0.5))
    for axes in (1, 2, 3)
    for overload, function in zip(("default", "vec"), resizing(axes, offset), strict=True)
}
