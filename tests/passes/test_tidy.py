"""What is left of a graph after `tidy`: names by position, also inside nodes."""

from __future__ import annotations

import onnx_ir as ir

from edgexf.passes.tidy import DropTraces, bodies_of

FLOAT = ir.TensorType(ir.DataType.FLOAT)


def branch(name: str) -> ir.Graph:
    """Gives its value the name of a constant of the graph around it, and of a value of the other branch."""
    node = ir.node("Constant", [], attributes={"value_float": 1.0})
    node.outputs[0].name, node.outputs[0].type = "val_3", FLOAT
    return ir.Graph([], node.outputs, nodes=[node], name=name)


def test_values_inside_a_node_have_names_that_no_other_value_has() -> None:
    chosen = ir.Value(name="chosen", type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
    choice = ir.node("If", [chosen], attributes={"then_branch": branch("then"), "else_branch": branch("else")})
    constant = ir.Value(name="val_3", type=FLOAT, shape=ir.Shape([]), const_value=ir.tensor(2.0, name="val_3"))
    total = ir.node("Add", [choice.outputs[0], constant])
    graph = ir.Graph([chosen], total.outputs, nodes=[choice, total], initializers=[constant], opset_imports={"": 20})
    DropTraces()(ir.Model(graph, ir_version=9))
    inside = [value.name for body in bodies_of(choice) for node in body for value in node.outputs]
    assert inside == ["If_0_then_0_0", "If_0_else_0_0"]
    assert not {*inside} & {"val_3", *(value.name for node in graph for value in node.outputs)}
