"""Calibration data: inputs of the kind that the model takes, read one at a time.

In: a session and a file. Out: an iterator of arrays for one row each, as `Session.run` takes them. `whole` changes a
row to whole blocks, so that padding has no effect on the ranges that are calibrated on the row.

    JSON lines   {"text": ...}, {"input": FILE}, {"input_ids": [...]} or {"arrays": {...}} on each line, see `labelled`
    text         a text on each line, for a model that reads text
    file list    a file on each line, relative to the list: for a model of bytes, or if the first line names a file

A file for a model that reads neither text nor bytes is an ``.npz`` of arrays by the names of the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgexf import names
from edgexf.bundle.preprocess import Image, Text
from edgexf.errors import InputError, UsageError
from edgexf_runtimes.inputs.arrays import RULE, Arrays, read_arrays
from edgexf_runtimes.inputs.files import check_regular
from edgexf_runtimes.inputs.labelled import Labelled, one_line
from edgexf_runtimes.session import Session


def stream(session: Session, path: Path) -> Iterator[Arrays]:
    """Yields the rows of a file, at least one. Raises InputError, which names the line, for an input that the model
    can't read.
    """
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
    """Yields for each line its name in error messages, and its input."""
    kind = None
    check_regular(path, "calibration data are read several times, so they must be a file")
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
    """The kind of a file by its first line: ``json``, ``text`` or ``files``."""
    if first.startswith("{"):
        return "json"
    try:
        is_file = (path.parent / first).is_file()
    except OSError:  # the line is too long for a name
        is_file = False
    return "text" if isinstance(session.manifest.preprocess, Text) and not is_file else "files"


def arrays_of(session: Session, given: Labelled) -> Arrays:
    """One input as the graph takes it. A text that is too long is cut. Raises InputError for arrays that the model does
    not take.
    """
    if given.arrays is None and not holds_arrays(session, given.source):
        return session.checked(session.encode([given.source], truncate=True))
    found = given.arrays
    if found is None:
        check_regular(Path(str(given.source)), RULE)
        found = read_arrays(Path(str(given.source)))
    try:
        return session.checked(found)
    except UsageError as error:  # wrong names are an error of the data, not of the call
        raise InputError(str(error)) from error


def holds_arrays(session: Session, source: object) -> bool:
    """Whether a source is a file of arrays: each file for a model that reads nothing else, an ``.npz`` for one of images."""
    reader = session.manifest.preprocess
    of_images = isinstance(reader, Image) and str(source).endswith(".npz")
    return isinstance(source, Path) and (reader is None or of_images)


def whole(session: Session, arrays: Arrays) -> Arrays:
    """The row in whole blocks: the tokens after the last whole block are cut. A row that fills no block is repeated
    until it does.

    The row stays as it is if the model does not take the changed row: a question, for example, would hold its
    separators twice. Several rows, and the inputs of a custom module, also stay as they are. If the row is repeated,
    the model's own rule chooses the global tokens again.
    """
    limits = session.manifest.limits
    if session.manifest.signature is not None or arrays[names.INPUT_IDS].ndim != 2 or len(arrays[names.INPUT_IDS]) > 1:
        return arrays
    length = arrays[names.INPUT_IDS].shape[1]
    wanted = min(max(length // limits.block, 1) * limits.block, limits.max_length)
    own = [names.INPUT_IDS, names.ATTENTION_MASK, names.TOKEN_TYPE_IDS]
    own += [names.GLOBAL_ATTENTION_MASK] if wanted <= length else []
    cut = {name: np.resize(array, (1, wanted)) for name, array in arrays.items() if name in own}
    try:
        return session.checked(cut)
    except InputError:
        return arrays
