"""Golden outputs: a sample of the contract grid that travels with a bundle.

In: cells as arrays. Out: ``golden.npz``, and on a device the largest relative difference from it, found
with numpy and onnxruntime alone. Each cell holds the graph's inputs and the eager model's outputs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import BundleError

if TYPE_CHECKING:
    from edgexf_runtimes.session import Session

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class GoldenRow:
    """What was seen in one cell: relative differences, `relevance` None without an explain graph."""

    cell: str
    logits: float
    relevance: float | None

    @property
    def worst(self) -> float:
        return max(self.logits, self.relevance or 0.0)


def read(path: Path) -> dict[str, dict[str, Array]]:
    """Cells by name, from arrays that are named ``cell/tensor``."""
    cells: dict[str, dict[str, Array]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                cell, _, tensor = key.rpartition("/")
                cells.setdefault(cell, {})[tensor] = arrays[key]
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise BundleError(f"{path.name} must be an archive of arrays, got something else ({error}); export the bundle again.") from error
    return cells


def relative(found: Array, wanted: Array) -> float:
    """max |found - wanted| / max |wanted|; NaN where anything is not finite."""
    scale = max(float(np.abs(wanted).max()), float(np.finfo(np.float32).tiny))
    difference = float(np.abs(found.astype(np.float64) - wanted).max()) / scale
    return difference if np.isfinite(found).all() else float("nan")


def check(session: Session) -> list[GoldenRow]:
    """Every cell of the bundle's golden outputs, run on this device."""
    rows = []
    explains = bool(session.manifest.methods)
    for cell, tensors in read(session.path / names.GOLDEN_FILE).items():
        feeds = {name: tensors[name].astype(np.int64) for name in (names.INPUT_IDS, names.ATTENTION_MASK)}
        found = session.run_explain(**feeds) if explains else session.run(**feeds)
        logits = max(
            relative(found[names.LOGITS], tensors[names.LOGITS]),
            relative(session.run(**feeds)[names.LOGITS], tensors[names.LOGITS]),
        )
        relevance = relative(found[names.RELEVANCE], tensors[names.RELEVANCE]) if explains else None
        rows.append(GoldenRow(cell, logits, relevance))
    return rows


def pack(cells: Mapping[str, Mapping[str, Array]], most: int) -> bytes:
    """``golden.npz`` with as many of the cells, in order, as fit into `most` bytes; the same bytes for the same cells.

    Written here and not with `numpy.savez_compressed`, which stamps the time of day on each member.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for cell, tensors in cells.items():
            members = {f"{cell}/{name}.npy": member(array) for name, array in tensors.items()}
            if buffer.tell() + sum(map(len, members.values())) > most:
                continue
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def member(array: Array) -> bytes:
    """An array in numpy's own format; whole numbers below 2^16 are stored as such."""
    small = array.astype(np.uint16) if array.dtype.kind in "iu" and array.size and 0 <= array.min() and array.max() < 1 << 16 else array
    buffer = BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(small), allow_pickle=False)
    return buffer.getvalue()
