"""The steps that turn a picture into the numbers that a model reads, in the order in which they run.

In: keyword arguments, or JSON objects whose key `step` names the kind. Out: frozen values that were checked. A step is
named after what it does; whoever wrote it has put every rule of an image processor (``crop_pct``, defaults of a class)
into sizes and numbers, so that a reader needs no list of processors.

    resize    uint8 [height, width, 3] -> uint8, by a filter of Pillow
    crop      the middle of a picture; zeros where the picture is smaller
    flip      RGB -> BGR
    rescale   value * factor + offset, float32
    normalize (value - mean) / std, for each channel
    pad       zeros at the right and below
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgexf.checks import is_choice, is_count, require, wrong_keys
from edgexf.records import Record

FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # in the order of Pillow's numbers for them
EXACT, SHORTEST, BETWEEN = "exact", "shortest_edge", "shortest_and_longest_edge"
SIZES = {EXACT: 2, SHORTEST: 1, BETWEEN: 2}
HALVES = ("down", "even")
CHANNELS = 3
MOST_PIXELS = 1 << 16  # of a side


class Resize(Record):
    """Changes the size of a picture.

    Attributes:
        step: ``resize``.
        rule: ``exact``: `size` is the height and the width. ``shortest_edge``: `size` is the shorter side, and the longer
            one keeps the shape. ``shortest_and_longest_edge``: the same, but with a shorter side so short that the longer
            one is at most the second number.
        size: pixels, as the rule says.
        filter: one of `FILTERS`.
    """

    step: str
    rule: str
    size: tuple[int, ...]
    filter: str

    def __post_init__(self) -> None:
        require(self.rule in SIZES, f"rule of a resize must be one of {', '.join(SIZES)}", self.rule)
        require(self.filter in FILTERS, f"filter must be one of {', '.join(FILTERS)}", self.filter)
        check_sides(self.size, SIZES[self.rule])


class Crop(Record):
    """Cuts the middle out of a picture. Zeros stand where the picture is smaller.

    Attributes:
        step: ``crop``.
        size: the height and the width of the middle.
        half: where the middle begins if an odd number of pixels goes: ``down`` leaves the smaller half before it, ``even``
            the half that is an even number, which is how Python and torchvision round.
    """

    step: str
    size: tuple[int, ...]
    half: str = "down"

    def __post_init__(self) -> None:
        check_sides(self.size, 2)
        require(self.half in HALVES, f"half must be one of {', '.join(HALVES)}", self.half)


class Pad(Record):
    """Puts zeros at the right and below, up to the height and width `size`."""

    step: str
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        check_sides(self.size, 2)


class Flip(Record):
    """Turns RGB into BGR."""

    step: str


class Rescale(Record):
    """Makes float32 of each value: value * `factor` + `offset`."""

    step: str
    factor: float
    offset: float

    def __post_init__(self) -> None:
        check_numbers((self.factor, self.offset), 2)


class Normalize(Record):
    """Makes float32 of each value: (value - `mean`) / `std`, each a number for each channel."""

    step: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_numbers(self.mean, CHANNELS)
        check_numbers(self.std, CHANNELS)
        require(all(self.std), "std must not be 0", self.std)


Step = Resize | Crop | Pad | Flip | Rescale | Normalize
STEPS: Mapping[str, type[Step]] = {
    "resize": Resize, "crop": Crop, "flip": Flip, "rescale": Rescale, "normalize": Normalize, "pad": Pad,
}  # fmt: skip
SHAPES = (Resize, Crop, Pad)  # what changes the size


def check_sides(size: Any, count: int) -> None:
    """ValueError for what is not `count` numbers of pixels."""
    fits = isinstance(size, tuple) and len(size) == count and all(is_count(one, 1) for one in size)
    require(fits and max(size) <= MOST_PIXELS, f"size must be {count} whole numbers, 1 to {MOST_PIXELS}", size)


def check_numbers(values: Any, count: int) -> None:
    """ValueError for what is not `count` finite numbers."""
    fits = isinstance(values, tuple) and len(values) == count and all(type(one) in (int, float) for one in values)
    require(fits and all(map(math.isfinite, values)), f"a step needs {count} finite numbers", values)


def check_steps(steps: Sequence[Step]) -> None:
    """ValueError for what is no list of steps, and for a size that Pillow would have to change in floating point."""
    require(isinstance(steps, tuple), "steps must be a list", steps)
    for one in steps:
        require(type(one) in STEPS.values() and STEPS.get(one.step) is type(one), "steps must be known ones", one)
    numbers = [place for place, one in enumerate(steps) if isinstance(one, Rescale | Normalize)]
    sizes = [place for place, one in enumerate(steps) if isinstance(one, Resize)]
    require(not numbers or not sizes or max(sizes) < min(numbers), "a resize must stand before the numbers", steps)


def steps_of(values: Any) -> tuple[Step, ...]:
    """The steps of a list of JSON objects. ValueError for others."""
    require(isinstance(values, list | tuple), "steps must be a list", values)
    return tuple(step_of(one) for one in values)


def step_of(values: Any) -> Step:
    name = values.get("step") if isinstance(values, Mapping) else None
    require(is_choice(name, STEPS), f"a step must be one of {', '.join(STEPS)}", values)
    kind = STEPS[str(name)]
    wrong = wrong_keys(kind, values)
    require(not wrong, f"a step {wrong}", values)
    given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
    return kind(**given)


def size_of(steps: Sequence[Step]) -> tuple[int, int] | None:
    """The height and width of every picture behind the steps; None where they depend on the picture."""
    found: tuple[int, int] | None = None
    for one in steps:
        if isinstance(one, SHAPES):
            exact = not isinstance(one, Resize) or one.rule == EXACT
            found = (one.size[0], one.size[1]) if exact else None
    return found
