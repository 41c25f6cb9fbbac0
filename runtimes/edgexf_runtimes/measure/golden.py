"""Checks a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell, the largest relative difference from the eager model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgexf import names
from edgexf.bundle.golden import Array, output_difference, read, relative_difference, residual_difference, thinned
from edgexf.bundle.manifest import Manifest
from edgexf.dtypes import FP32
from edgexf.errors import BundleError
from edgexf_runtimes.session import Session


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
    rounded: tuple[float, ...] = (0.0, 0.0, 0.0)

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)

    def passes(self, tolerance: float) -> bool:
        """Whether each difference keeps `tolerance`, or the larger tolerance that the cell asks for."""
        parts = zip((self.outputs, self.relevance, self.residual), self.rounded, strict=True)
        return all((found or 0.0) <= max(tolerance, asked) for found, asked in parts)


def check(session: Session) -> list[GoldenRow]:
    """Runs every golden cell of the bundle on this device. Raises BundleError if there are none to check."""
    cells = read(session.path / names.GOLDEN_FILE)
    wanted = set(kept(session.whole))
    if not cells or any(set(tensors) - {names.ROUNDED} != wanted for tensors in cells.values()):
        raise BundleError(
            f"{names.GOLDEN_FILE} must hold cells of {sorted(wanted)}, got others or none; export the bundle again."
        )
    return [check_cell(session, cell, tensors) for cell, tensors in cells.items()]


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


def check_cell(session: Session, cell: str, tensors: Mapping[str, Array]) -> GoldenRow:
    """Runs one cell and compares the results.

    In fp32, outputs, relevance and residual are compared. In another dtype, only the outputs are compared, and
    relevance and residual must be finite: quantization is judged by the ranks of relevance, on more inputs than these.
    In every dtype, relevance must be exactly 0 at padding.
    """
    manifest = session.manifest
    predict, *explain = manifest.variants
    inputs: dict[str, Any] = {tensor.name: tensors[tensor.name].astype(tensor.dtype) for tensor in predict.inputs}
    mask = inputs[names.ATTENTION_MASK] if manifest.signature is None else np.ones(1)
    sampled = thinned(predict.inputs[0], mask) > 0
    found, relevance, residual = [session.run(inputs)], [], []
    for place, graph in enumerate(explain):
        targets = {one.name: tensors[one.name].astype(one.dtype) for one in manifest.targets(graph.method)}
        answer = session.run_explain({**inputs, **targets}, method=graph.method)
        scores = tensors[names.relevance_of(graph.method, place == 0)]
        left = tensors[names.residual_of(graph.method, place == 0)]
        found.append(answer)
        if manifest.signature is None and np.any(answer[names.RELEVANCE][mask == 0]):
            relevance.append(math.inf)
        if session.dtype != FP32:
            finite = np.isfinite(answer[names.RELEVANCE]).all() and np.isfinite(answer[names.RESIDUAL]).all()
            relevance += [] if finite else [math.inf]
            continue
        relevance.append(relative_difference(answer[names.RELEVANCE], scores))
        residual.append(residual_difference(answer[names.RESIDUAL], left, scores, graph.row_axis))
        if names.PATH_VALUES in answer:
            along, wanted = answer[names.PATH_VALUES].T, tensors[names.PATH_VALUES].T
            residual.append(residual_difference(along, wanted, scores, graph.row_axis))
    outputs = max(
        output_difference(output, thinned(output, answer[output.name]), tensors[output.name], sampled)
        for answer in found
        for output in predict.outputs
    )
    rounded = tuple(map(float, tensors[names.ROUNDED])) if names.ROUNDED in tensors else (0.0, 0.0, 0.0)
    return GoldenRow(cell, outputs, max(relevance, default=None), max(residual, default=None), rounded)
