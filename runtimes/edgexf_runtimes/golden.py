"""Compares what a graph answers on this device with the golden outputs of its bundle.

In: a manifest, a cell of ``golden.npz``, and the answer of a graph to the inputs of the cell. Out: a `GoldenRow`, the
largest relative differences from the eager model. How the graph runs is the caller's choice: `opening` runs a graph
before anyone else uses it, and `measure.golden` runs an open session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgexf import names
from edgexf.bundle.golden import Array, output_difference, read, relative_difference, residual_difference, thinned
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.dtypes import FP32
from edgexf.errors import BundleError

EXACT = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class GoldenRow:
    """The relative differences of one golden cell.

    Attributes:
        cell: the name of the cell.
        outputs: the largest difference of an output.
        relevance: the largest difference of a relevance; None without an explain graph, and in another dtype than fp32,
            where it is infinite if a value is not finite or not 0 at padding.
        residual: the largest difference of a residual or of the values along a path; None without an explain graph, and
            in another dtype than fp32.
        rounded: the tolerance that outputs, relevance and residual ask for in fp32, where it is larger than the usual one;
            otherwise 0.
    """

    cell: str
    outputs: float
    relevance: float | None
    residual: float | None = None
    rounded: tuple[float, ...] = EXACT

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)

    def passes(self, tolerance: float) -> bool:
        """Whether each difference keeps `tolerance`, or the larger tolerance that the cell asks for."""
        return not self.over(tolerance)

    def over(self, tolerance: float) -> dict[str, float]:
        """The differences that are over `tolerance` and over the larger tolerance that the cell asks for, by name."""
        parts = zip(("outputs", "relevance", "residual"), (self.outputs, self.relevance, self.residual), strict=True)
        asked = dict(zip(("outputs", "relevance", "residual"), self.rounded, strict=True))
        return {name: found for name, found in parts if found is not None and not found <= max(tolerance, asked[name])}


def cells_of(folder: Path, whole: Manifest) -> dict[str, dict[str, Array]]:
    """The golden cells of a bundle. Raises BundleError if there are none, or not with the arrays of its graphs."""
    cells = read(folder / names.GOLDEN_FILE)
    wanted = set(kept(whole))
    if not cells or any(set(tensors) - {names.ROUNDED} != wanted for tensors in cells.values()):
        raise BundleError(
            f"{names.GOLDEN_FILE} must hold cells of {sorted(wanted)}, got others or none; export the bundle again."
        )
    return cells


def kept(manifest: Manifest) -> list[str]:
    """The names of the arrays in a cell: inputs and outputs, the targets of the explain graphs, the relevance and
    residual of each method, and the values along a path.
    """
    predict, *explain = (graph for graph in manifest.variants if graph.dtype == FP32)
    targets = [tensor.name for graph in explain for tensor in manifest.targets(graph.method)]
    values = [output.name for graph in explain for output in graph.outputs if output.name == names.PATH_VALUES]
    scores = [
        name(graph.method, place == 0)
        for place, graph in enumerate(explain)
        for name in (names.relevance_of, names.residual_of)
    ]
    return [tensor.name for tensor in (*predict.inputs, *predict.outputs)] + targets + scores + values


def inputs_of(graph: Graph, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs that a cell holds for a graph."""
    return {tensor.name: tensors[tensor.name].astype(tensor.dtype) for tensor in graph.inputs}


def compared(
    manifest: Manifest, graph: Graph, cell: str, tensors: Mapping[str, Array], answer: Mapping[str, Array]
) -> GoldenRow:
    """The differences of one graph's answer to a cell. `manifest` holds the graphs of the dtype only.

    In fp32, outputs, relevance and residual are compared. In another dtype, only the outputs are compared, and
    relevance and residual must be finite: quantization is judged by the ranks of relevance, on more inputs than these.
    In every dtype, relevance must be exactly 0 at padding.
    """
    predict = manifest.variants[0]
    mask = tensors[names.ATTENTION_MASK] if manifest.signature is None else np.ones(1)
    sampled = thinned(predict.inputs[0], mask) > 0
    outputs = max(
        output_difference(output, thinned(output, answer[output.name]), tensors[output.name], sampled)
        for output in predict.outputs
    )
    rounded = tuple(map(float, tensors[names.ROUNDED])) if names.ROUNDED in tensors else EXACT
    if graph is predict:
        return GoldenRow(cell, outputs, None, None, rounded)
    relevance, residual = [], []
    if manifest.signature is None and np.any(answer[names.RELEVANCE][mask == 0]):
        relevance.append(math.inf)
    if graph.dtype != FP32:
        finite = np.isfinite(answer[names.RELEVANCE]).all() and np.isfinite(answer[names.RESIDUAL]).all()
        relevance += [] if finite else [math.inf]
    else:
        first = graph.method == manifest.methods[0]
        scores, left = (tensors[name(graph.method, first)] for name in (names.relevance_of, names.residual_of))
        relevance.append(relative_difference(answer[names.RELEVANCE], scores))
        residual.append(residual_difference(answer[names.RESIDUAL], left, scores, graph.row_axis))
        if names.PATH_VALUES in answer:
            along, wanted = answer[names.PATH_VALUES].T, tensors[names.PATH_VALUES].T
            residual.append(residual_difference(along, wanted, scores, graph.row_axis))
    return GoldenRow(cell, outputs, max(relevance, default=None), max(residual, default=None), rounded)


def joined(rows: Sequence[GoldenRow]) -> GoldenRow:
    """The rows of a cell by several graphs as one."""
    relevance = [row.relevance for row in rows if row.relevance is not None]
    residual = [row.residual for row in rows if row.residual is not None]
    outputs = max(row.outputs for row in rows)
    return GoldenRow(rows[0].cell, outputs, max(relevance, default=None), max(residual, default=None), rows[0].rounded)
