"""Sizes that follow from other sizes, as text in the shapes of a manifest.

In: text. Out: a `Formula`, which knows its size where the sizes of its axes are known. Standard library only.

    sequence_length             an axis itself
    past + new                  a sum of axes
    2*sequence_length - 1       a multiple and a constant
    (sequence_length + 1) // 2  a share, rounded down
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from edgexf.records import Record

SHARE = re.compile(r"\(?(.+?)\)? // ([1-9]\d*)")
TERM = re.compile(r"(?:([1-9]\d*)\*)?([^\W\d]\w*)")


class Formula(Record):
    """The sum of `terms` and `plus`, divided by `over` and rounded down.

    Attributes:
        terms: names of axes, each with its factor, a whole number of at least 1.
        plus: a constant.
        over: the divisor.
    """

    terms: tuple[tuple[str, int], ...]
    plus: int = 0
    over: int = 1

    def __str__(self) -> str:
        parts = [name if factor == 1 else f"{factor}*{name}" for name, factor in self.terms]
        total = " + ".join(parts) + (f" {'+' if self.plus > 0 else '-'} {abs(self.plus)}" if self.plus else "")
        if self.over == 1:
            return total
        return f"{f'({total})' if ' ' in total else total} // {self.over}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.terms)

    @property
    def is_axis(self) -> bool:
        """Whether the formula is an axis itself."""
        return self == Formula(((self.names[0], 1),))

    def at(self, sizes: Mapping[str, int]) -> int:
        """The size, where the axes have these sizes."""
        return (sum(factor * sizes[name] for name, factor in self.terms) + self.plus) // self.over

    def solved(self, size: int, sizes: Mapping[str, int]) -> dict[str, int]:
        """The size of the only axis that `sizes` lacks; empty if none or several are lacking, or if none fits."""
        unknown = [(name, factor) for name, factor in self.terms if name not in sizes]
        if len(unknown) != 1 or self.over != 1:
            return {}
        rest = size - self.plus - sum(factor * sizes[name] for name, factor in self.terms if name in sizes)
        name, factor = unknown[0]
        return {name: rest // factor} if rest % factor == 0 else {}


@lru_cache
def formula(text: str) -> Formula:
    """The formula that a text writes. Any other text is the name of an axis."""
    share = SHARE.fullmatch(text)
    total, over = (share[1], int(share[2])) if share else (text, 1)
    terms, plus = [], 0
    for place, part in enumerate(re.split(r" (?=[+-] )", total)):
        sign, _, number = part.partition(" ") if place else ("+", "", part)
        term = TERM.fullmatch(number)
        if term and sign == "+":
            terms.append((term[2], int(term[1] or 1)))
        elif number.isdecimal() and place:
            plus = int(number) if sign == "+" else -int(number)
        else:
            return Formula(((text, 1),))
    return Formula(tuple(terms), plus, over)


def size_of(axis: int | str, sizes: Mapping[str, int]) -> int:
    """The size of an axis of a shape: a number, or a formula over `sizes`."""
    return axis if isinstance(axis, int) else formula(axis).at(sizes)


def known(axis: int | str, sizes: Mapping[str, object]) -> bool:
    """Whether the size of an axis follows from axes of these names."""
    return isinstance(axis, int) or all(name in sizes for name in formula(axis).names)
