"""Graph passes: onnx_ir models in, onnx_ir models or files out.

    edges               pads token inputs to whole blocks, and crops token outputs
    tidy                drops stack traces, source paths and inferred shapes
    canonical_weights   gives a weight the same orientation and name in all graphs of a bundle
    linear              writes linear layers as products, for the passes that quantize weights
    quantize/           stores weights in fewer bits, or converts a graph to half precision
    share               moves the weights of all graphs into one data file
    digest, rewriter    identify a weight; add nodes and constants to a graph

A graph passes through the files in this order: the first three after an export, `linear` and `quantize/` when a bundle
is quantized, `share` in both cases. A pass over one graph is an `onnx_ir.passes` pass:
``pass_(model) -> PassResult(model, modified)``. `PIPELINES` decides the order of these passes. A new pass is a file,
its test, and a line in `PIPELINES`.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.edges import Edges, PadInputsToBlocks
from edgexf.passes.tidy import DropTraces

Pipeline = Callable[[Edges], ir.passes.Sequential]

PIPELINES: dict[str, Pipeline] = {
    # After an export. Edges come first, so that later passes see the final inputs. Traces are dropped last, since any
    # pass may leave some.
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
