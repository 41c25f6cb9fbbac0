"""Checks of values that were read from JSON. Each raises ValueError, which the reader wraps in an InputError."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgexf.checks import require

MOST = 2**53  # of a whole number; a float has each of these


def check_keys(kind: type, values: Any, further: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Checks that values are an object with a key for each field of the dataclass `kind`, and the `further` keys."""
    require(isinstance(values, dict), f"{kind.__name__} must be an object", values)
    wanted = {item.name for item in fields(kind)} | further
    other = sorted(set(values) ^ wanted)
    require(not other, f"{kind.__name__} takes exactly its keys", other)


def of_kind(values: Mapping[str, Any], name: str, kind: type) -> Any:
    require(type(values[name]) is kind, f"{name} must be of kind {kind.__name__}", values[name])
    return values[name]


def listed(values: Any, count: int | None, *kinds: type) -> list[Any]:
    """Checks a list: `count` values, if that is not None, each of one of `kinds`. True and false are no numbers."""
    require(isinstance(values, list), "a list must be one", type(values).__name__)
    require(count in (None, len(values)), f"a list must have {count} values", len(values))
    others = [value for value in values if kinds and type(value) not in kinds]
    require(not others, f"a list must hold values of kind {kinds[0].__name__ if kinds else ''}", others[:1])
    return list(values)


def number(value: Any) -> float:
    """A finite number. JSON's 1e999 is read as infinity."""
    require(type(value) in (int, float) and math.isfinite(value), "a number must be a finite one", value)
    return float(value)


def offsets_of(values: Any) -> tuple[tuple[int, int], ...]:
    """Pairs of whole numbers."""
    return tuple((start, end) for start, end in (listed(offset, 2, int) for offset in listed(values, None)))
