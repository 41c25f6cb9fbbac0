"""Checks for frozen records. A failed check says in words what the value must be. Standard library only.

Records that are read from files use `require`, whose ValueError the reader wraps with the file's name. Records that a
caller makes use `require_choice`, whose UsageError names the remedy itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from edgexf.errors import UsageError


def require(condition: bool, rule: str, got: object) -> None:
    """Raises ValueError unless the condition holds; `Manifest.from_dict` turns the ValueError into a BundleError."""
    if not condition:
        raise ValueError(f"{rule}, not {got!r}")


def require_choice(condition: bool, rule: str, got: object, remedy: str) -> None:
    """Raises UsageError unless the condition holds."""
    if not condition:
        raise UsageError(f"{rule}, got {got!r}; {remedy}.")


def is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def require_text(values: object) -> None:
    """Raises ValueError unless every field with the annotation `str` holds a string."""
    for item in fields(values):  # type: ignore[arg-type]
        if item.type == "str":
            require(
                isinstance(getattr(values, item.name), str), f"{item.name} must be text", getattr(values, item.name)
            )


def wrong_keys(cls: type, values: Any, left_out: Collection[str] = (), may_lack: Collection[str] = ()) -> str:
    """What is wrong about the keys of values for the dataclass `cls`, in words; empty where nothing is.

    Values hold every field but those of `left_out`, and may lack those of `may_lack`. Values that are no mapping have no
    keys.
    """
    wanted = {item.name for item in fields(cls)} - set(left_out)
    have = set(values) if isinstance(values, Mapping) else set()
    unknown, missing = sorted(have - wanted), sorted(wanted - have - set(may_lack))
    if not unknown and not missing:
        return ""
    return f"takes exactly the keys {sorted(wanted)}, got unknown {unknown} and missing {missing}"
