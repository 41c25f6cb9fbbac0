"""Checks a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell, the largest relative difference from the eager model.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgexf import names
from edgexf.bundle.golden import Array
from edgexf_runtimes.golden import GoldenRow, cells_of, compared, inputs_of, joined
from edgexf_runtimes.inputs.checks import checks_of
from edgexf_runtimes.inputs.contract import Contract
from edgexf_runtimes.inputs.targets import check_targets
from edgexf_runtimes.session import Session

__all__ = ["GoldenRow", "check", "check_cell"]


def check(session: Session) -> list[GoldenRow]:
    """Runs every golden cell of the bundle on this device. Raises BundleError if there are none to check."""
    return [check_cell(session, cell, tensors) for cell, tensors in cells_of(session.path, session.whole).items()]


def check_cell(session: Session, cell: str, tensors: Mapping[str, Array]) -> GoldenRow:
    """Runs one cell by each graph of the session, and compares the results; see `edgexf_runtimes.golden.compared`.

    The arrays must keep to the bundle's contract. The limits of the session's calls are not for them.
    """
    manifest = session.manifest
    predict, *explain = manifest.variants
    arrays = checks_of(manifest, contract=Contract(session.path, manifest))(inputs_of(predict, tensors))
    rows = [compared(manifest, predict, cell, tensors, session.run_graph(names.PREDICT, arrays))]
    for graph in explain:
        given = {tensor.name: tensors[tensor.name] for tensor in manifest.targets(graph.method)}
        feeds = {**arrays, **check_targets(given, arrays, manifest, graph.method)}
        rows.append(compared(manifest, graph, cell, tensors, session.run_graph(graph.method, feeds)))
    return joined(rows)
