"""Checks for frozen records. A failed check says in words what the value must be. Standard library only.

Records that are read from files use `require`, whose ValueError the reader wraps with the file's name. Records that a
caller makes use `require_choice`, whose UsageError names the remedy itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

from edgexf.errors import UsageError, quoted


def require(condition: bool, rule: str, got: object) -> None:
    """Raises ValueError unless the condition holds; `Manifest.from_dict` turns the ValueError into a BundleError.

    A long value is cut: it comes from a file, and the error is one sentence.
    """
    if not condition:
        raise ValueError(f"{rule}, not {quoted(got)}")


def require_choice(condition: bool, rule: str, got: object, remedy: str) -> None:
    """Raises UsageError unless the condition holds."""
    if not condition:
        raise UsageError(f"{rule}, got {quoted(got)}; {remedy}.")


def each(values: object) -> Iterator[Any] | None:
    """An iterator over values that a caller gives as several; None for what holds no values of their own, such as a text."""
    if isinstance(values, str | bytes | bytearray | memoryview | Mapping):
        return None
    try:
        return iter(values)  # type: ignore[call-overload,no-any-return]  # raises for what is none
    except TypeError:  # also of an array without axes, which has the method all the same
        return None


def is_choice(value: object, choices: Collection[str]) -> bool:
    """Whether a value is one of the choices. Arrays and other objects have comparisons of their own, and are none."""
    return isinstance(value, str) and value in choices


def is_path(value: object) -> bool:
    """Whether a value is the text or the path of a file or a folder, which a call of the operating system takes."""
    try:
        text = os.fspath(value)  # type: ignore[call-overload]  # raises for what is none
        return isinstance(text, str) and text != "" and b"\0" not in os.fsencode(text)
    except Exception:  # noqa: BLE001 (an object's own __fspath__ may raise anything)
        return False


def check_flag(name: str, value: object) -> None:
    """Raises UsageError for what is neither True nor False. A text such as ``"no"`` would count as True."""
    require_choice(isinstance(value, bool), f"{name} must be True or False", value, "choose one of them")


def is_seconds(value: object) -> bool:
    """Whether a value is a time in seconds above 0 that a float holds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= sys.float_info.max  # type: ignore[operator]  # False for NaN


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
