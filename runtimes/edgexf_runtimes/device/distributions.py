"""The onnxruntime packages of this environment: one, or several that overwrite each other.

In: the folder in which the module `onnxruntime` lies. Out: the names of the packages that put it there.

onnxruntime, onnxruntime-gpu, -openvino and -directml install the same files. pip lets the later one overwrite the earlier
one without a word, and lists both. Names of folders are read, not `importlib.metadata`: it takes as long to import as
edgexf itself.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path

import onnxruntime as ort

OWNED = "onnxruntime/__init__.py"  # the file by which a package is known to hold the module


def packages(site: Path) -> list[str]:
    """The packages in a folder of installed packages that hold the module `onnxruntime`, by name."""
    listed = [name for name in os.listdir(site) if name.startswith("onnxruntime") and name.endswith(".dist-info")]
    folders = [site / name for name in sorted(listed)]
    if len(folders) > 1:  # plugin libraries and extensions have the same prefix
        folders = [folder for folder in folders if holds(folder)]
    return [folder.name.removesuffix(".dist-info").split("-")[0].replace("_", "-") for folder in folders]


def holds(folder: Path) -> bool:
    record = folder / "RECORD"
    return record.is_file() and any(
        line.startswith(OWNED) for line in record.read_text(encoding="utf-8", errors="replace").splitlines()
    )


@cache
def installed_packages() -> tuple[str, ...]:
    return tuple(packages(Path(ort.__file__).parents[1]))


def several() -> str:
    """A sentence for an environment with more than one onnxruntime package; empty for one."""
    found = installed_packages()
    if len(found) < 2:
        return ""
    return (
        f"an environment must hold one onnxruntime package, got {' and '.join(found)}, which overwrite each other's files; "
        f"uninstall all of them and install the one that you need."
    )


@cache
def warn_of_several() -> None:
    """Issues a UserWarning for an environment with more than one onnxruntime package, once in a process."""
    if several():
        warnings.warn(several(), stacklevel=4)
