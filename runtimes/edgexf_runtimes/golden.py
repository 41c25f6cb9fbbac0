"""Check a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell the largest relative difference from the eager model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgexf import names
from edgexf.errors import BundleError
from edgexf.golden import Array, output_difference, read, relative_difference, residual_difference, thinned
from edgexf_runtimes.session import Session


@dataclass(frozen=True)
class GoldenRow:
    """What was seen in one cell: relative differences, None without an explain graph."""

    cell: str
    outputs: float
    relevance: float | None
    residual: float | None = None

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)


def check(session: Session) -> list[GoldenRow]:
    """Every cell of the bundle's golden outputs, run on this device. BundleError where there are none to check."""
    cells = read(session.path / names.GOLDEN_FILE)
    graphs = session.manifest.variants
    wanted = {tensor.name for graph in graphs for tensor in (*graph.inputs, *graph.outputs)}
    if not cells or any(set(tensors) - {names.TARGET} != wanted - {names.TARGET} for tensors in cells.values()):
        raise BundleError(
            f"{names.GOLDEN_FILE} must hold cells of {sorted(wanted)}, got others or none; export the bundle again."
        )
    return [check_cell(session, cell, tensors) for cell, tensors in cells.items()]


def check_cell(session: Session, cell: str, tensors: Mapping[str, Array]) -> GoldenRow:
    predict, *explain = session.manifest.variants
    inputs: dict[str, Any] = {tensor.name: tensors[tensor.name].astype(tensor.dtype) for tensor in predict.inputs}
    mask = inputs[names.ATTENTION_MASK] if session.manifest.signature is None else np.ones(1)
    sampled = thinned(predict.inputs[0], mask) > 0
    found = [session.run(**inputs)]
    if explain:
        found.append(session.run_explain(**inputs, target=tensors[names.TARGET]))
    outputs = max(
        output_difference(output, thinned(output, answer[output.name]), tensors[output.name], sampled)
        for answer in found
        for output in predict.outputs
    )
    if not explain:
        return GoldenRow(cell, outputs, None)
    relevance = relative_difference(found[1][names.RELEVANCE], tensors[names.RELEVANCE])
    residual = residual_difference(found[1][names.RESIDUAL], tensors[names.RESIDUAL], tensors[names.RELEVANCE])
    return GoldenRow(cell, outputs, relevance, residual)
