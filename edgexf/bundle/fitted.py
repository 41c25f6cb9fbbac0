"""Formulas of operations from counts at some sizes.

In: a function that counts the operations of a graph at given sizes, and the regions in which they are polynomials of known
factors. Out: `Operations`, or None where they are no such polynomials.

    count at 3 lengths x 2 batches  ->  exact coefficients  ->  compared with the count at other sizes

A polynomial has at most the square of each factor: attention that is not efficient grows so. It is of first degree in
numbers of samples. Coefficients are exact fractions, which must be whole numbers. At the sizes that were not used for them, the formula
must give the count itself: a formula that does not, at any of them, is thrown away. These sizes stand on both sides of a
step of each factor, since lengths that are rounded to blocks are what may go wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import cycle, islice, product
from math import prod

from edgexf import names
from edgexf.bundle.formula import formula
from edgexf.bundle.operations import LARGEST, Operations, Part, Region

Sizes = Mapping[str, int]
Counted = Callable[[Sizes], Mapping[str, int] | None]
DEGREES = {names.BATCH: 1, names.CHOICES: 1, names.STEPS: 1}
DEGREE = 2  # of other axes
MOST_SIZES = 36  # at which a graph is counted in little time: two lengths, a batch, and the steps of a path
EXHAUSTED = 8  # so few sizes of an axis are checked one and all


def fitted(count: Counted, regions: Iterable[Region]) -> Operations | None:
    """The operations; None where a count is None, or where no polynomial has all counts."""
    parts = []
    for region in regions:
        part = part_in(count, region)
        if part is None:
            return None
        parts.append(part)
    return Operations(tuple(parts)) if parts else None


def part_in(count: Counted, region: Region) -> Part | None:
    axes = [formula(factor).names[0] for factor in region.factors]
    chosen = [chosen_sizes(region, axis, factor) for axis, factor in zip(axes, region.factors, strict=True)]
    made = [dict(zip(axes, sizes, strict=True)) for sizes in product(*(own for own, _ in chosen))]
    if len(made) > MOST_SIZES:
        return None
    counts = [count(sizes) for sizes in made]
    if any(one is None for one in counts):
        return None
    powers = list(product(*(range(len(own)) for own, _ in chosen)))
    rows = [[Fraction(prod(map(pow, region.values(sizes), power))) for power in powers] for sizes in made]
    kinds = sorted({kind for one in counts for kind in one or {}})
    terms = {}
    for kind in kinds:
        found = solved(rows, [Fraction((one or {}).get(kind, 0)) for one in counts])
        if any(number.denominator != 1 or abs(number) >= LARGEST for number in found):
            return None
        terms[kind] = tuple((int(number), *power) for number, power in zip(found, powers, strict=True) if number)
    part = Part(region, terms)
    checked = (dict(zip(axes, sizes, strict=True)) for sizes in in_turn([others for _, others in chosen]))
    return part if all(same(part.sums(sizes), count(sizes)) for sizes in checked) else None


def same(found: Mapping[str, int], counted: Mapping[str, int] | None) -> bool:
    """Whether two counts are the same. A kind that one of them lacks is 0."""
    return counted is not None and all(found.get(kind, 0) == counted.get(kind, 0) for kind in {*found, *counted})


def chosen_sizes(region: Region, axis: str, factor: str) -> tuple[list[int], list[int]]:
    """The sizes of an axis that make the formula, at which the factor has different values, and those that check it."""
    least, most, step = region.sizes[axis]
    sizes = range(-(-least // step) * step, most + 1, step)
    values = {formula(factor).at({axis: size}): size for size in (sizes[0], sizes[len(sizes) // 2], sizes[-1])}
    made = list(values.values())[: DEGREES.get(axis, DEGREE) + 1]
    if len(sizes) <= EXHAUSTED:
        return made, list(sizes)
    edge = len(sizes) // 3
    while edge + 2 < len(sizes) and formula(factor).at({axis: sizes[edge]}) == formula(factor).at(
        {axis: sizes[edge + 1]}
    ):
        edge += 1
    return made, [sizes[edge], sizes[edge + 1], sizes[-2], sizes[1]]


def in_turn(choices: Sequence[Sequence[int]]) -> Iterable[tuple[int, ...]]:
    """Each choice of each axis at least once, next to choices of the other axes."""
    longest = max(map(len, choices), default=0)
    return zip(*(islice(cycle(one), longest) for one in choices), strict=True)


def solved(rows: Sequence[Sequence[Fraction]], counts: Sequence[Fraction]) -> list[Fraction]:
    """The numbers x with ``rows x = counts``, by Gauss and Jordan. The rows are those of different sizes, so there are such."""
    left = [[*row, one] for row, one in zip(rows, counts, strict=True)]
    for place in range(len(left)):
        first = next(row for row in range(place, len(left)) if left[row][place])
        left[place], left[first] = left[first], left[place]
        left[place] = [number / left[place][place] for number in left[place]]
        for row in range(len(left)):
            if row != place and left[row][place]:
                left[row] = [one - left[row][place] * other for one, other in zip(left[row], left[place], strict=True)]
    return [row[-1] for row in left]
