"""Frozen records behave as frozen dataclasses do, which stand beside them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace

import pytest

from edgexf.records import Record


class Point(Record):
    """A record."""

    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Same:
    """The dataclass that it stands for."""

    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)
    note: str = field(default="", compare=False)


class Even(Record):
    """A record that checks its value."""

    x: int

    def __post_init__(self) -> None:
        if self.x % 2:
            raise ValueError("odd")

    @property
    def half(self) -> int:
        return self.x // 2


def test_it_is_a_dataclass() -> None:
    given = {"x": 1, "tags": {"a": 3}}
    one, other = Point(**given), Same(**given)  # type: ignore[arg-type]
    assert [(item.name, item.type) for item in fields(one)] == [(item.name, item.type) for item in fields(other)]
    assert asdict(one) == asdict(other)
    assert repr(one) == repr(other).replace("Same", "Point")
    assert replace(one, y=5) == Point(1, 5, {"a": 3})
    assert dataclasses.astuple(one) == dataclasses.astuple(other)
    match one:
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_a_default_is_made_for_each() -> None:
    Point(1).tags["a"] = 1
    assert Point(1).tags == {}


def test_equality_is_of_the_class_and_of_the_fields_that_count() -> None:
    assert Point(1, note="a") == Point(1, 2, {}, "b")
    assert Point(1) != Point(2)
    assert Point(1) != Same(1)
    assert Even(2) == Even(2)
    assert len({Even(2), Even(2), Even(4)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))  # as of a dataclass with a dictionary


def test_it_is_frozen() -> None:
    for change in (lambda: setattr(Point(1), "x", 2), lambda: delattr(Point(1), "x")):
        with pytest.raises(FrozenInstanceError):
            change()


def test_it_checks_itself_also_when_it_is_replaced() -> None:
    assert Even(4).half == 2
    with pytest.raises(ValueError, match="odd"):
        replace(Even(4), x=3)


def test_it_travels() -> None:
    assert copy.copy(Even(2)) == copy.deepcopy(Even(2)) == pickle.loads(pickle.dumps(Even(2))) == Even(2)  # noqa: S301


@pytest.mark.parametrize(
    ("given", "named", "match"),
    [
        ((), {}, "needs x"),
        ((1, 2, {}, "", 5), {}, "has 4 fields, got 5"),
        ((1,), {"x": 2}, "got x twice"),
        ((1,), {"z": 2}, "has no field z"),
    ],
)
def test_wrong_values_are_refused(given: tuple[object, ...], named: dict[str, int], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        Point(*given, **named)  # type: ignore[arg-type]
