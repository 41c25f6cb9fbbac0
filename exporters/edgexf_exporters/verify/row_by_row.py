"""Asks a model for each row alone and without padding, if batch mates or padding change the answers of the model.

In: the inputs of a cell, and how the model is asked. Out: the outputs of the whole cell. At padding, relevance is 0,
and an output holds what the model answers if all tokens of the row count as real. Outputs at padding are not compared,
but they are a measure of the size of the output.

    [batch, sequence], right-padded  ->  a call with [1, real tokens] for each row  ->  [batch, sequence, ...]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf_exporters.source import PerRow, Source

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Ask = Callable[[Feeds], Feeds]

MODEL = "model"
DEFINITION = "definition"  # the definition of an answer, where the model has none


def compared_with(source: Source, real: Array) -> str:
    """What answers a cell: `MODEL`, or `DEFINITION` if the model fails for a row. `real` is bool [..., sequence]."""
    if source.defined:
        return DEFINITION
    failing = source.per_row is not None and any(source.per_row.fails(int(row)) for row in real.sum(axis=-1).flat)
    return DEFINITION if failing else MODEL


def each_row(source: Source, alone: PerRow, feeds: Feeds, ask: Ask) -> Feeds:
    """The answers to every row of a batch, or to every choice of every row, each asked alone."""
    mask = feeds[names.ATTENTION_MASK]

    def ask_one(row: Feeds) -> Feeds:
        failing = alone.fails(row[names.ATTENTION_MASK].shape[-1])
        with alone.instead(source.module) if failing else nullcontext():
            return ask(row)

    rows = [without_padding(source, row_of(feeds, place), ask_one) for place in np.ndindex(mask.shape[:-1])]
    return {
        name: np.concatenate([row[name] for row in rows]).reshape(*mask.shape[:-1], *value.shape[mask.ndim - 1 :])
        for name, value in rows[0].items()
    }


def row_of(feeds: Feeds, place: tuple[int, ...]) -> Feeds:
    """One row, or one choice of a row. The axes before the axis of tokens get the size 1."""
    alike = feeds[names.ATTENTION_MASK].shape
    return {
        name: array[tuple(slice(index, index + 1) for index in (place if array.shape == alike else place[:1]))]
        for name, array in feeds.items()
    }


def without_padding(source: Source, row: Feeds, ask: Ask) -> Feeds:
    mask = row[names.ATTENTION_MASK]
    length, real = mask.shape[-1], int(mask.sum())
    tokens = {
        tensor.name
        for tensor in (*source.tensors, *source.explained_by(path=True)[0])
        if names.SEQUENCE in tensor.shape
    }
    found = ask({name: array[..., :real] if name in tokens else array for name, array in row.items()})
    if real == length:
        return found
    axes = {
        output.name: output.shape.index(names.SEQUENCE) for output in source.outputs if names.SEQUENCE in output.shape
    }
    behind: Mapping[str, Array] = ask({**row, names.ATTENTION_MASK: np.ones_like(mask)}) if axes else {}
    padding: dict[str, tuple[int, Array | None]] = {name: (axis, behind[name]) for name, axis in axes.items()}
    padding |= {name: (mask.ndim - 1, None) for name in found if name.startswith(names.RELEVANCE)}
    return {
        name: padded(array, padding[name][0], length, padding[name][1]) if name in padding else array
        for name, array in found.items()
    }


def padded(array: Array, axis: int, length: int, behind: Array | None) -> Array:
    """`array` padded to `length` along an axis, with the values of `behind`, or with 0 without `behind`."""
    real = array.shape[axis]
    if behind is not None:
        return np.concatenate((array, behind.take(range(real, length), axis=axis)), axis=axis)
    widths = [(0, length - real if place == axis else 0) for place in range(array.ndim)]
    return np.pad(array, widths)
