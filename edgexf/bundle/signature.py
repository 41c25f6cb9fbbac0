"""What a custom module takes: its axes and their sizes, as a bundle's manifest holds them.

In: keyword arguments. Out: frozen values that were checked for kind and range. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from edgexf.bundle.formula import formula
from edgexf.checks import is_count, require, require_text
from edgexf.records import Record

NARROWED, SAMPLED = "narrowed", "sampled"  # fields of a `Signature`, and keys of the provenance of a model of text


class Axis(Record):
    """A named axis of the inputs of a custom module. Its size is a multiple of `step`, from `least` to `most`."""

    name: str
    least: int
    most: int
    step: int

    def __post_init__(self) -> None:
        require_text(self)
        for name in ("least", "most", "step"):
            require(is_count(getattr(self, name), 1), f"{name} must be a whole number of at least 1", self)
        require(self.least <= self.most, "least must not be over most", self)

    def allows(self, size: int) -> bool:
        return self.least <= size <= self.most and size % self.step == 0


class Within(Record):
    """The values of an input that counts along an axis: from `least` to the size of `axis` minus `short`.

    Lengths of rows go from 1 to the size, places from 0 to the size minus 1.
    """

    axis: str
    least: int
    short: int

    def __post_init__(self) -> None:
        require_text(self)
        for name in ("least", "short"):
            require(is_count(getattr(self, name), 0), f"{name} must be a whole number of at least 0", self)

    def most(self, sizes: Mapping[str, int]) -> int:
        return sizes[self.axis] - self.short


class Signature(Record):
    """What a custom module takes.

    Attributes:
        axes: the axes whose sizes vary. Other sizes in the shapes of the inputs may follow from them (`bundle.formula`).
        below: for each input that holds ids, the number that all its ids are below, by the name of the input.
        samples: the name of the axis along which outputs are independent; empty if the module has no such axis.
        within: for each input that counts along an axis, the range of its values, by the name of the input.
        fixed: the axes of inputs that could not vary, in words; for people, not interpreted.
        frozen: the arguments that the graph does not take, with the values that it was made with; for people.
        narrowed: the axes that keep to fewer sizes than the module answers, and why, in words; for people.
        sampled: where the module branches on sizes, and at how many sizes beyond it was compared, in words; for people.
    """

    axes: tuple[Axis, ...]
    below: dict[str, int]
    samples: str
    within: dict[str, Within] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    frozen: dict[str, str] = field(default_factory=dict)
    narrowed: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_text(self)
        named = [axis.name for axis in self.axes]
        require(len(set(named)) == len(named), "axes must have different names", named)
        require(self.samples in ("", *named), "samples must name an axis", self.samples)
        require(isinstance(self.below, dict), "below must be a number by input", self.below)
        for name, least in self.below.items():
            require(isinstance(name, str) and is_count(least, 1), "below must be a number by input", self.below)
        ranges = isinstance(self.within, dict) and all(one.axis in named for one in self.within.values())
        require(ranges, "within must name an axis by input", self.within)
        for name in ("fixed", "narrowed", "sampled"):
            require(all(isinstance(one, str) for one in getattr(self, name)), f"{name} must be text", self)
        require(isinstance(self.frozen, dict), "frozen must be text by argument", self.frozen)

    def axis(self, name: str) -> Axis:
        return next(axis for axis in self.axes if axis.name == name)

    def sizes(self, shapes: Mapping[str, Sequence[int | str]], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """The size of each axis, from the declared shapes of inputs and the shapes of the arrays that were given.

        An axis that no input shows is left out.
        """
        pairs = [
            (formula(axis), size)
            for name, shape in shapes.items()
            for axis, size in zip(shape, given[name], strict=True)
            if isinstance(axis, str)
        ]
        found = {one.names[0]: size for one, size in reversed(pairs) if one.is_axis}
        for _ in self.axes:
            for one, size in pairs:
                found |= one.solved(size, found)
        return found
