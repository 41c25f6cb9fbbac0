"""Checks the types of what a caller passes to `edgexf.load`.

In: the arguments. Out: nothing, or a UsageError that says what an argument must be. The values of the arguments are
checked where they are used.
"""

from __future__ import annotations

from typing import Any

from edgexf.checks import check_flag, is_choice, is_path
from edgexf.dtypes import NAMES
from edgexf.errors import UsageError, quoted


def check_arguments(path: Any, dtype: Any, on_run: Any, strict: Any) -> None:
    """Raises UsageError for an argument of a wrong type, and for an unknown choice."""
    check_path(path)
    if not is_choice(dtype, ("auto", *NAMES)):
        raise UsageError(f"dtype must be one of auto, {', '.join(NAMES)}, got {quoted(dtype)}; choose one of them.")
    if on_run is not None and not callable(on_run):
        raise UsageError(f"on_run must be a function of a Run, got {type(on_run).__name__}; leave it out for none.")
    check_flag("strict", strict)


def check_path(path: Any) -> None:
    """Raises UsageError for a path of a bundle that is neither text nor a path."""
    if not is_path(path):
        raise UsageError(
            f"a bundle's path must be the text or the Path of a folder, got {quoted(path)}; name the folder."
        )
