"""Checks a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell, the largest relative difference from the eager model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgexf.bundle.golden import Array
from edgexf_runtimes.golden import GoldenRow, cells_of, compared, inputs_of, joined
from edgexf_runtimes.session import Session

__all__ = ["GoldenRow", "check", "check_cell"]


def check(session: Session) -> list[GoldenRow]:
    """Runs every golden cell of the bundle on this device. Raises BundleError if there are none to check."""
    return [check_cell(session, cell, tensors) for cell, tensors in cells_of(session.path, session.whole).items()]


def check_cell(session: Session, cell: str, tensors: Mapping[str, Array]) -> GoldenRow:
    """Runs one cell by each graph of the session, and compares the results; see `edgexf_runtimes.golden.compared`."""
    manifest = session.manifest
    predict, *explain = manifest.variants
    inputs: dict[str, Any] = inputs_of(predict, tensors)
    rows = [compared(manifest, predict, cell, tensors, session.run(inputs))]
    for graph in explain:
        answer = session.run_explain(inputs_of(graph, tensors), method=graph.method)
        rows.append(compared(manifest, graph, cell, tensors, answer))
    return joined(rows)
