"""Calibration data: inputs of the model's own kind, read one at a time.

In: a session and a file. Out: an iterator of arrays for one row each, as `Session.run` takes them. `whole` cuts a row to
whole blocks, so that no padding shapes the ranges that are fixed on it.

    JSON lines   {"text": ...}, {"input": FILE} or {"input_ids": [...]} on each line, as of `labelled`
    text         a text on each line, for a model that reads text
    file list    a file on each line, relative to the list: for a model of bytes, or where the first line names a file
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import InputError
from edgexf.manifest import Text
from edgexf_runtimes.labelled import Labelled, one_line
from edgexf_runtimes.session import Session

Arrays = dict[str, npt.NDArray[Any]]


def stream(session: Session, path: Path) -> Iterator[Arrays]:
    """The rows of a file, at least one. InputError, naming the line, for what the model can't read."""
    count = 0
    for where, given in lines(session, path):
        try:
            arrays = arrays_of(session, given)
        except InputError as error:
            raise InputError(f"calibration data must be inputs of the model, got {where}: {error}") from error
        yield arrays
        count += 1
    if count == 0:
        raise InputError(f"calibration data must hold an input, got none in {path}; give a line for each.")


def lines(session: Session, path: Path) -> Iterator[tuple[str, Labelled]]:
    """What each line stands for, and where it is."""
    kind = None
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if not text:
                    continue
                where = f"line {number} of {path.name}"
                kind = kind or kind_of(session, path, text)
                if kind == "json":
                    yield where, one_line(text, where, path.parent)
                else:
                    yield where, Labelled(path.parent / text if kind == "files" else text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"calibration data must be a readable file of text, JSON lines or file names, got {path} ({error}); check it."
        ) from error


def kind_of(session: Session, path: Path, first: str) -> str:
    """What a file's first line makes of it."""
    if first.startswith("{"):
        return "json"
    try:
        is_file = (path.parent / first).is_file()
    except OSError:  # too long for a name
        is_file = False
    return "text" if isinstance(session.manifest.preprocess, Text) and not is_file else "files"


def arrays_of(session: Session, given: Labelled) -> Arrays:
    """One input as the graph takes it; a text that is too long is cut."""
    if given.ids is None:
        return session.checked(session.encode([given.source], truncate=True))
    return session.checked({names.INPUT_IDS: np.array([given.ids], dtype=np.int64)})


def whole(session: Session, arrays: Arrays) -> Arrays:
    """The row in whole blocks: without the tokens behind the last one, or, where it fills none, repeated until it does.

    A row that the model does not take so, such as a question that would hold its separators twice, stays as it is.
    """
    limits = session.manifest.limits
    if session.manifest.signature is not None or arrays[names.INPUT_IDS].ndim != 2:
        return arrays
    length = arrays[names.INPUT_IDS].shape[1]
    wanted = min(max(length // limits.block, 1) * limits.block, limits.max_length)
    own = (names.INPUT_IDS, names.ATTENTION_MASK, names.TOKEN_TYPE_IDS)
    cut = {name: np.resize(array, (1, wanted)) for name, array in arrays.items() if name in own}
    try:
        return session.checked(cut)
    except InputError:
        return arrays
