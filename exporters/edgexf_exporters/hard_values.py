"""Values at which graphs differ from their models, for the inputs that a verification draws.

In: arrays that were drawn, and the seed of the draw. Out: the same arrays, every fourth with repeated values, every
fourth with ids whose rows of the embedding stand out or with small floats, and every fourth with large floats.

    repeated   the first row holds one value; in each other row half of the values are the first one
    apart      ids of rows that are much longer or shorter than the others, or far away in one column; floats near 0
    large      floats `LARGE` times as far from 0, where the model answers them with numbers

Equal tokens make equal scores, which sorts and choices break as they like. A row that stands out decides what an
average hides. A bound that a graph has and its model lacks shows at large values alone: they take sigmoids to their ends,
and products of them stay in float32. Values at which the model would answer no number are not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
KINDS = ("large", "", "repeated", "apart")
USUAL = KINDS.index("")  # a seed of usual values
MOST_APART = 16  # the ids of a table that stand out most, by their lengths, and again by a single column
FAR = 6.0  # how far from the median a length stands out, in median deviations
COLUMN_FAR = 12.0  # the same for a value of a column: of a normal distribution, one in 10^15 is farther
MANY_ROWS = 4096  # rows of a table that are looked at together, and from which the usual values of a column are taken
SMALL = 0.03  # smaller ones beside a bias make ties of a max-pooling, which rounding breaks
LARGE = 30.0


def kind_of(seed: int) -> str:
    """Which values an input gets that is drawn with this seed."""
    return KINDS[seed % len(KINDS)]


def repeated(values: Array, chance: np.random.Generator) -> Array:
    """The values [rows, ...] with repeated ones; a single row keeps the half of its values."""
    found = values.copy()
    rows = found.reshape(len(found), -1) if found.size else found
    for place, row in enumerate(rows):
        row[np.full(row.shape, True) if place == 0 and len(rows) > 1 else chance.random(row.shape) < 0.5] = row[0]
    return found


def with_ids(ids: Array, apart: Array, chance: np.random.Generator) -> Array:
    """The ids with some of those that stand out, as many as there are places, at places of their own."""
    found = ids.copy()
    count = min(len(apart), found.size)
    found.reshape(-1)[chance.permutation(found.size)[:count]] = chance.permutation(apart)[:count]
    return found


def small(values: Array) -> Array:
    """Values near 0, where 0 lies between the values."""
    return (values * SMALL).astype(values.dtype) if values.min() <= 0 <= values.max() else values


def large(values: Array) -> Array:
    """Values far from 0, where they lie on both sides of it: shares and pixels have an end."""
    return (values * LARGE).astype(values.dtype) if values.min() < 0 < values.max() else values


def ids_apart(table: Tensor, below: int) -> Array:
    """The ids below a number whose rows of a table [ids, width] are much longer or shorter than usual, and those whose
    value in one column is far from the others of the column.
    """
    with torch.no_grad():
        parts = table[:below].split(MANY_ROWS)
        lengths = torch.cat([part.double().norm(dim=1, keepdim=True) for part in parts])
        rows = table[: below : below // MANY_ROWS + 1].double()
        by_length = deviations([lengths], *usual(lengths))
        by_column = deviations(parts, *usual(rows))
    return np.unique(np.concatenate([farthest(by_length, FAR), farthest(by_column, COLUMN_FAR)]))


def usual(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The median and the median deviation of each column of [rows, columns]."""
    middle = rows.median(dim=0).values
    deviation = (rows - middle).abs().median(dim=0).values
    return middle, deviation.maximum(1e-6 * middle.abs()).clamp_min(torch.finfo(rows.dtype).tiny)


def deviations(parts: Sequence[Tensor], middle: Tensor, deviation: Tensor) -> Array:
    """How far each row is from the middle, in deviations, in its farthest column. The parts are [rows, columns]."""
    return np.concatenate([((part.double() - middle).abs() / deviation).amax(dim=1).numpy() for part in parts])


def farthest(distance: Array, most: float) -> Array:
    """The places of the largest distances beyond `most`."""
    far = np.flatnonzero(distance > most)
    return far[np.argsort(-distance[far], kind="stable")][:MOST_APART]
