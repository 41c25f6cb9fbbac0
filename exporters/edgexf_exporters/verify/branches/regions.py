"""Regions of sizes outside a trace: which sizes the contract allows, but a condition of the trace excludes.

In: the conditions of a trace and the axes of a signature. Out: `Region`s, in the order in which the model asks, and sizes
of a region at which to compare.

    conditions n % 2 == 1, n != 1001      ->      n even;  n odd and n == 1001

A region is a conjunction: some conditions hold, the last one fails. One axis is enumerated. Of several axes, each is
enumerated with the others at their smallest, a usual and their largest size, and all with the same size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.formula import size_of
from edgexf.bundle.signature import Axis, Signature
from edgexf_exporters.trace.guards import Condition

Shapes = Sequence[Sequence[int | str]]
Sizes = dict[str, int]
Numbers = npt.NDArray[Any]
DRAWN = 8  # sizes of a region that are drawn by chance, besides its ends
PROBES = 64  # sizes of the other axes at which an end of an axis is looked for


@dataclass(frozen=True)
class Region:
    """Sizes at which some conditions hold and others fail.

    Attributes:
        literals: conditions, each with whether it holds; in the order in which the model asks.
        near: sizes of a further trace beside which the region lies; empty beside the trace of the graph. A line through
            usual sizes would miss ``batch == 37 and length == 211``.
    """

    literals: tuple[tuple[Condition, bool], ...]
    near: Mapping[str, int] = field(default_factory=dict)

    @property
    def condition(self) -> Condition:
        """The condition behind which the region lies: the last one that fails."""
        return next(condition for condition, holds in reversed(self.literals) if not holds)

    def holds(self, shapes: Shapes, sizes: Mapping[str, Any]) -> Any:
        """Whether sizes are in the region, for sizes that are numbers or arrays of one shape."""
        inside: Any = True
        for condition, wanted in reversed(self.literals):  # the last one fails nearly nowhere
            inside = np.logical_and(inside, np.equal(condition.holds(shapes, sizes), wanted))
            if not np.any(inside):
                break
        return inside

    def axes(self, shapes: Shapes, signature: Signature) -> list[Axis]:
        """The axes on which the conditions depend that fail."""
        names = [axis.name for axis in signature.axes]
        read = {name for condition, holds in self.literals if not holds for name in condition.axes(shapes, names)}
        return [axis for axis in signature.axes if axis.name in read]


def outside(
    conditions: Sequence[Condition], known: Sequence[tuple[Condition, bool]] = (), near: Mapping[str, int] | None = None
) -> list[Region]:
    """The regions in which all of `known` are as they say, and one of the conditions is the first that fails."""
    earlier = list(known)
    found = []
    for condition in conditions:
        found.append(Region((*earlier, (condition, False)), near or {}))
        earlier.append((condition, True))
    return found


def allowed(axis: Axis) -> Numbers:
    """All sizes of an axis."""
    return np.arange(-(-axis.least // axis.step) * axis.step, axis.most + 1, axis.step)


def lines(region: Region, shapes: Shapes, signature: Signature, usual: Sizes) -> Iterator[dict[str, Numbers]]:
    """Yields the sizes at which a region is looked for, as arrays of all axes."""
    axes = region.axes(shapes, signature)
    ends = {axis.name: sorted({int(allowed(axis)[0]), usual[axis.name], int(allowed(axis)[-1])}) for axis in axes}
    ends = {name: sorted({*sizes, region.near.get(name, sizes[0])}) for name, sizes in ends.items()}
    small = {axis.name: int(allowed(axis)[0]) for axis in signature.axes}
    starts = [usual, small, *([dict(region.near)] if region.near else [])]
    for axis in axes:
        sizes = allowed(axis)
        others = [name for name in ends if name != axis.name]
        for chosen in product(*(ends[name] for name in others)):
            for start in starts:
                fixed = {**start, **dict(zip(others, chosen, strict=True))}
                yield {name: np.full(len(sizes), size) for name, size in fixed.items()} | {axis.name: sizes}
    if len(axes) > 1:
        same = allowed(axes[0])
        for axis in axes[1:]:
            same = np.intersect1d(same, allowed(axis))
        for start in starts:
            yield {name: np.full(len(same), size) for name, size in start.items()} | {axis.name: same for axis in axes}


def chosen(
    region: Region, shapes: Shapes, signature: Signature, usual: Sizes, affordable: int
) -> tuple[list[Sizes], int]:
    """Sizes of a region at which to compare, and how many sizes were found in it.

    All of them where they are few. Otherwise both ends of each line, and some that are drawn. An input has at most
    `affordable` values.
    """
    ends: dict[tuple[int, ...], Sizes] = {}
    between: dict[tuple[int, ...], Sizes] = {}
    seen = 0
    for line in lines(region, shapes, signature, usual):
        inside = np.broadcast_to(region.holds(shapes, line), next(iter(line.values())).shape)
        seen = max(seen, int(inside.sum()))
        places = np.flatnonzero(inside & (values(shapes, line) <= affordable))
        for count, place in enumerate(places):
            sizes = {name: int(array[place]) for name, array in line.items()}
            (ends if count in (0, len(places) - 1) else between)[tuple(sizes.values())] = sizes
    drawn = np.random.default_rng(len(between)).permutation(len(between))[:DRAWN]
    rest = list(between.values())
    return [*ends.values(), *(rest[place] for place in sorted(drawn))], seen


def values(shapes: Shapes, sizes: Mapping[str, Any]) -> Any:
    """The values of the largest input."""
    return reduce(np.maximum, (reduce(np.multiply, (size_of(axis, sizes) for axis in shape), 1) for shape in shapes))


def kept(region: Region, shapes: Shapes, signature: Signature, start: Sizes, name: str) -> tuple[int, int] | None:
    """The smallest and the largest size of an axis around its size in `start` that stay out of a region.

    None if the region holds this size too, at some sizes of the other axes. The other axes have their ends, their sizes
    in `start`, the size of the axis itself, and some that are drawn.
    """
    axis, sizes = signature.axis(name), allowed(signature.axis(name))
    others = {one.name: allowed(one) for one in signature.axes if one.name != name}
    chance = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [{other: int(row[place]) for other, row in others.items()} for place in (0, -1)]
    rows.append({other: start[other] for other in others})
    rows.append({other: np.where(np.isin(sizes, row), sizes, row[0]) for other, row in others.items()})
    if region.near:
        rows.append({other: region.near[other] for other in others})
    rows += [{other: int(chance.choice(row)) for other, row in others.items()} for _ in range(PROBES if others else 0)]
    bad = np.zeros(len(sizes), dtype=bool)
    for row in rows:
        bad |= region.holds(
            shapes, {other: np.broadcast_to(size, sizes.shape) for other, size in row.items()} | {name: sizes}
        )
    here = np.flatnonzero(sizes == start[name])
    if not len(here) or bad[here[0]]:
        return None
    below, above = np.flatnonzero(bad[: here[0]]), np.flatnonzero(bad[here[0] :])
    least = int(sizes[below[-1] + 1]) if len(below) else axis.least
    most = int(sizes[here[0] + above[0] - 1]) if len(above) else axis.most
    return least, most
