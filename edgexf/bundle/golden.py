"""Golden outputs: a sample of the contract grid that is stored in a bundle, and how two outputs are compared.

In: cells. A cell holds the inputs of a graph and the outputs of the eager model as arrays. Where eager float32 itself is
further from the truth than the tolerance, a cell also holds `names.ROUNDED`: the tolerance that each of `PARTS` asks for,
float64 [3], 0 where the usual one holds. Out: ``golden.npz``, and cells again.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.manifest import Tensor
from edgexf.errors import BundleError, ExportError

Array = npt.NDArray[Any]

PARTS = ("outputs", "relevance", "residual")  # what is compared in a cell
SAMPLE = 64
MEDIAN_OF = 100_000  # values: enough for a scale
BARRED = -1e5  # a library subtracts 1e6 from the logits of impossible answers, and loses their digits


def relative_difference(found: Array, wanted: Array) -> float:
    """max |found - wanted| / max |wanted|; infinite for arrays that can't be compared.

    Arrays can't be compared if their shapes differ (they would broadcast), if a value is not finite (a maximum would
    hide it), or if they are empty.
    """
    if found.shape != wanted.shape or found.size == 0:
        return math.inf
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return math.inf
    scale = max(float(np.abs(wanted).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(found.astype(np.float64) - wanted).max()) / scale


def output_difference(output: Tensor, found: Array, wanted: Array, real: Array) -> float:
    """`relative_difference` of a graph's output, over the real tokens only if the output has an axis of tokens.

    `real` is bool [batch, sequence]. Values at padding are not compared, but must be finite. The scale is the largest
    real value, or the median size of all values if it is larger: if only one token is real, one logit that happens to
    be near 0 is no measure of the output. Whole numbers and booleans must be equal. Logits that the model bars are compared among themselves. Values that the model
    itself leaves undefined are left out (`defined`).
    """
    if found.shape != wanted.shape:
        return math.inf
    found, wanted = defined(found, wanted)
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return math.inf
    scale = 0.0 if wanted.dtype.kind in "biu" else typical(wanted)
    if output.has_tokens and not real.all():
        found, wanted = found[real], wanted[real]
    if wanted.dtype.kind in "biu":  # numbers that are counted have no rounding
        return 0.0 if np.array_equal(found, wanted) else math.inf
    barred = wanted < BARRED
    if np.any(barred != (found < BARRED)) or barred.all():
        return math.inf
    hidden = 0.0
    if barred.any():  # only then copy: logits over a vocabulary take gigabytes
        hidden = relative_difference(found[barred], wanted[barred])
        found, wanted = found[~barred], wanted[~barred]
    largest = max(float(np.abs(wanted).max()), scale, float(np.finfo(np.float32).tiny))
    return max(hidden, float(np.abs(found - wanted).max()) / largest)


def defined(found: Array, wanted: Array) -> tuple[Array, Array]:
    """Both arrays, with 0 where the model's own value is NaN, and where both values are the same infinite one.

    A module may answer NaN for a row whose tokens are all hidden, and bar a choice by -inf. Arrays without a finite value
    stay as they are.
    """
    finite = np.isfinite(wanted)
    if finite.all() or not finite.any():
        return found, wanted
    left_out = ~finite & (np.isnan(wanted) | (found == wanted))
    return np.where(left_out, 0, found), np.where(left_out, 0, wanted)


def typical(wanted: Array) -> float:
    """The median size of the values of an output that are not barred, or of an even sample of these values."""
    sample = np.abs(wanted.reshape(-1)[:: wanted.size // MEDIAN_OF + 1])
    kept = sample[sample < -BARRED]
    return float(np.median(kept)) if kept.size else 0.0


def thinned(output: Tensor, array: Array) -> Array:
    """A sample of an output that has no fixed size: at most `SAMPLE` tokens and `SAMPLE` columns, evenly spread.

    The choice follows from the shape alone, so a device takes the same tokens and columns of its output.
    """
    if not output.varies:
        return array
    for axis in range(1, array.ndim):
        size = array.shape[axis]
        array = array.take(np.unique(np.linspace(0, size - 1, min(size, SAMPLE)).astype(np.int64)), axis=axis)
    return array


def residual_difference(found: Array, wanted: Array, relevance: Array, row_axis: int = 0) -> float:
    """max |found - wanted| of residuals [batch], relative to the size of the sums that leave the residuals.

    A residual is a small difference of large sums, so its size is no measure. The scale is |residual| plus the sum of
    |relevance|. `relevance` is [batch, sequence] or has other axes; `row_axis` is its axis of the batch.
    """
    if found.shape != wanted.shape or not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return math.inf
    total = np.abs(np.moveaxis(relevance, row_axis, 0)).reshape(relevance.shape[row_axis], -1).sum(axis=-1)
    scale = float((np.abs(wanted) + total).max())
    return float(np.abs(found.astype(np.float64) - wanted).max()) / max(scale, float(np.finfo(np.float32).tiny))


def read(path: Path) -> dict[str, dict[str, Array]]:
    """Cells by name, from an archive of arrays that are named ``cell/tensor``. BundleError for any other file."""
    cells: dict[str, dict[str, Array]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                cell, _, tensor = key.rpartition("/")
                cells.setdefault(cell, {})[tensor] = arrays[key]
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, MemoryError) as error:
        raise BundleError(
            f"{path.name} must be an archive of arrays, got something else ({error}); export the bundle again."
        ) from error
    return cells


ALONE = 16


def pack(cells: Mapping[str, Mapping[str, Array]], most: int) -> bytes:
    """``golden.npz`` with as many of the cells, in order, as fit into `most` bytes; the same bytes for the same cells.

    If none fits, the smallest cell stands there alone, up to `ALONE` times as large: two tokens of a language model with
    150,000 words are above a million bytes. `numpy.savez_compressed` would stamp the time of day on each member. ExportError
    if that is too large too.
    """
    sizes = {cell: sum(len(member(array)) for array in tensors.values()) for cell, tensors in cells.items()}
    smallest = min(sizes, key=sizes.__getitem__, default="")
    if sizes and most < sizes[smallest] <= ALONE * most:
        return pack({smallest: cells[smallest]}, sizes[smallest])
    buffer, packed = BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for cell, tensors in cells.items():
            members = {f"{cell}/{name}.npy": member(array) for name, array in tensors.items()}
            if buffer.tell() + sum(map(len, members.values())) > most:
                continue
            packed += 1
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    if packed == 0:
        raise ExportError(
            f"a cell of the grid must fit into {ALONE * most} bytes of {names.GOLDEN_FILE}, got none that does; export fewer labels or smaller inputs."
        )
    return buffer.getvalue()


def member(array: Array) -> bytes:
    """An array in numpy's file format. Integers from 0 to 2^16 - 1 are stored as uint16."""
    small = (
        array.astype(np.uint16)
        if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() < 1 << 16
        else array
    )
    buffer = BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(small), allow_pickle=False)
    return buffer.getvalue()
