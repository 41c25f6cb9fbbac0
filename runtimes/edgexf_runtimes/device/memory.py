"""Gives memory that this process has freed back to the operating system."""

from __future__ import annotations

import sys


def trim() -> None:
    """Asks the C library to give back the pages that it keeps for later allocations.

    Only glibc keeps so many that it pays, and only glibc has the function: `malloc_trim(3)`. Elsewhere nothing is done.
    """
    if sys.platform == "linux":
        import ctypes  # here, because an application waits for the imports of the runtime

        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)
