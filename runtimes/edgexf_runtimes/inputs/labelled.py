"""Labelled data: JSON lines, each with an input and its label.

In: a file with a JSON object on each line. Out: `Labelled` inputs in the order of the file.

    {"input": "evaluation/c-00.bin", "label": "c"}      a file, relative to the folder of the listing
    {"text": "Not bad at all.", "label": "positive"}    the text itself, or [text, text] for a pair
    {"input_ids": [101, 7592, 102]}                     token ids, for a model without a tokenizer
    {"arrays": {"pixels": [[[0.1, ...]]]}, "label": 3}  arrays by the names of the inputs, as `Session.run` takes them

A label is a name, or the number of a column or choice. A line may have no label. Other keys are notes of the author and
are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.errors import InputError
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, read_listing
from edgexf_runtimes.inputs.preprocess import Source

Array = npt.NDArray[Any]
Input = Source | tuple[str, str]
KINDS = ("input", "text", "input_ids", "arrays")


@dataclass(frozen=True)
class Labelled:
    """An input and its label.

    Attributes:
        source: the input, as `Session.predict` takes it. Not used if there are `arrays`.
        label: the label, or None if it is not known.
        arrays: the input as arrays by name.
        line: of the listing, counted from 1; 0 for an input of no listing.
    """

    source: Input
    label: str | int | None = None
    arrays: Mapping[str, Array] | None = None
    line: int = field(default=0, compare=False)


def read_labelled(path: Path, labels: Sequence[str], timeout: float = INPUT_TIMEOUT) -> list[Labelled]:
    """Reads the inputs of a listing, at least one, and turns each label into its name among `labels`.

    If `labels` is empty, each label stays as it is. Otherwise a label that is not among `labels` raises InputError,
    which names the line.
    """
    lines = read_listing(path, timeout).split("\n")
    places = [number for number, line in enumerate(lines, 1) if line.strip()]
    found = [
        replace(one_line(lines[number - 1], place_of(number, path), path.parent), line=number) for number in places
    ]
    if not found:
        raise InputError(f"labelled data must hold an input, got none in {path}; give a line for each.")
    if not labels:
        return found
    return [replace(given, label=named(given.label, labels, place_of(given.line, path))) for given in found]


def place_of(line: int, path: Path) -> str:
    return f"line {line} of {path.name}"


def named(label: str | int | None, labels: Sequence[str], where: str) -> str | None:
    """The name of a label. Raises InputError for a label that is not among `labels`, and for an ambiguous number."""
    if label is None or label in labels:
        return label  # type: ignore[return-value]
    if isinstance(label, int) and str(label) in labels and labels.index(str(label)) != label:
        raise InputError(
            f'a label that is a whole number is a column, counted from 0, got {label} in {where}, the name of another; write "{label}".'
        )
    if isinstance(label, int) and 0 <= label < len(labels):
        return labels[label]
    raise InputError(f"a label must be one of the model's ({', '.join(labels)}), got {label!r} in {where}; correct it.")


def one_line(line: str, where: str, folder: Path) -> Labelled:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"each line of labelled data must be JSON, got {where} ({error}); correct it.") from error
    keys = [key for key in KINDS if isinstance(values, dict) and key in values]
    if len(keys) != 1:
        raise InputError(
            f"a line must be an object with one of {', '.join(f'`{kind}`' for kind in KINDS)}, got {where}; correct it."
        )
    (kind,), label = keys, values.get("label")
    source = values[kind]
    if not (label is None or isinstance(label, str) or type(label) is int):
        raise InputError(f"a label must be text or a whole number, got {label!r} in {where}; correct it.")
    if kind == "arrays":
        if not isinstance(source, dict) or not source:
            raise InputError(
                f"arrays must be an object of nested lists by the model's names, got {where} without; correct it."
            )
        return Labelled("", label, {name: array_of(name, values, where) for name, values in source.items()})
    if kind == "input_ids":
        if (
            not isinstance(source, list)
            or not source
            or not all(type(one) is int and abs(one) < 1 << 62 for one in source)
        ):
            raise InputError(f"input_ids must be whole numbers, at least one, got others in {where}; correct it.")
        return Labelled("", label, {"input_ids": np.array([source], dtype=np.int64)})
    if isinstance(source, str):
        return Labelled(folder / source if kind == "input" else source, label)
    if kind == "text" and isinstance(source, list) and len(source) == 2 and all(isinstance(s, str) for s in source):
        return Labelled((source[0], source[1]), label)
    raise InputError(f"{kind} must be text (`text` also a pair of texts), got {source!r} in {where}; correct it.")


def array_of(name: str, values: Any, where: str) -> Array:
    """Turns nested lists into an array. Raises InputError for lists that are not an array of finite numbers."""
    try:
        found = np.array(values)
    except ValueError as error:  # rows of different lengths
        raise InputError(
            f"{name} must be nested lists of equal lengths, got others in {where}; make them alike."
        ) from error
    if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        raise InputError(f"{name} must be finite numbers, got others in {where}; correct them.")
    return found
