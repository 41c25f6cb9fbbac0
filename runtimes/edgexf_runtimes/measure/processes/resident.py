"""The resident memory of this process, in MiB. None on a system that does not tell it, such as Windows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def from_status(field: str) -> float | None:
    """A field of the kernel's file about this process, such as ``VmRSS``."""
    if not STATUS.is_file():
        return None
    text = STATUS.read_text(encoding="utf-8", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) / 2**10 if found else None


def resident_mib() -> float | None:
    """The memory at this moment."""
    return from_status("VmRSS")


def peak_mib() -> float | None:
    """The peak. The kernel's figure for the address space comes first, because `getrusage` starts from the parent's peak."""
    peak = from_status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # only Unix has it
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
