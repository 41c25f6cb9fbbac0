"""Files of the kernel, and packages that tell the same where a system has no such files.

In: a path below a root that a test may choose, or the name of a package. Out: `Fact`s: text or a number, or the reason why
there is none.

psutil and py-cpuinfo come second. The files say more on Linux, and every device has them there; Windows and macOS have none.
The other way round was weighed: figures of one device would differ with the packages that happen to be installed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from edgexf.report.latency.measured.facts import Fact

ROOT = Path("/")


def read(path: Path) -> Fact:
    """The text of a file of the kernel."""
    try:
        return Fact(path.read_text(encoding="utf-8", errors="replace").strip())
    except OSError as error:
        return Fact(None, f"{path.name} can't be read: {error.strerror or type(error).__name__}")


def number(path: Path, scale: float = 1.0) -> Fact:
    found = read(path)
    if found.value is None:
        return found
    try:
        return Fact(float(found.value) * scale)
    except ValueError:
        return Fact(None, f"{path.name} holds {found.value[:40]!r}, no number")


def package(name: str) -> ModuleType | None:
    """A package of the extra ``report``, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None
