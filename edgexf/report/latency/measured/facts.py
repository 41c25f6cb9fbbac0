"""Facts about a device. What can't be read has a reason in place of a value; nothing is guessed.

In: a value that JSON has, or a reason. Out: a `Fact`, with its JSON: ``{"value": 61.5}`` or ``{"value": null, "reason": "..."}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgexf.checks import require
from edgexf.report.reading import number


@dataclass(frozen=True)
class Fact:
    """A value, or None and the reason. Raises ValueError for both and for neither."""

    value: Any
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise ValueError("a fact has a value, or the reason why it has none")

    def text(self, unit: str = "") -> str:
        if self.value is None:
            return f"unknown ({self.reason})"
        shown = f"{self.value:.4g}" if isinstance(self.value, float) else shown_list(self.value)
        return f"{shown} {unit}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value} if not self.reason else {"value": None, "reason": self.reason}

    @classmethod
    def from_dict(cls, values: Any) -> Fact:
        """The inverse of `to_dict`. ValueError for other values."""
        known = isinstance(values, dict) and "value" in values and set(values) <= {"value", "reason"}
        require(known, "a fact holds a value, or null and a reason", values)
        reason = values.get("reason", "")
        require(isinstance(reason, str), "the reason of a fact must be text", reason)
        return cls(values["value"], reason)

    @classmethod
    def of_number(cls, values: Any) -> Fact:
        """The inverse of `to_dict` for a finite number. ValueError for other values."""
        fact = cls.from_dict(values)
        return fact if fact.value is None else cls(number(fact.value))


def shown_list(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def facts_of(values: Any, read: Callable[[Any], Fact]) -> dict[str, Fact]:
    """Facts by name, from JSON. `read` is the reader of one. ValueError for other values."""
    require(isinstance(values, Mapping), "facts must be an object", type(values).__name__)
    return {str(name): read(fact) for name, fact in values.items()}
