"""Checks the types of what a caller passes to `edgexf.load`.

In: the arguments. Out: nothing, or a UsageError that says what an argument must be. The values of the arguments are
checked where they are used.
"""

from __future__ import annotations

import os
from typing import Any

from edgexf.dtypes import NAMES
from edgexf.errors import UsageError


def check_arguments(path: Any, dtype: Any, on_run: Any) -> None:
    """Raises UsageError for an argument of a wrong type, and for an unknown choice."""
    check_path(path)
    if not isinstance(dtype, str) or dtype not in ("auto", *NAMES):
        raise UsageError(f"dtype must be one of auto, {', '.join(NAMES)}, got {dtype!r}; choose one of them.")
    if on_run is not None and not callable(on_run):
        raise UsageError(f"on_run must be a function of a Run, got {type(on_run).__name__}; leave it out for none.")


def check_path(path: Any) -> None:
    """Raises UsageError for a path of a bundle that is neither text nor a path, or that holds a null character."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        got = repr(path) if isinstance(path, str | bytes) else type(path).__name__
        raise UsageError(f"a bundle's path must be the text or the Path of a folder, got {got}; name the folder.")
