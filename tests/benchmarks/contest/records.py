"""Rows in a file of JSON lines. In and out: rows as dictionaries, see `rows.Row`. Rows of several machines share a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.contest.models import MODELS

Record = dict[str, Any]


def read(path: Path | None) -> list[Record]:
    """The rows of a file; none where there is no file."""
    if path is None or not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def added(records: list[Record], record: Record) -> list[Record]:
    """The rows with a new one in the place of that with the same key, else at the end. A row that counts stays where the new
    one does not.
    """
    same = [other for other in records if other["key"] == record["key"]]
    if not same:
        return [*records, record]
    better = record["invalid"] and not same[0]["invalid"]
    return records if better else [record if other in same else other for other in records]


def write(path: Path, records: list[Record]) -> None:
    """Replaces the file at once, so that a run that is stopped meanwhile loses no row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    partial.replace(path)


def machines(records: list[Record]) -> list[str]:
    """The machines of the rows, in the order of their first rows."""
    return list(dict.fromkeys(record["key"]["machine"] for record in records))


def of_machine(records: list[Record], machine: str) -> list[Record]:
    """The rows of a machine in the order of models, layers, batches, lengths and threads, however they were measured."""
    order = {name: place for place, name in enumerate(MODELS)}

    def place(record: Record) -> tuple[int, ...]:
        key = record["key"]
        return (order[key["model"]], *(key[part] for part in ("layers", "batch", "length", "threads")))

    return sorted((record for record in records if record["key"]["machine"] == machine), key=place)
