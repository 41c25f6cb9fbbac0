"""Whether the process that left a half-written bundle still works on it.

In: the number of a process. Out: whether it runs.
"""

from __future__ import annotations

import os
import sys
from typing import Any

QUERY_PROCESS, NO_SUCH_PROCESS = 0x1000, 87  # Windows: PROCESS_QUERY_LIMITED_INFORMATION, ERROR_INVALID_PARAMETER


def alive(process: int) -> bool:
    """Whether a process with this number runs, also one that this user may not touch."""
    if sys.platform == "win32":
        return alive_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def alive_on_windows(process: int) -> bool:
    """As `alive`. On Windows, `os.kill` with 0 would send Ctrl-C to a console, and with another number end the process."""
    import ctypes  # here, because only Windows needs it

    library: Any = ctypes
    kernel = library.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p  # a handle has the size of a pointer
    handle = kernel.OpenProcess(QUERY_PROCESS, False, process)
    if not handle:
        return bool(library.get_last_error() != NO_SUCH_PROCESS)
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return True
