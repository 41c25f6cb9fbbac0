"""Put the nodes that read weights alone in front of all others.

    before  ..., DequantizeLinear(weight), MatMul(gradient, that), ...
    after   DequantizeLinear(weight), ..., MatMul(gradient, that), ...

ONNX Runtime orders nodes by a search from the outputs, and runs first what feeds a node from a later place in the file
(`GraphViewer`, its default order). A read of a weight behind the node that makes the other input ran long before its use,
and the explain graph of an int8 model held all of its weights in float32 at a time. In front, each runs right before its
use.
"""

from __future__ import annotations

import onnx_ir as ir


def has_graph(node: ir.Node) -> bool:
    """Whether a node, such as a Loop, has a graph of its own, which may read any value of the outer graph."""
    return any(
        isinstance(attribute, ir.Attr) and attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for attribute in node.attributes.values()
    )


class ReadWeightsLate(ir.passes.InPlacePass):
    """Moves nodes; names, values and results stay."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        known, first = set(map(id, graph.initializers.values())), []
        for node in graph:
            used = [value for value in node.inputs if value is not None]
            if used and all(id(value) in known for value in used) and not has_graph(node):
                known.update(map(id, node.outputs))
                first.append(node)
        before = list(graph)
        if before[: len(first)] == first:
            return ir.passes.PassResult(model, modified=False)
        graph.remove(first)
        graph.insert_before(next(iter(graph)), first)
        return ir.passes.PassResult(model, modified=True)
