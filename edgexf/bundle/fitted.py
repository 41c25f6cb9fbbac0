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
from edgexf.bundle.formula import Formula, formula
from edgexf.bundle.operations import LARGEST, Operations, Part, Region
from edgexf.records import Record

Sizes = Mapping[str, int]
Counted = Callable[[Sizes], Mapping[str, int] | None]
DEGREES = {names.BATCH: 1, names.CHOICES: 1, names.STEPS: 1}
DEGREE = 2  # of other axes
MOST_SIZES = 36  # at which a graph is counted in little time: two lengths, a batch, and the steps of a path
CANDIDATES = 60  # sizes of an axis that are looked at for those that make a formula
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
    axes = tuple(dict.fromkeys(axis_of(factor) for factor in region.factors))
    chosen = [chosen_sizes(region, axis) for axis in axes]
    made = [dict(zip(axes, sizes, strict=True)) for sizes in product(*(one.sizes for one in chosen))]
    if len(made) > MOST_SIZES:
        return None
    counts = [count(sizes) for sizes in made]
    if any(one is None for one in counts):
        return None
    powers = [merged(region, axes, own) for own in product(*(one.powers for one in chosen))]
    rows = [[Fraction(prod(map(pow, region.values(sizes), power))) for power in powers] for sizes in made]
    kinds = sorted({kind for one in counts for kind in one or {}})
    terms = {}
    for kind in kinds:
        found = solved(rows, [Fraction((one or {}).get(kind, 0)) for one in counts])
        if any(number.denominator != 1 or abs(number) >= LARGEST for number in found):
            return None
        terms[kind] = tuple((int(number), *power) for number, power in zip(found, powers, strict=True) if number)
    part = Part(region, terms)
    checked = (dict(zip(axes, sizes, strict=True)) for sizes in in_turn([one.others for one in chosen]))
    return part if all(same(part.sums(sizes), count(sizes)) for sizes in checked) else None


def axis_of(factor: str) -> str:
    return formula(factor).names[0]


def merged(region: Region, axes: Sequence[str], powers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The exponent of each factor of a region, from those of the factors of each axis."""
    left = {axis: list(power) for axis, power in zip(axes, powers, strict=True)}
    return tuple(left[axis_of(factor)].pop(0) for factor in region.factors)


def same(found: Mapping[str, int], counted: Mapping[str, int] | None) -> bool:
    """Whether two counts are the same. A kind that one of them lacks is 0."""
    return counted is not None and all(found.get(kind, 0) == counted.get(kind, 0) for kind in {*found, *counted})


class Chosen(Record):
    """The sizes of an axis at which a formula is made and checked.

    Attributes:
        sizes: those that make it.
        powers: as many products of powers of the factors of this axis, as exponents. At `sizes` they are independent.
        others: those that check it.
    """

    sizes: tuple[int, ...]
    powers: tuple[tuple[int, ...], ...]
    others: tuple[int, ...]


def chosen_sizes(region: Region, axis: str) -> Chosen:
    least, most, step = region.sizes[axis]
    factors = [formula(factor) for factor in region.factors if axis_of(factor) == axis]
    sizes = range(-(-least // step) * step, most + 1, step)
    powers = sorted(product(range(DEGREES.get(axis, DEGREE) + 1), repeat=len(factors)), key=sum)
    candidates = [sizes[0], sizes[len(sizes) // 2], sizes[-1], *sizes[:: max(len(sizes) // CANDIDATES, 1)]]
    made, columns = independent(
        [[Fraction(prod(factor.at({axis: size}) ** power for factor, power in zip(factors, own, strict=True))) for own in powers]
         for size in candidates]
    )  # fmt: skip
    return Chosen(
        tuple(candidates[row] for row in made), tuple(powers[column] for column in columns),
        tuple(checking(sizes, axis, factors[0])),
    )  # fmt: skip


def checking(sizes: range, axis: str, factor: Formula) -> Sequence[int]:
    """The sizes that check a formula: all of few sizes, else some on both sides of a step of a factor."""
    if len(sizes) <= EXHAUSTED:
        return sizes
    edge = len(sizes) // 3
    while edge + 2 < len(sizes) and factor.at({axis: sizes[edge]}) == factor.at({axis: sizes[edge + 1]}):
        edge += 1
    return [sizes[edge], sizes[edge + 1], sizes[-2], sizes[1]]


def independent(rows: Sequence[Sequence[Fraction]]) -> tuple[list[int], list[int]]:
    """The places of the first rows that are independent of those before them, and of as many columns."""
    kept: list[tuple[int, int, list[Fraction]]] = []
    for place, row in enumerate(rows):
        left = list(row)
        for _, column, other in kept:
            share = left[column] / other[column]
            left = [one - share * two for one, two in zip(left, other, strict=True)]
        first = next((column for column, number in enumerate(left) if number), None)
        if first is not None:
            kept.append((place, first, left))
    return [place for place, _, _ in kept], sorted(column for _, column, _ in kept)


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
