"""Graph passes: onnx_ir models in, onnx_ir models out; `PIPELINES` decides their order.

A pass is an `onnx_ir.passes` pass: ``pass_(model) -> PassResult(model, modified)``. A new one is a file,
its test, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.edges import Edges, PadInputsToBlocks
from edgexf.passes.tidy import DropTraces

Pipeline = Callable[[Edges], ir.passes.Sequential]

PIPELINES: dict[str, Pipeline] = {
    # After an export. Edges come first, so that the passes behind them see the final inputs; traces are
    # dropped last, since any pass may leave some.
    "export": lambda edges: ir.passes.Sequential(
        PadInputsToBlocks(edges),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(size_limit=1 << 30),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
        DropTraces(),
    ),
}
