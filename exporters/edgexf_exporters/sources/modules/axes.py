"""Decides which axes of a custom module's inputs vary, and names these axes.

In: example inputs by name, and the `dynamic_shapes` of a user. Out: a `Shapes`: the axes of each input as fixed sizes
and symbols, and the ranges that the user gave.

    ids int64 [2, 16], mask bool [2, 16]      ->  ids [a0, a1], mask [a0, a1]       equal sizes share a symbol
    source [9, 4], target [7, 4]              ->  source [a0, a1], target [a2, a1]
    dynamic_shapes {0: 2*Dim("n") + 1}        ->  x [2*n + 1]                     a formula over symbols

By default every axis of an integer input varies. An axis of another input varies if an axis of an integer input has the
same size, or if an integer input of one axis has this size as its largest value, as the lengths of rows have; a size of
1 counts for the first axis only. In an input of floats with three or more axes the last axis holds features, so it does
not vary. Without an integer input of two or more axes, all axes of an input vary except the last axis.
`sources.modules.relations` then runs the module to find out which of these axes vary, and together with which others.
Symbols get their names last (`renamed`), when it is known along which symbol samples are independent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from edgexf import names
from edgexf.bundle.formula import Formula, formula, size_of
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError, UsageError

Sizes = Mapping[str, int]
Place = tuple[str, int]  # an axis of an input: the name of the input and the number of the axis
REMEDY = "see torch.export's dynamic_shapes"


@dataclass(frozen=True)
class Shapes:
    """The shapes of the inputs of a custom module.

    Attributes:
        axes: the axes of each input by its name: fixed sizes, symbols, and formulas over symbols (`bundle.formula`).
        examples: the size of each symbol in the example inputs.
        least: the smallest sizes that the user gave, by symbol.
        most: the largest sizes that the user gave, by symbol.
        own: the symbols that the user named.
        loose: the axes that the user said nothing about.
    """

    axes: Mapping[str, tuple[int | str, ...]]
    examples: Sizes
    least: Sizes = field(default_factory=dict)
    most: Sizes = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    loose: frozenset[Place] = frozenset()

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in the order in which they occur. A symbol that occurs in formulas only comes last."""
        found = [formula(axis) for axes in self.axes.values() for axis in axes if isinstance(axis, str)]
        plain = [one.names[0] for one in found if one.is_axis]
        return tuple(dict.fromkeys((*plain, *(name for one in found for name in one.names))))

    def sizes(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        return tuple(size_of(axis, sizes) for axis in self.axes[name])

    def places(self, axis: int | str) -> list[Place]:
        """The axes of inputs that are this size, symbol or formula."""
        return [(name, place) for name, row in self.axes.items() for place, one in enumerate(row) if one == axis]

    def changed(self, places: Mapping[Place, int | str], examples: Sizes | None = None) -> Shapes:
        """The same shapes with other axes at some places, and the sizes of new symbols in the example inputs."""
        axes = {
            name: tuple(places.get((name, place), axis) for place, axis in enumerate(row))
            for name, row in self.axes.items()
        }
        return replace(self, axes=axes, examples={**self.examples, **(examples or {})})

    def fixed(self, symbols: Collection[str]) -> Shapes:
        """The same shapes, with the sizes of the examples in place of these symbols and of formulas over them."""

        def fixed(axis: int | str) -> int | str:
            gone = isinstance(axis, str) and any(name in symbols for name in formula(axis).names)
            return size_of(axis, self.examples) if gone else axis

        return replace(self, axes={name: tuple(map(fixed, row)) for name, row in self.axes.items()})

    def named(self, called: Mapping[str, str]) -> Shapes:
        """The same shapes, with other names of symbols."""

        def named(axis: int | str) -> int | str:
            if isinstance(axis, int):
                return axis
            known = formula(axis)
            return str(replace(known, terms=tuple((called[name], factor) for name, factor in known.terms)))

        axes = {name: tuple(map(named, row)) for name, row in self.axes.items()}
        examples, least, most = (
            {called[axis]: size for axis, size in sizes.items() if axis in called}
            for sizes in (self.examples, self.least, self.most)
        )
        own = frozenset(called[axis] for axis in self.own if axis in called)
        return Shapes(axes, examples, least, most, own, self.loose)

    def names(self, samples: str) -> dict[str, str]:
        """A name for each symbol.

        The symbol `samples` becomes ``batch_size``, the first other symbol ``sequence_length``, and a later symbol
        ``<input>_sequence_length``. A symbol that the user named stays as it is.
        """
        called: dict[str, str] = {symbol: symbol for symbol in self.symbols if symbol in self.own}
        if samples and samples not in called:
            called[samples] = free(names.BATCH, called)
        for symbol in self.symbols:
            if symbol not in called:
                holders = [name for name, row in self.axes.items() if symbol in row]
                holders += [name for name, row in self.axes.items() if any(uses(axis, symbol) for axis in row)]
                plain = names.SEQUENCE not in called.values()
                called[symbol] = free(names.SEQUENCE if plain else f"{holders[0]}_{names.SEQUENCE}", called)
        return called


def uses(axis: int | str, symbol: str) -> bool:
    """Whether an axis is this symbol, or a formula over it."""
    return isinstance(axis, str) and symbol in formula(axis).names


def free(name: str, called: Mapping[str, str]) -> str:
    """`name`, with a number behind it if the name is taken."""
    taken, number, found = set(called.values()), 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def by_default(examples: Mapping[str, Tensor]) -> dict[str, dict[int, int]]:
    """For each input, the axes that vary by default and their sizes."""
    whole = {name: tensor for name, tensor in examples.items() if is_whole(tensor)}
    counts = {int(tensor.max()) for tensor in whole.values() if tensor.ndim == 1 and tensor.numel()}
    rows = [tensor for tensor in whole.values() if tensor.ndim > 1]
    known = {size for tensor in whole.values() for size in tensor.shape} | counts
    found = {}
    for name, tensor in examples.items():
        axes = dict(enumerate(tensor.shape))
        last = tensor.ndim - 1
        if name in whole:
            found[name] = axes
        elif not rows:
            found[name] = {axis: size for axis, size in axes.items() if axis != last or (last == 1 and size in counts)}
        else:
            features = last if tensor.is_floating_point() and tensor.ndim > 2 else None
            # A size of 1 says little: behind the first axis it is probably a broadcast axis, not a batch of one sample.
            alike = {axis: size for axis, size in axes.items() if size in known and (size > 1 or axis == 0)}
            found[name] = {axis: size for axis, size in alike.items() if axis != features}
    return found


def is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def shapes_of(examples: Mapping[str, Tensor], chosen: Any = None) -> Shapes:
    """The shapes of example inputs, with the user's `dynamic_shapes` as `chosen`.

    Raises UsageError for a `chosen` that does not fit the examples.
    """
    default, given = by_default(examples), listed(examples, chosen)
    rows: dict[str, list[int | str]] = {name: list(tensor.shape) for name, tensor in examples.items()}
    sizes: dict[str, int] = {}
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    own: set[str] = set()
    for name, axis, wish in [(name, axis, wish) for name, row in given.items() for axis, wish in row.items()]:
        asked = read(wish, examples[name].shape[axis])
        if asked is None:
            continue
        if sizes.setdefault(asked.symbol, asked.size) != asked.size:
            raise UsageError(
                f"an axis must have one size in all examples, got {asked.symbol} with {sizes[asked.symbol]} and {asked.size}; {REMEDY}."
            )
        if not (asked.least or 0) <= asked.size <= (asked.most or asked.size):
            raise UsageError(
                f"an example must keep to its own bounds, got {asked.size} for {asked.symbol} of {asked.least} to {asked.most}; give a longer or shorter one."
            )
        least |= {} if asked.least is None else {asked.symbol: asked.least}
        most |= {} if asked.most is None else {asked.symbol: asked.most}
        own |= {asked.symbol} if not asked.symbol.startswith(SIZED) else set()
        rows[name][axis] = asked.axis
    named = {size: symbol for symbol, size in sizes.items() if symbol in own}
    loose = frozenset((name, axis) for name in examples if name not in given for axis in range(examples[name].ndim))
    for name, axis in sorted(loose, key=lambda place: (list(examples).index(place[0]), place[1])):
        size = examples[name].shape[axis]
        if axis in default[name]:
            symbol = named.get(size, f"{SIZED}{size}")  # takes the name of an axis of the same size
            sizes.setdefault(symbol, size)
            rows[name][axis] = symbol
    return Shapes({name: tuple(row) for name, row in rows.items()}, sizes, least, most, frozenset(own), loose)


SIZED = "size_"  # starts the symbol of an axis without a name; the size in the examples follows


@dataclass(frozen=True)
class Asked:
    """What a user asks of an axis.

    Attributes:
        axis: the symbol of the axis, or a formula over the symbol.
        symbol: the symbol.
        size: the size of the symbol in the examples.
        least, most: the range of the symbol; None for an end that the user did not give.
    """

    axis: str
    symbol: str
    size: int
    least: int | None = None
    most: int | None = None


def read(wish: Any, size: int) -> Asked | None:
    """What an entry of `dynamic_shapes` asks of an axis with this size in the examples; None for a fixed axis."""
    kind = getattr(wish, "type", None)  # only a hint has it: Dim.AUTO, Dim.DYNAMIC, Dim.STATIC
    if wish is None or isinstance(wish, int) or getattr(kind, "name", "") == "STATIC":
        return None
    if kind is not None and hasattr(wish, "min"):
        return Asked(f"{SIZED}{size}", f"{SIZED}{size}", size, wish.min, wish.max)
    root = getattr(wish, "root", wish)
    symbol = root if isinstance(root, str) else getattr(root, "__name__", "")
    if not symbol.isidentifier():
        raise UsageError(f"dynamic_shapes must name axes by Dim, a hint or a word, got {wish}; {REMEDY}.")
    least, most = getattr(root, "min", 0) or None, bounded(getattr(root, "max", None))
    if root is wish:
        return Asked(symbol, symbol, size, least, most)
    factor, plus = wish.fn(2) - wish.fn(1), 2 * wish.fn(1) - wish.fn(2)  # torch allows nothing but factor*root + plus
    if (size - plus) % factor:
        raise UsageError(
            f"an example must fit its own axis, got {size} for {wish.__name__}; give a longer or shorter one."
        )
    return Asked(str(Formula(((symbol, factor),), plus)), symbol, (size - plus) // factor, least, most)


def bounded(most: Any) -> int | None:
    """The maximum of a Dim; None if the maximum is infinite."""
    return int(most) if isinstance(most, int) and most < 1 << 31 else None


def listed(examples: Mapping[str, Tensor], chosen: Any) -> dict[str, dict[int, Any]]:
    """The `dynamic_shapes` of a user, by input and axis.

    An input that it does not name keeps its default. In an input that it names, all other axes are fixed, as torch.export
    does it.
    """
    if chosen is None:
        return {}
    if isinstance(chosen, Sequence) and not isinstance(chosen, str):
        if len(chosen) != len(examples):
            raise UsageError(
                f"dynamic_shapes must have an entry for each input ({', '.join(examples)}), got {len(chosen)}; {REMEDY}."
            )
        chosen = dict(zip(examples, chosen, strict=True))
    if not isinstance(chosen, Mapping) or set(chosen) - set(examples):
        raise UsageError(f"dynamic_shapes must name inputs ({', '.join(examples)}), got {chosen!r}; {REMEDY}.")
    found: dict[str, dict[int, Any]] = {}
    for name, axes in chosen.items():
        if axes is not None and not isinstance(axes, Mapping | Sequence):
            raise UsageError(f"dynamic_shapes of {name} must be a dictionary by axis, got {axes!r}; {REMEDY}.")
        rows: dict[int, Any] = {} if axes is None else dict(axes if isinstance(axes, Mapping) else enumerate(axes))
        if any(not isinstance(axis, int) or not 0 <= axis < examples[name].ndim for axis in rows):
            raise UsageError(
                f"dynamic_shapes of {name} must name axes 0 to {examples[name].ndim - 1}, got {list(rows)}; {REMEDY}."
            )
        found[name] = rows
    return found


def distinct(axes: Sequence[Axis], turn: int) -> dict[str, int]:
    """A size for each axis. The sizes differ from each other, and between turn 0 and turn 1.

    An axis that ends early takes its smallest sizes. Raises ExportError for an axis with too few sizes.
    """
    before = distinct(axes, 0) if turn else {}
    found: dict[str, int] = {}
    for axis in sorted(axes, key=lambda axis: (axis.most - axis.least) // axis.step):  # few sizes first
        start = -(-(11 + 7 * turn) // axis.step) * axis.step
        sizes = (
            *range(start, start + 40 * axis.step, axis.step),
            *range(-(-axis.least // axis.step) * axis.step, axis.most + 1, axis.step)[:40],
        )
        taken = {before.get(axis.name), *found.values()}
        fits = [size for size in sizes if axis.allows(size) and size not in taken]
        # Where there is room: else the second axis of [batch, tokens + 1] is as long as the batch in both turns.
        alike = {size + before[axis.name] - before[name] for name, size in found.items() if before}
        fits.sort(key=alike.__contains__)
        if not fits:
            raise ExportError(
                f"axes that vary must have room to be told apart, got {axis.name} with {axis.least} to {axis.most}; fix it with dynamic_shapes."
            )
        found[axis.name] = fits[0]
    return {axis.name: found[axis.name] for axis in axes}
