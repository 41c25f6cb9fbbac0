"""Finds out how the sizes of a module's outputs follow from the sizes of its inputs.

In: the axes of the inputs, and the shapes of the outputs in some runs of the module. Out: the shape of each output.

    length  11 12 13 18     output  5 6 6 9     ->  sequence_length // 2

The formulas are sums of multiples of axes, divided and rounded down (`bundle.formula`): they cover slices, padding,
strided convolutions one behind the other, and caches. Any other axis that varies gets a name of its own. The grid
compares the formulas with the module at all its lengths. The alternative, the sizes that torch.export notes, is known
only after the trace, and the axes of the outputs are needed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from edgexf.bundle.formula import Formula
from edgexf.bundle.signature import Axis
from edgexf_exporters.sources.modules.axes import Sizes, distinct

DIVISORS = range(1, 65)
NEXT = range(1, 17)  # steps from the first size: all remainders of the usual divisors
FAR = 160  # steps to a size at which a factor shows


def sizes_apart(axes: Sequence[Axis], samples: str) -> list[dict[str, int]]:
    """Sizes of all axes that show which axis of an output is which axis of the inputs: all differ in two runs.

    A third run is longer: two short ones fill as many blocks of 64.
    """
    first = distinct(axes, 0)
    longer = {axis.name: farther(axis, first) for axis in axes if axis.name != samples}
    return [first, distinct(axes, 1), *([{**first, **longer}] if first | longer != first else [])]


def farther(axis: Axis, first: Sizes) -> int:
    """The longest size of an axis, up to `FAR` steps from the first one; the first one if that isn't allowed."""
    size = min(axis.most, first[axis.name] + FAR * axis.step) // axis.step * axis.step
    return size if axis.allows(size) else first[axis.name]


def sizes_near(axes: Sequence[Axis], samples: str) -> list[dict[str, int]]:
    """Sizes of all axes that tell formulas apart: each axis changes alone, by few steps and by many."""
    first = distinct(axes, 0)
    found = []
    for axis in axes:
        longest = min(axis.most, first[axis.name] + FAR * axis.step) // axis.step * axis.step
        near = (first[axis.name] + step * axis.step for step in (NEXT if axis.name != samples else NEXT[:1]))
        found += [{**first, axis.name: size} for size in dict.fromkeys((*near, longest)) if axis.allows(size)]
    return found


def plain(axes: Sequence[Axis], runs: Sequence[tuple[Sizes, int]]) -> int | str | None:
    """The size of an axis of an output that is fixed or is an axis of the inputs; None for any other."""
    sizes = [size for _, size in runs]
    if len(set(sizes)) == 1:
        return sizes[0]
    return next((axis.name for axis in axes if all(size == chosen[axis.name] for chosen, size in runs)), None)


def declared(name: str, place: int, axes: Sequence[Axis], runs: Sequence[tuple[Sizes, int]]) -> int | str:
    """The declared size of an axis of an output, from its sizes in runs."""
    known = plain(axes, runs)
    if known is not None:
        return known
    found = next((one for over in DIVISORS for one in [fitted(axes, runs, over)] if one is not None), None)
    return f"{name}_{place}" if found is None else str(found)


def fitted(axes: Sequence[Axis], runs: Sequence[tuple[Sizes, int]], over: int) -> Formula | None:
    """The formula with this divisor that holds in all runs; None if there is none."""
    first, size = runs[0]
    factors = {axis.name: round(over * slope(axis.name, first, size, runs)) for axis in axes}
    if any(factor < 0 for factor in factors.values()) or not any(factors.values()):
        return None
    terms = tuple((name, factor) for name, factor in factors.items() if factor)
    sums = [(Formula(terms).at(chosen), found) for chosen, found in runs]
    least = max(over * found - total for total, found in sums)
    most = min(over * found + over - 1 - total for total, found in sums)
    known = (least,) if least == most else (0, over - 1)  # of several constants: rounded down or up
    plus = next((one for one in known if least <= one <= most), None)
    return None if plus is None else Formula(terms, plus, over)


def telling(axes: Sequence[Axis], runs: Sequence[tuple[Sizes, int]]) -> dict[str, int] | None:
    """Sizes at which two formulas that hold in all runs differ; None if all of them are the same one.

    Of 11 to 27 and 171 tokens, blocks of 57 and of 64 have 1 and 3.
    """
    if plain(axes, runs) is not None:
        return None
    fitting = [one for over in DIVISORS for one in [fitted(axes, runs, over)] if one is not None]
    for other, axis in product(reversed(fitting[1:]), axes):
        for size in range(axis.least, farther(axis, runs[0][0]) + 1, axis.step):
            sizes = {**runs[0][0], axis.name: size}
            if axis.allows(size) and fitting[0].at(sizes) != other.at(sizes):
                return sizes
    return None


def slope(name: str, first: Mapping[str, int], size: int, runs: Sequence[tuple[Sizes, int]]) -> float:
    """By how much an axis of an output grows with one axis of the inputs, measured over the greatest distance."""
    alone = [
        (chosen[name] - first[name], found - size)
        for chosen, found in runs
        if chosen[name] != first[name] and all(chosen[other] == first[other] for other in first if other != name)
    ]
    distance, growth = max(alone, default=(1, 0))
    return growth / distance
