"""Finds out by running a module which axes of its inputs vary, and which of them depend on each other.

In: the `Shapes` of the examples, and a function that tells whether the module answers at given sizes. Out: `Shapes` in
which each symbol can take another size while the others stay.

    features [s, s]       16 frames, 16 samples      ->  [s, t]                  told apart: each moves alone
    ids [b, n], bias [4, 16, 16]                     ->  bias [4, n, n]          an axis of equal size moves along
    ids [b, n], mask [n, 9], past [b, 2, 6, 8]       ->  mask [n, n + p], past [b, 2, p, 8]   one is the sum of others
    ids [b, n], signs [b, 17]                        ->  signs [b, n + 1]        sizes differ by a constant
    images [b, 3, 32, 32]                            ->  the 3 stays

A guess is kept only if the module answers at another size, which differs from all sizes of the examples. Two
alternatives were weighed. The conditions of a trace need a trace, and a trace needs the axes. Questions to the user
would be many, and most users don't know the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, count, islice, product

from edgexf.bundle.formula import Formula
from edgexf_exporters.sources.modules.axes import SIZED, Place, Shapes, Sizes

Answers = Callable[[Shapes, Sizes], bool]
Guess = tuple[Shapes, tuple[str, ...]]  # shapes, and the symbols that must move in them
TRIES = 64  # guesses about one axis
MULTIPLES = range(2, 5)


def related(shapes: Shapes, answers: Answers) -> tuple[Shapes, tuple[str, ...]]:
    """See the module's docstring. Returns the shapes, and the symbols that could not be made to move."""
    waiting, stuck = list(shapes.symbols), []
    while waiting:
        symbol = waiting.pop(0)
        moved = moves(shapes, symbol, answers)
        found = first(told_apart(shapes, symbol) if moved else regrouped(shapes, symbol), answers)
        if found is not None:
            waiting += [symbol, *(one for one in found.symbols if one not in shapes.symbols)]
            shapes = found
        elif not moved:
            stuck.append(symbol)
    while stuck:
        found = first(sums(shapes, stuck), answers) or first(dependent(shapes, stuck), answers)
        if found is None:
            break
        shapes = found
        stuck = [one for one in stuck if one in shapes.symbols and not moves(shapes, one, answers)]
    return shapes, tuple(stuck)


def first(guesses: Iterator[Guess], answers: Answers) -> Shapes | None:
    """The shapes of the first guess that holds."""
    tried = islice(guesses, TRIES)
    return next((shapes for shapes, moving in tried if all(moves(shapes, one, answers) for one in moving)), None)


def moves(shapes: Shapes, symbol: str, answers: Answers) -> bool:
    """Whether the module answers when one symbol takes another size, as near as its divisors allow."""
    size, least, most = shapes.examples[symbol], shapes.least.get(symbol, 1), shapes.most.get(symbol)
    taken = {one for name in shapes.axes for one in shapes.sizes(name, shapes.examples)}
    steps = [step for step in range(1, size + 1) if size % step == 0]
    near = [next(size + step * k for k in count(1) if size + step * k not in taken) for step in steps]
    # A size of 1 is broadcast, so that an answer at 1 would say nothing.
    near += [
        other
        for step in steps
        for other in islice((one for one in range(size - step, 1, -step) if one not in taken), 1)
    ]
    near += (
        [1] if symbol in shapes.own and size > 1 else []
    )  # the user says that it moves, and perhaps no further than to 1
    fits = (one for one in dict.fromkeys(near) if least <= one and (most is None or one <= most))
    return any(answers(shapes, {**shapes.examples, symbol: one}) for one in fits)


def alike(shapes: Shapes, places: Sequence[Place]) -> list[list[Place]]:
    """The places in groups: the same axis of inputs of the same sizes, as keys and values of several layers have."""
    groups: dict[object, list[Place]] = {}
    for name, axis in places:
        groups.setdefault((shapes.sizes(name, shapes.examples), axis), []).append((name, axis))
    return list(groups.values())


def joined(groups: Sequence[Sequence[Place]]) -> list[Place]:
    return [place for group in groups for place in group]


def told_apart(shapes: Shapes, symbol: str) -> Iterator[Guess]:
    """Guesses that make two symbols of one that an input holds twice. The likeliest guess comes first."""
    places = [] if symbol in shapes.own else shapes.places(symbol)
    inputs = [name for name, _ in places]
    twice = next((name for name in inputs if inputs.count(name) > 1), None)
    if twice is None:
        return
    here, *there = [place for place in places if place[0] == twice]
    others = alike(shapes, [place for place in places if place[0] != twice])
    new = unused(shapes, symbol)
    guesses = sorted(
        product((False, True), repeat=len(others)),
        key=lambda turned: sum(away != (group[0][1] != here[1]) for away, group in zip(turned, others, strict=True)),
    )
    for turned in guesses:
        moved = there + joined([group for away, group in zip(turned, others, strict=True) if away])
        changed = shapes.changed(dict.fromkeys(moved, new), {new: shapes.examples[symbol]})
        yield changed, (symbol, new)


def regrouped(shapes: Shapes, symbol: str) -> Iterator[Guess]:
    """Guesses that some axes of this size belong to the symbol, and some do not. Small changes come first."""
    size = shapes.examples[symbol]
    inside = alike(shapes, [place for place in shapes.places(symbol) if place in shapes.loose])
    outside = alike(shapes, [place for place in shapes.places(size) if place in shapes.loose]) if size > 1 else []
    new = unused(shapes, symbol)
    changes = [
        (left, taken)
        for total in range(1, len(inside) + len(outside) + 1)
        for fewer in range(min(total, len(inside)) + 1)
        if total - fewer <= len(outside)
        for left in combinations(inside, fewer)
        for taken in combinations(outside, total - fewer)
    ]
    for left, taken in changes:
        if len(joined(left)) < len(shapes.places(symbol)):
            places: dict[Place, int | str] = {
                **dict.fromkeys(joined(left), new),
                **dict.fromkeys(joined(taken), symbol),
            }
            yield shapes.changed(places, {new: size} if left else {}), (symbol,)


def unused(shapes: Shapes, symbol: str) -> str:
    return next(f"{symbol}_{number}" for number in count(2) if f"{symbol}_{number}" not in shapes.examples)


def dependent(shapes: Shapes, stuck: Sequence[str]) -> Iterator[Guess]:
    """Guesses that an axis is a multiple of another, or another and a constant. Two axes may depend on one."""
    single = [
        (base, change)
        for base in stuck
        for formula in sorted(formulas(shapes, base), key=lambda one: (abs(one.plus), one.terms[0][1]))
        for group in targets(shapes, base, formula.at(shapes.examples))
        for change in [dict.fromkeys(group, str(formula))]
    ]
    for amount in (1, 2):
        for guess in combinations(single, amount):
            bases, changes = {base for base, _ in guess}, [change for _, change in guess]
            merged = {place: axis for change in changes for place, axis in change.items()}
            if len(bases) == 1 and len(merged) == sum(map(len, changes)):
                yield shapes.changed(merged), tuple(bases)


def sums(shapes: Shapes, stuck: Sequence[str]) -> Iterator[Guess]:
    """Guesses that an axis is the sum of two others. They come first, since a sum is hardly a coincidence.

    A fixed axis may begin to vary, as the length of a cache.
    """
    loose = {SIZED + str(size): size for size in fixed_sizes(shapes) if SIZED + str(size) not in shapes.symbols}
    sizes = {**loose, **{symbol: shapes.examples[symbol] for symbol in shapes.symbols}}
    for plus, (one, two) in product((0, 1, -1), combinations(sizes, 2)):
        formula = Formula(((one, 1), (two, 1)), plus)
        promoted = {
            place: symbol for symbol in {one, two} & set(loose) for place in fixed_places(shapes, loose[symbol])
        }
        for group in targets(shapes, one, formula.at(sizes)):
            touched = {one, two, *(shapes.axes[name][axis] for name, axis in group)}
            if touched & set(stuck) and not set(group) & set(promoted):
                changed = shapes.changed(
                    {**promoted, **dict.fromkeys(group, str(formula))}, {one: sizes[one], two: sizes[two]}
                )
                yield changed, (one, two)


def formulas(shapes: Shapes, base: str) -> Iterator[Formula]:
    """The formulas over one symbol that give the size of another axis in the examples."""
    size = shapes.examples[base]
    others = {*fixed_sizes(shapes), *(shapes.examples[one] for one in shapes.symbols)} - {size}
    yield from (Formula(((base, 1),), other - size) for other in others)
    yield from (
        Formula(((base, factor),), other - factor * size)
        for factor, other in product(MULTIPLES, others)
        if abs(other - factor * size) <= 1
    )


def targets(shapes: Shapes, base: str, size: int) -> Iterator[list[Place]]:
    """The axes of a size that may depend on a symbol: those of another symbol, all fixed ones, some fixed ones."""
    yield from (shapes.places(one) for one in shapes.symbols if one != base and shapes.examples[one] == size)
    fixed = fixed_places(shapes, size)
    groups = alike(shapes, fixed)
    if fixed:
        yield fixed
    yield from groups if len(groups) > 1 else ()


def fixed_sizes(shapes: Shapes) -> list[int]:
    """The sizes of the fixed axes that the user said nothing about. A size of 1 is broadcast, and says nothing."""
    found = [shapes.axes[name][axis] for name, axis in sorted(shapes.loose)]
    return sorted({size for size in found if isinstance(size, int) and size > 1})


def fixed_places(shapes: Shapes, size: int) -> list[Place]:
    return [place for place in shapes.places(size) if place in shapes.loose] if size > 1 else []
