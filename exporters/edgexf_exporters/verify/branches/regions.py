"""Regions of sizes outside a trace: which sizes the contract allows, but a condition of the trace excludes.

In: the conditions of a trace and the axes of a signature. Out: `Region`s, in the order in which the model asks, and sizes
of a region at which to compare.

    conditions n % 2 == 1, n != 1001      ->      n even;  n odd and n == 1001

A region is a conjunction: some conditions hold, the last one fails. One axis is enumerated. Of several axes, each is
enumerated with the others at their smallest, a usual and their largest size, and all with the same size. Where a branch of
the model is on no such line, as ``rows * columns == 91``, all sizes of two axes are enumerated, for each two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations, product
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
PLANE = 2048  # the sizes of an axis that are enumerated together with those of another axis, the smallest first
PART = 512  # of these sizes, how many at once: a million pairs


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

    def read(self, shapes: Shapes, signature: Signature, ways: Sequence[bool] = (True, False)) -> set[str]:
        """The axes on which the conditions depend that hold or fail, as `ways` says."""
        names = [axis.name for axis in signature.axes]
        return {name for condition, holds in self.literals if holds in ways for name in condition.axes(shapes, names)}

    def axes(self, shapes: Shapes, signature: Signature) -> list[Axis]:
        """The axes on which the conditions depend that fail."""
        read = self.read(shapes, signature, ways=[False])
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


def starts(region: Region, signature: Signature, usual: Sizes) -> list[Sizes]:
    """The sizes of the axes that are not enumerated: usual ones, the smallest, and those of a further trace."""
    small = {axis.name: int(allowed(axis)[0]) for axis in signature.axes}
    return [usual, small, *([dict(region.near)] if region.near else [])]


def lines(region: Region, shapes: Shapes, signature: Signature, usual: Sizes) -> Iterator[dict[str, Numbers]]:
    """Yields the sizes at which a region is looked for, as arrays of all axes."""
    axes = region.axes(shapes, signature)
    ends = {axis.name: sorted({int(allowed(axis)[0]), usual[axis.name], int(allowed(axis)[-1])}) for axis in axes}
    ends = {name: sorted({*sizes, region.near.get(name, sizes[0])}) for name, sizes in ends.items()}
    others_at = starts(region, signature, usual)
    for axis in axes:
        sizes = allowed(axis)
        others = [name for name in ends if name != axis.name]
        for chosen in product(*(ends[name] for name in others)):
            for start in others_at:
                fixed = {**start, **dict(zip(others, chosen, strict=True))}
                yield {name: np.full(len(sizes), size) for name, size in fixed.items()} | {axis.name: sizes}
    if len(axes) > 1:
        same = allowed(axes[0])
        for axis in axes[1:]:
            same = np.intersect1d(same, allowed(axis))
        for start in others_at:
            yield {name: np.full(len(same), size) for name, size in start.items()} | {axis.name: same for axis in axes}


def planes(region: Region, shapes: Shapes, signature: Signature, usual: Sizes) -> Iterator[dict[str, Numbers]]:
    """Yields all sizes of each two axes of a region, in parts, as arrays of all axes."""
    for one, two in combinations(region.axes(shapes, signature), 2):
        columns, others = allowed(two)[:PLANE], region.read(shapes, signature) - {one.name, two.name}
        at = {
            tuple(start[name] for name in sorted(others)): start for start in reversed(starts(region, signature, usual))
        }
        for start, first in product(at.values(), range(0, PLANE, PART)):
            rows = allowed(one)[first : min(first + PART, PLANE)]
            pairs = {one.name: np.repeat(rows, len(columns)), two.name: np.tile(columns, len(rows))}
            if len(rows):
                yield {name: np.full(len(rows) * len(columns), size) for name, size in start.items()} | pairs


def chosen(
    region: Region, shapes: Shapes, signature: Signature, usual: Sizes, affordable: int
) -> tuple[list[Sizes], int]:
    """Sizes of a region at which to compare, and how many sizes were found in it.

    All of them where they are few. Otherwise both ends of each line, and some that are drawn. An input has at most
    `affordable` values.
    """
    found = Found(region, shapes, affordable)
    for line in lines(region, shapes, signature, usual):
        found.add(line)
    if not found.seen and region.condition.branch:
        for part in planes(region, shapes, signature, usual):
            found.add(part)
    return found.chosen(), found.seen


@dataclass
class Found:
    """The sizes of a region that enumerations found: `ends` of an enumeration, those `between`, and how many of one."""

    region: Region
    shapes: Shapes
    affordable: int
    ends: dict[tuple[int, ...], Sizes] = field(default_factory=dict)
    between: dict[tuple[int, ...], Sizes] = field(default_factory=dict)
    seen: int = 0

    def add(self, line: Mapping[str, Numbers]) -> None:
        """Takes the sizes of the region from sizes that are arrays of all axes."""
        inside = np.broadcast_to(self.region.holds(self.shapes, line), next(iter(line.values())).shape)
        self.seen = max(self.seen, int(inside.sum()))
        places = np.flatnonzero(inside)
        places = places[values(self.shapes, {name: array[places] for name, array in line.items()}) <= self.affordable]
        for count, place in enumerate(places):
            sizes = {name: int(array[place]) for name, array in line.items()}
            (self.ends if count in (0, len(places) - 1) else self.between)[tuple(sizes.values())] = sizes

    def chosen(self) -> list[Sizes]:
        """The ends, and some drawn sizes between them."""
        rest = list(self.between.values())
        drawn = np.random.default_rng(len(rest)).permutation(len(rest))[:DRAWN]
        return [*self.ends.values(), *(rest[place] for place in sorted(drawn))]


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
