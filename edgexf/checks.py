"""Checks of frozen records that are read from files: what a value must be, in words."""

from __future__ import annotations

from dataclasses import fields


def require(condition: bool, rule: str, got: object) -> None:
    """ValueError, which `Manifest.from_dict` turns into a BundleError."""
    if not condition:
        raise ValueError(f"{rule}, not {got!r}")


def is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def require_text(values: object) -> None:
    """Every field that is annotated as text holds some."""
    for item in fields(values):  # type: ignore[arg-type]
        if item.type == "str":
            require(
                isinstance(getattr(values, item.name), str), f"{item.name} must be text", getattr(values, item.name)
            )
