"""Decides which axes of a custom module's inputs vary, and names these axes.

In: example inputs by name, and the `dynamic_shapes` of a user. Out: a `Shapes`: the axes of each input as fixed sizes
and symbols, and the ranges that the user gave.

    ids int64 [2, 16], mask bool [2, 16]      ->  ids [a0, a1], mask [a0, a1]       equal sizes share a symbol
    source [9, 4], target [7, 4]              ->  source [a0, a1], target [a2, a1]

By default every axis of an integer input varies. An axis of another input varies if an axis of an integer input has the
same size; a size of 1 counts for the first axis only. In an input of floats with three or more axes the last axis holds
features, so it does not vary. Without an integer input, all axes of an input vary except the last axis. Symbols get
their names later (`renamed`), when it is known along which symbol samples are independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgexf import names
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError, UsageError

Sizes = Mapping[str, int]
REMEDY = "see torch.export's dynamic_shapes"


@dataclass(frozen=True)
class Shapes:
    """The shapes of the inputs of a custom module.

    Attributes:
        axes: the axes of each input, fixed sizes and symbols, by the name of the input.
        examples: the size of each symbol in the example inputs.
        least: the smallest sizes that the user gave, by symbol.
        most: the largest sizes that the user gave, by symbol.
        own: the symbols that the user named.
    """

    axes: Mapping[str, tuple[int | str, ...]]
    examples: Sizes
    least: Sizes = field(default_factory=dict)
    most: Sizes = field(default_factory=dict)
    own: frozenset[str] = frozenset()

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in the order in which they occur."""
        found = [axis for axes in self.axes.values() for axis in axes if isinstance(axis, str)]
        return tuple(dict.fromkeys(found))

    def sizes(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes[name])

    def fixed(self, symbols: Sequence[str]) -> Shapes:
        """The same shapes, with the sizes of the examples in place of these symbols."""
        axes = {
            name: tuple(self.examples[axis] if axis in symbols else axis for axis in axes)  # type: ignore[index]
            for name, axes in self.axes.items()
        }
        return Shapes(axes, self.examples, self.least, self.most, self.own)

    def renamed(self, samples: str) -> Shapes:
        """The same shapes, with names in place of symbols.

        The symbol `samples` becomes ``batch_size``, the first other symbol ``sequence_length``, and a later symbol
        ``<input>_sequence_length``. A symbol that the user named stays as it is.
        """
        called: dict[str, str] = {symbol: symbol for symbol in self.own}
        if samples and samples not in called:
            called[samples] = free(names.BATCH, called)
        for name, row in self.axes.items():
            for axis in row:
                if isinstance(axis, str) and axis not in called:
                    plain = names.SEQUENCE not in called.values()
                    called[axis] = free(names.SEQUENCE if plain else f"{name}_{names.SEQUENCE}", called)
        axes = {
            name: tuple(called[axis] if isinstance(axis, str) else axis for axis in row)
            for name, row in self.axes.items()
        }
        examples, least, most = (
            {called[axis]: size for axis, size in sizes.items() if axis in called}
            for sizes in (self.examples, self.least, self.most)
        )
        return Shapes(axes, examples, least, most, frozenset(called[axis] for axis in self.own))


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
    if not whole:
        return {name: dict(enumerate(tensor.shape[:-1])) for name, tensor in examples.items()}
    known = {size for tensor in whole.values() for size in tensor.shape}
    found = {}
    for name, tensor in examples.items():
        features = tensor.is_floating_point() and tensor.ndim > 2
        axes = list(enumerate(tensor.shape[:-1] if features else tensor.shape))
        # A size of 1 says little: behind the first axis it is probably a broadcast axis, not a batch of one sample.
        found[name] = {
            axis: size for axis, size in axes if name in whole or (size in known and (size > 1 or axis == 0))
        }
    return found


def is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def shapes_of(examples: Mapping[str, Tensor], chosen: Any = None) -> Shapes:
    """The shapes of example inputs, with the user's `dynamic_shapes` as `chosen`.

    Raises UsageError for examples whose axes can't be told apart, and for a `chosen` that does not fit the examples.
    """
    default = by_default(examples)
    given = listed(examples, chosen)
    named = {
        tensor.shape[axis]: symbol
        for name, tensor in examples.items()
        for axis, wish in given.get(name, {}).items()
        for symbol in [read(wish, tensor.shape[axis], True)[0]]
        if symbol is not None and not symbol.startswith(SIZED)
    }
    axes: dict[str, tuple[int | str, ...]] = {}
    sizes: dict[str, int] = {}
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    own: set[str] = set()
    for name, tensor in examples.items():
        row: list[int | str] = []
        for axis, size in enumerate(tensor.shape):
            wish = given[name].get(axis) if name in given else "default"
            symbol, low, high = read(wish, size, axis in default[name])
            if wish == "default" and symbol is not None:
                symbol = named.get(size, symbol)  # takes the name of an axis of the same size
            if symbol is None:
                row.append(size)
                continue
            if sizes.setdefault(symbol, size) != size:
                raise UsageError(
                    f"an axis must have one size in all examples, got {symbol} with {sizes[symbol]} and {size}; {REMEDY}."
                )
            if not (low or 0) <= size <= (high or size):
                raise UsageError(
                    f"an example must keep to its own bounds, got {size} for {symbol} of {low} to {high}; give a longer or shorter one."
                )
            least |= {} if low is None else {symbol: low}
            most |= {} if high is None else {symbol: high}
            own |= set() if symbol.startswith(SIZED) else {symbol}
            row.append(symbol)
        repeated = {axis for axis in row if isinstance(axis, str) and axis.startswith(SIZED) and row.count(axis) > 1}
        if repeated and is_whole(tensor):
            raise UsageError(
                f"axes that vary on their own must have different sizes in an example, got {list(tensor.shape)} for {name}; "
                "take another batch or length, or name them with dynamic_shapes."
            )
        axes[name] = tuple(row)
    return Shapes(axes, sizes, least, most, frozenset(own))


SIZED = "size "  # starts the symbol of an axis without a name; the size in the examples follows


def read(wish: Any, size: int, varies: bool) -> tuple[str | None, int | None, int | None]:
    """The symbol of an axis, and the range that the user gave. The symbol of a fixed axis is None."""
    if wish == "default":
        return (f"{SIZED}{size}" if varies else None), None, None
    kind = getattr(wish, "type", None)  # only a hint has it: Dim.AUTO, Dim.DYNAMIC, Dim.STATIC
    if wish is None or isinstance(wish, int) or getattr(kind, "name", "") == "STATIC":
        return None, None, None
    if kind is not None and hasattr(wish, "min"):
        return f"{SIZED}{size}", wish.min, wish.max
    if isinstance(wish, str):
        return wish, None, None
    name = getattr(wish, "__name__", "")
    if not name.isidentifier():  # a computed Dim such as 8*blocks
        raise UsageError(
            f"dynamic_shapes must name axes by Dim, a hint or text, got {wish}; say what it may be with a Dim, the step is found."
        )
    return name, getattr(wish, "min", 0) or None, bounded(getattr(wish, "max", None))


def bounded(most: Any) -> int | None:
    """The maximum of a Dim; None if the maximum is infinite."""
    return int(most) if isinstance(most, int) and most < 1 << 31 else None


def listed(examples: Mapping[str, Tensor], chosen: Any) -> dict[str, dict[int, Any]]:
    """The `dynamic_shapes` of a user, by input and axis. Axes that it does not name keep their default."""
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
        if not fits:
            raise ExportError(
                f"axes that vary must have room to be told apart, got {axis.name} with {axis.least} to {axis.most}; fix it with dynamic_shapes."
            )
        found[axis.name] = fits[0]
    return {axis.name: found[axis.name] for axis in axes}
