"""Labelled data: JSON lines of `input` and `label`.

In: a file with a JSON object on each line. Out: `Labelled` inputs in its order.

    {"input": "evaluation/c-00.bin", "label": "c"}      a file, relative to the folder of the listing
    {"text": "Not bad at all.", "label": "positive"}    or the text itself, or [text, text] for a pair
    {"input_ids": [101, 7592, 102]}                     or token ids, for a model without a tokenizer

`label` may be left out. Other keys are notes of whoever made the list, and are not read.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexf.errors import InputError
from edgexf_runtimes.preprocess import Source

Input = Source | tuple[str, str]


@dataclass(frozen=True)
class Labelled:
    """An input, as `Session.predict` takes it, and its label where one is known. With `ids` the input is those token ids."""

    source: Input
    label: str | None = None
    ids: tuple[int, ...] | None = None


def read_labelled(path: Path, labels: Collection[str] | None) -> list[Labelled]:
    """The inputs of a listing, at least one. InputError, naming the line, for a label that is not among `labels`, or for any
    where a model takes none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"labelled data must be a readable file of JSON lines, got {path} ({error}); check it."
        ) from error
    numbered = [(f"line {number} of {path.name}", line) for number, line in enumerate(lines, 1) if line.strip()]
    found = [one_line(line, where, path.parent) for where, line in numbered]
    for (where, _), given in zip(numbered, found, strict=True):
        if given.label is not None and labels is None:
            raise InputError(
                f"labels are for models that choose among some, got {given.label!r} in {where}; leave it out."
            )
        if given.label is not None and given.label not in (labels or ()):
            raise InputError(
                f"a label must be one of the model's ({', '.join(labels or ())}), got {given.label!r} in {where}; correct it."
            )
    if not found:
        raise InputError(f"labelled data must hold an input, got none in {path}; give a line for each.")
    return found


def one_line(line: str, where: str, folder: Path) -> Labelled:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"each line of labelled data must be JSON, got {where} ({error}); correct it.") from error
    named = [key for key in ("input", "text", "input_ids") if isinstance(values, dict) and key in values]
    if len(named) != 1:
        raise InputError(
            f"a line must be an object with one of `input`, `text` and `input_ids`, got {where}; correct it."
        )
    source, label = values[named[0]], values.get("label")
    if not (label is None or isinstance(label, str)):
        raise InputError(f"a label must be text, got {label!r} in {where}; correct it.")
    if named == ["input_ids"]:
        if (
            not isinstance(source, list)
            or not source
            or not all(type(one) is int and abs(one) < 1 << 62 for one in source)
        ):
            raise InputError(f"input_ids must be whole numbers, at least one, got others in {where}; correct it.")
        return Labelled("", label, tuple(source))
    if isinstance(source, str):
        return Labelled(folder / source if named == ["input"] else source, label)
    if named == ["text"] and isinstance(source, list) and len(source) == 2 and all(isinstance(s, str) for s in source):
        return Labelled((source[0], source[1]), label)
    raise InputError(f"{named[0]} must be text (`text` also a pair of texts), got {source!r} in {where}; correct it.")
