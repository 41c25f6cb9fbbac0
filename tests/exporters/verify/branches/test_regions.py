"""Regions outside a trace: found by enumeration, and sizes in them to compare at."""

from __future__ import annotations

import numpy as np
import pytest

from edgexf.bundle.signature import Axis, Signature
from edgexf_exporters.trace.guards import Condition, Symbol
from edgexf_exporters.verify.branches.regions import Region, chosen, kept, outside

SHAPES = [("b", "n"), ("2*n + 1",)]
SIGNATURE = Signature((Axis("b", 1, 65536, 1), Axis("n", 2, 4096, 1)), {}, "b")
USUAL = {"b": 3, "n": 97}
SYMBOLS = {"s0": Symbol(0, 0), "s1": Symbol(0, 1), "s2": Symbol(1, 0, 2, 1)}


def condition(text: str, branch: bool = True) -> Condition:
    return Condition(text, {name: symbol for name, symbol in SYMBOLS.items() if name in text}, branch=branch)


def found(text: str, affordable: int = 8200) -> tuple[list[dict[str, int]], int]:
    (region,) = outside([condition(text)])
    return chosen(region, SHAPES, SIGNATURE, USUAL, affordable)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s1 != 1000", {(3, 1000)}),
        ("s0 != 100", {(100, 2)}),  # 100 x 97 is too large
        ("s2 != 1000", {(3, 1000)}),  # by an axis of 2 n + 1
        ("s0 != s1", {(3, 3), (2, 2)}),
        ("s0*s1 != 5561", {(67, 83), (83, 67)}),  # on no line
    ],
)
def test_single_sizes_are_found(text: str, wanted: set[tuple[int, int]]) -> None:
    sizes, count = found(text)
    assert count >= 1
    assert wanted <= {(one["b"], one["n"]) for one in sizes}


def test_a_long_region_is_compared_at_both_ends_and_eight_drawn_sizes() -> None:
    sizes, count = found("s1 < 1000")
    lengths = [one["n"] for one in sizes if one["b"] == 3]
    assert count == 4096 - 999
    assert min(lengths) == 1000
    assert len({one["n"] for one in sizes}) >= 10
    assert max(one["n"] for one in sizes) == 4096


def test_a_condition_of_an_operator_is_looked_for_on_lines_only() -> None:
    (region,) = outside([condition("s0*s1 != 5561", branch=False)])
    assert chosen(region, SHAPES, SIGNATURE, USUAL, 8200) == ([], 0)


def test_no_size_to_compare_is_larger_than_affordable() -> None:
    sizes, count = found("s0*s1 <= 20000")
    assert count > 0
    assert sizes == []


def test_a_region_holds_where_the_earlier_conditions_hold() -> None:
    first, second = outside([condition("(s1 % 2) == 1"), condition("s1 != 1001")])
    lengths = np.arange(2, 4097)
    sizes = {"b": np.full(len(lengths), 3), "n": lengths}
    assert np.array_equal(first.holds(SHAPES, sizes), lengths % 2 == 0)
    assert lengths[second.holds(SHAPES, sizes)].tolist() == [1001]
    assert second.condition.text == "s1 != 1001"


@pytest.mark.parametrize(
    ("text", "axis", "ends"),
    [
        ("s0 != 100", "b", (1, 99)),
        ("s0*s1 <= 20000", "b", (1, 4)),
        ("s1 > 90", "n", (91, 4096)),
        ("(s1 % 10) != 0", "n", (91, 99)),
        ("s0 != s1", "b", None),
        ("s1 != 97", "n", None),
    ],
)
def test_an_axis_keeps_what_no_size_of_the_others_brings_into_a_region(
    text: str, axis: str, ends: tuple[int, int] | None
) -> None:
    region = Region(((condition(text), False),))
    assert kept(region, SHAPES, SIGNATURE, USUAL, axis) == ends
