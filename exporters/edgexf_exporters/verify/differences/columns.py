"""Columns of an output at their own scale, over all cells of a grid.

In: in each cell, what a graph answers beside what the model answers. Out: which column differs by more than the
tolerance of its own scale.

    answers [.., 0] about 1, [.., 1] about 1e-6      a difference of 1e-7 is 0.1 of column 1

In one cell a column may be near 0 by chance, so it has no scale there. Its scale is its largest value over all cells; a
column of zeros has none. Outputs whose last axis is free have no columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.golden import BARRED, defined
from edgexf.bundle.manifest import Tensor

Array = npt.NDArray[Any]
MOST = 4_000_000  # values of an output that are looked at in a cell: logits over a vocabulary take gigabytes


@dataclass
class Columns:
    """The scale of each column of an output so far, and its largest difference.

    `worst` holds the name of the cell in which a column differs most.
    """

    scale: Array
    difference: Array
    worst: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wrong:
    """A column that differs by more than the tolerance of its scale; most of all in `cell`."""

    output: str
    column: int
    cell: str
    scale: float

    def measure(self, found: Array, right: Array) -> float:
        """The largest difference of this column, relative to its scale over all cells."""
        return float(np.abs(found[..., self.column].astype(np.float64) - right[..., self.column]).max()) / self.scale


class OwnScales:
    """Collects the columns of the outputs of a graph."""

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        self.outputs = [
            output
            for output in outputs
            if output.dtype == "float32" and output.shape and isinstance(output.shape[-1], int)
        ]
        self.found: dict[str, Columns] = {}

    def add(self, cell: str, answer: Mapping[str, Array], wanted: Mapping[str, Array], real: Array) -> None:
        """Adds the answers of a cell. `real` is bool [batch, sequence]; values at padding don't count."""
        for output in self.outputs:
            one, right = defined(answer[output.name], wanted[output.name])
            if one.shape != right.shape or not right.size:
                continue  # the table of the grid says so
            if output.has_tokens and not real.all():
                one, right = one[real], right[real]
            step = right.size // MOST + 1
            one, right = (array.reshape(-1, array.shape[-1])[::step] for array in (one, right))
            counted = right > BARRED
            scale = np.abs(np.where(counted, right, 0)).max(axis=0)
            difference = np.abs(np.where(counted, one - right, 0)).max(axis=0)
            known = self.found.setdefault(
                output.name, Columns(np.zeros_like(scale), np.full_like(difference, -1), [""] * len(scale))
            )
            if known.scale.shape != scale.shape:
                continue  # the check of declared sizes says so
            for column in np.flatnonzero(difference > known.difference):
                known.worst[column] = cell
            known.scale = np.maximum(known.scale, scale)
            known.difference = np.maximum(known.difference, difference)

    def wrong(self, tolerance: float) -> list[Wrong]:
        """The columns whose difference exceeds the tolerance of their own scale."""
        return [
            Wrong(name, int(column), columns.worst[column], float(columns.scale[column]))
            for name, columns in self.found.items()
            for column in np.flatnonzero((columns.scale > 0) & ~(columns.difference <= tolerance * columns.scale))
        ]
