"""Graph passes: onnx_ir models in, onnx_ir models out.

    edges               pads inputs to whole blocks, and crops outputs: the graph then takes any length
    identities          drops copies of values, and keeps outputs apart
    linear              linear layers as products
    canonical_weights   weights with the names and the orientation of the model's own parameters
    late_reads          reads of weights in float32 right before their use
    share               one file of weights for all graphs of a bundle
    modules             which module each node comes from
    operations          how many additions and multiplications the products of a graph need
    tidy                drops what the exporter leaves behind
    ir_version          the lowest IR version that a graph needs
    quantize/           weights in fewer bits

A pass is an `onnx_ir.passes` pass: ``pass_(model) -> PassResult(model, modified)``. A new pass is a file, its test, and
where every export runs it a line in `after_export`, which decides the order.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.edges import Edges, PadInputsToBlocks
from edgexf.passes.identities import DropIdentities
from edgexf.passes.modules import KeepModules
from edgexf.passes.tidy import DropTraces


def after_export(edges: Edges) -> ir.passes.Sequential:
    """The passes over each graph of an export, in order.

    Edges come first, so that the passes behind them see the final inputs. Traces are dropped last, since any pass may
    leave some.
    """
    return ir.passes.Sequential(
        PadInputsToBlocks(edges),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(size_limit=1 << 30),
        DropIdentities(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
        KeepModules(),
        DropTraces(),
    )
