"""Values at which graphs differ from their models, for the inputs that a verification draws.

In: arrays that were drawn, and the seed of the draw. Out: the same arrays, every fourth with repeated values, and every
fourth with ids whose rows of the embedding stand out or with small floats.

    repeated   the first row holds one value; in each other row half of the values are the first one
    apart      ids of rows that are much longer or shorter than the others; floats near 0

Equal tokens make equal scores, which sorts and choices break as they like. A row that stands out decides what an
average hides. Values at which the model would answer no number are not drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
KINDS = ("", "", "repeated", "apart")
MOST_APART = 16  # the ids of a table that stand out most
FAR = 6.0  # how far from the median a length stands out, in median deviations
SMALL = 0.03  # smaller ones beside a bias make ties of a max-pooling, which rounding breaks


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


def ids_apart(table: Tensor, below: int) -> Array:
    """The ids below a number whose rows of a table [ids, width] are much longer or shorter than usual."""
    with torch.no_grad():
        lengths = table[:below].double().norm(dim=1).numpy()
    middle = np.median(lengths)
    distance = np.abs(lengths - middle)
    far = np.flatnonzero(distance > FAR * max(float(np.median(distance)), 1e-6 * float(middle)))
    return far[np.argsort(-distance[far], kind="stable")][:MOST_APART]
