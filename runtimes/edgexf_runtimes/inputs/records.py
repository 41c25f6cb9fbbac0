"""Records of files with many inputs: JSON lines, and CSV with a header.

In: a file, and the names of its fields. Out: for each record a `Raw` with the name ``FILE:LINE``, or the InputError that
this record deserves. Records are read one at a time, so a file may be larger than the memory.

    {"body": "Not bad at all.", "id": 7}        --text-field body
    {"question": "Who?", "text": "Anna did."}   --pair-field text --text-field question: a pair of texts
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from edgexf.errors import InputError, UsageError
from edgexf.records import Record
from edgexf_runtimes.calls.call import go_on
from edgexf_runtimes.inputs.preprocess import MAX_TEXT, Raw

csv.field_size_limit(MAX_TEXT)
Read = Raw | InputError


class Fields(Record):
    """The names of the fields that hold the input.

    Attributes:
        text: the text, or the first text of a pair.
        pair: the second text of a pair; None for single texts.
    """

    text: str = "text"
    pair: str | None = None

    def raw(self, record: Mapping[str, Any], where: str) -> Read:
        """The input in a record. The error of a record that lacks a field, or whose field holds no text."""
        texts = []
        for name in [self.text] if self.pair is None else [self.text, self.pair]:
            value = record.get(name)
            if not isinstance(value, str) or not value:
                got = "no such field" if name not in record else "none" if value in ("", None) else type(value).__name__
                return InputError(f"{name} must hold text, got {got} in {where}; correct it, or name another field.")
            texts.append(value)
        data = "\n".join(texts)
        try:
            read = data.encode("utf-8")
        except UnicodeEncodeError:
            return InputError(f"a field must be valid UTF-8, got {where} with other bytes; convert it.")
        return Raw(where, read, False, texts[0] if len(texts) == 1 else (texts[0], texts[1]))


def json_lines(path: Path, fields: Fields) -> Iterator[Read]:
    """The inputs of a file of JSON lines. Blank lines are none. Raises InputError for a file that can't be read."""
    with opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_TEXT), ""), 1):
            go_on()
            if line.strip():
                yield one_line(line, f"{path}:{number}", fields)


def one_line(line: str, where: str, fields: Fields) -> Read:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return InputError(f"a line must be a JSON object, got {where} ({error}); correct it.")
    if not isinstance(record, dict):
        return InputError(f"a line must be a JSON object, got {type(record).__name__} in {where}; correct it.")
    return fields.raw(record, where)


def csv_rows(path: Path, fields: Fields) -> Iterator[Read]:
    """The inputs of a CSV file with a header. Raises UsageError for a field that the header lacks, and InputError for a
    file that can't be read.
    """
    with opened(path) as file:
        rows = csv.DictReader(file, strict=True)
        try:
            header = list(rows.fieldnames or [])
            missing = [name for name in (fields.text, fields.pair) if name is not None and name not in header]
            if missing:
                raise UsageError(
                    f"a field must be a column of the header ({', '.join(header) or 'none'}), got {missing[0]} for {path}; name another."
                )
            for row in rows:
                go_on()
                yield fields.raw(row, f"{path}:{rows.line_num}")
        except csv.Error as error:
            raise InputError(f"a file must be CSV, got {path}:{rows.line_num} ({error}); correct it.") from error


def opened(path: Path) -> TextIO:
    """A file of records, which may begin with a byte order mark. Bytes that are no UTF-8 become surrogates, so that only the
    record that holds them is refused. InputError for a file that can't be read.
    """
    if not path.is_file():
        raise InputError(f"a file of records must be a file, got {path}, which is none; check the path.")
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise InputError(f"a file of records must be readable, got {path} ({error.strerror}); check it.") from error


def is_folder(path: Path) -> bool:
    """Whether a path is that of a folder. A path that no folder can have is none; reading it says what is wrong with it."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def files_in(path: Path) -> list[Path]:
    """The files in a folder and below it, sorted. Hidden files, and what links point to, are left out.

    InputError for a folder without files.
    """
    found = sorted(
        file for file in path.rglob("*")
        if file.is_file() and not file.is_symlink() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )  # fmt: skip
    if not found:
        raise InputError(f"a folder must hold files, got none in {path}; name another.")
    return found
