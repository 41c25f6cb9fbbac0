"""What a custom module takes: its axes and their sizes, as a bundle's manifest holds them.

In: keyword arguments. Out: frozen values that were checked for kind and range. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgexf.checks import is_count, require, require_text


@dataclass(frozen=True)
class Axis:
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


@dataclass(frozen=True)
class Signature:
    """What a custom module takes.

    Attributes:
        axes: the axes whose sizes vary.
        below: for each input that holds ids, the number that all its ids are below, by the name of the input.
        samples: the name of the axis along which outputs are independent; empty if the module has no such axis.
    """

    axes: tuple[Axis, ...]
    below: dict[str, int]
    samples: str

    def __post_init__(self) -> None:
        require_text(self)
        named = [axis.name for axis in self.axes]
        require(len(set(named)) == len(named), "axes must have different names", named)
        require(self.samples in ("", *named), "samples must name an axis", self.samples)
        require(isinstance(self.below, dict), "below must be a number by input", self.below)
        for name, least in self.below.items():
            require(isinstance(name, str) and is_count(least, 1), "below must be a number by input", self.below)

    def axis(self, name: str) -> Axis:
        return next(axis for axis in self.axes if axis.name == name)
