"""Reads arrays by name from an ``.npz`` file: the input of a model that reads neither text nor bytes.

In: the path of a file that numpy.savez wrote, or ``-``. Out: arrays by name, or an InputError. Pickled objects are
refused, since reading them would run code from the file.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.errors import InputError
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, read_file

Arrays = dict[str, npt.NDArray[Any]]
MOST_BYTES = 1 << 30  # of a file, and of its arrays
RULE = "a file for a model of arrays must be an .npz of them by name"
# zipfile and numpy raise these for other files: an encrypted or truncated file, or an invalid header.
UNREADABLE = (
    ValueError, OSError, AttributeError, TypeError, RuntimeError, OverflowError, EOFError, MemoryError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError, SyntaxError, KeyError,
)  # fmt: skip


def read_arrays(path: Path, timeout: float = INPUT_TIMEOUT) -> Arrays:
    """The arrays of an ``.npz`` file, by name.

    Raises InputError for a file that can't be read, for one that is no ``.npz`` or holds others than arrays of numbers,
    and for more than `MOST_BYTES`.
    """
    return arrays_in(read_file(path, MOST_BYTES + 1, timeout), path)


def arrays_in(data: bytes, path: Path) -> Arrays:
    """The arrays in the content of an ``.npz`` file, by name. `path` names it in errors, which are those of `read_arrays`."""
    if not zipfile.is_zipfile(BytesIO(data)):
        raise InputError(f"{RULE}, got {path}, which is none; write it with numpy.savez.")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
        if max(len(data), sum(member.file_size for member in members)) > MOST_BYTES:
            raise InputError(f"{RULE}, at most {MOST_BYTES >> 20} MiB, got more in {path}; cut it into parts.")
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"{RULE}, got {path} ({reason}); write it with numpy.savez.") from error
    odd = [name for name, array in found.items() if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf"]
    if odd or not found or len(found) < len(members):
        what = f"{odd[0]}, which holds no numbers" if odd else "a name twice" if found else "none"
        raise InputError(f"{RULE}, got {what} in {path}; write it with numpy.savez.")
    return found
