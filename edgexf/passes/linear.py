"""Write every linear layer as one MatMul with its weight, in every graph.

    before  Gemm(x, W, b);  Gemm(x, V, b, transB=1);  MatMul(x, Transpose(V))
    after   MatMul(x, W) + b;  MatMul(x, Transpose(V)) + b;  MatMul(x, Transpose(V))

W is [inputs, outputs], V is [outputs, inputs]. The passes that quantize weights then see all layers in this form.
`Transpose(Transpose(W))` becomes W again. A Gemm that scales, or that transposes its first operand, stays as it is.
"""

from __future__ import annotations

import onnx_ir as ir

from edgexf.passes.modules import place_of, put

SWAP = (1, 0)


def swapped(node: ir.Node | None) -> bool:
    """Whether a node transposes a matrix."""
    if node is None or node.op_type != "Transpose":
        return False
    order = node.attributes.get("perm")
    return order is not None and tuple(order.as_ints()) == SWAP


def twice_swapped(node: ir.Node) -> ir.Value | None:
    """The value that a node transposes for the second time, before the first time; None for any other node."""
    before = node.inputs[0].producer() if swapped(node) and node.inputs[0] is not None else None
    return before.inputs[0] if before is not None and swapped(before) else None


def untwist(graph: ir.Graph) -> bool:
    """Replaces each value that is transposed twice by the original value. Returns whether the graph had such values."""
    found = [(node, original) for node in graph if (original := twice_swapped(node)) is not None]
    for node, original in found:
        ir.convenience.replace_all_uses_with(node.outputs[0], original)
    return bool(found)


class GemmToMatMul(ir.passes.InPlacePass):
    """Splits each plain Gemm into a product and a sum."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for node in list(model.graph):
            if node.op_type == "Gemm" and plain(node):
                split(model.graph, node)
                modified = True
        return ir.passes.PassResult(model, untwist(model.graph) or modified)


def plain(node: ir.Node) -> bool:
    """Whether a Gemm is a product and a sum, and nothing more."""

    def number(name: str, usual: float) -> float:
        found = node.attributes.get(name)
        return usual if found is None else float(found.value)

    return number("alpha", 1) == number("beta", 1) == 1 and number("transA", 0) == 0


def split(graph: ir.Graph, node: ir.Node) -> None:
    left, right, *bias = node.inputs
    made = []
    turned = node.attributes.get("transB")
    if turned is not None and turned.as_int() == 1:
        made.append(ir.node("Transpose", [right], attributes={"perm": SWAP}))
        right = made[-1].outputs[0]
    made.append(ir.node("MatMul", [left, right]))
    if bias and bias[0] is not None:
        made.append(ir.node("Add", [made[-1].outputs[0], bias[0]]))
    put(made, place_of(node))
    last, output = made[-1].outputs[0], node.outputs[0]
    graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(output, last, replace_graph_outputs=True)
    last.name, last.shape, last.type = output.name, output.shape, output.type
    graph.remove(node, safe=True)
