"""Drop nodes that copy a value, and keep the outputs of a graph apart.

    before  y -> Identity -> logits;  y -> Identity -> output_1
    after   y is output_1;  output_1 -> Identity -> logits

A graph may give the same values by two names. Without the second step both outputs would have one name.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


class DropIdentities(ir.passes.InPlacePass):
    """Removes Identity nodes, but those that give an output its name."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        wanted = [value.name for value in graph.outputs]
        modified = common.IdentityEliminationPass()(model).modified
        for place, (value, name) in enumerate(zip(list(graph.outputs), wanted, strict=True)):
            if value.name != name:
                copy = ir.node("Identity", [value])
                output = copy.outputs[0]
                output.name, output.type, output.shape = name, value.type, value.shape
                graph.append(copy)
                graph.outputs[place] = output
        return ir.passes.PassResult(model, modified=bool(modified))
