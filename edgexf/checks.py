"""Checks for frozen records that are read from files. A failed check says in words what the value must be."""

from __future__ import annotations

from dataclasses import fields


def require(condition: bool, rule: str, got: object) -> None:
    """Raises ValueError unless the condition holds; `Manifest.from_dict` turns the ValueError into a BundleError."""
    if not condition:
        raise ValueError(f"{rule}, not {got!r}")


def is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def require_text(values: object) -> None:
    """Raises ValueError unless every field with the annotation `str` holds a string."""
    for item in fields(values):  # type: ignore[arg-type]
        if item.type == "str":
            require(
                isinstance(getattr(values, item.name), str), f"{item.name} must be text", getattr(values, item.name)
            )
