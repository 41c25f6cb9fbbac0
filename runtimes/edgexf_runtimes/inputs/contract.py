"""What a bundle was verified with, beyond finite numbers.

In: a bundle's folder and manifest. Out: the values of an input that are no finite numbers and that the model has met.

A custom module may take a mask that is added to scores and that hides by -inf. Its golden cells then hold such a mask,
and the graph was compared with the model there. In every other input NaN and infinite numbers make an answer that looks
like one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgexf import names
from edgexf.bundle.manifest import Manifest

NONE: frozenset[str] = frozenset()


def kinds_of(array: np.typing.NDArray[np.floating]) -> frozenset[str]:
    """Which values of an array are no finite numbers: of ``nan``, ``inf`` and ``-inf``."""
    return frozenset(map(str, np.unique(array[~np.isfinite(array)]).tolist()))


class Contract:
    """The golden cells of a bundle. They are read when an input first holds a value that is no finite number."""

    def __init__(self, folder: Path | None, manifest: Manifest) -> None:
        there = folder is not None and names.GOLDEN_FILE in manifest.files
        self._file = folder / names.GOLDEN_FILE if folder is not None and there else None
        self._known: dict[str, frozenset[str]] | None = None

    def not_finite(self, name: str) -> frozenset[str]:
        """The values that are no finite numbers and with which the bundle was verified in this input."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(name, NONE)

    def _read(self) -> dict[str, frozenset[str]]:
        from edgexf.bundle.golden import read  # here, because few calls need it

        found: dict[str, frozenset[str]] = {}
        for cell in read(self._file).values() if self._file is not None else ():
            for name, array in cell.items():
                if array.dtype.kind == "f":
                    found[name] = found.get(name, NONE) | kinds_of(array)
        return found
