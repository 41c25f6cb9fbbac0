"""Keeps loops of a graph in half precision in float32, between casts.

    before  x (float16), weight (float16) -> Scan(body in float32) -> y
    after   x -> Cast(float32), weight -> Cast(float32) -> Scan(body in float32) -> Cast(float16) -> y

Attention in slices or in windows has such loops, and so has the explanation of a recurrent layer. A sum over a thousand times
keeps its small terms in float32. A body in float16 was weighed: each step would round, and a CPU without float16 kernels would
cast at each step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.errors import BundleError
from edgexf.passes.modules import place_of, put

LOOPS = ("Scan",)
LARGEST = float(np.finfo(np.float16).max)  # what larger numbers become, as in the rest of the graph


def body_of(loop: ir.Node) -> ir.Graph:
    return loop.attributes["body"].as_graph()


def floats_read(model: ir.Model) -> frozenset[str | None]:
    """The names of the floats that loops of a model in float32 read from the graph around them.

    Raises BundleError where the type of such a value is unknown.
    """
    if not any(node.op_type in LOOPS for node in model.graph):
        return frozenset()
    typed = model.clone()
    common.ShapeInferencePass(check_type=False, strict_mode=False)(typed)
    loops = [node for node in typed.graph if node.op_type in LOOPS]
    return frozenset(
        value.name for loop in loops for _, _, value in from_outside(body_of(loop)) if is_float(loop, value)
    )


def keep_in_float32(graph: ir.Graph, loop: ir.Node, floats: Collection[str | None]) -> None:
    """Casts what a loop reads to float32, and what it gives to float16.

    The loop stands in a graph whose other floats are float16, but its body is float32. `floats` are those of `floats_read`.
    Raises BundleError where the type of a value is unknown.
    """
    body = body_of(loop)
    for index, (value, inside) in enumerate(zip(loop.inputs, body.inputs, strict=True)):
        if value is not None and is_float(loop, inside):
            loop.replace_input_with(index, widened(graph, loop, value))
    wide: dict[ir.Value, ir.Value] = {}
    for node, index, value in from_outside(body):
        if value.name in floats and not value.is_graph_input():
            wide[value] = wide.get(value) or widened(graph, loop, in_half(value))
            node.replace_input_with(index, wide[value])
    for output, inside in zip(loop.outputs, body.outputs, strict=True):
        if is_float(loop, inside):
            output.type = ir.TensorType(ir.DataType.FLOAT)
            narrow = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
            put([narrow], place_of(loop))
            graph.insert_after(loop, narrow)
            ir.convenience.replace_all_uses_with(output, narrow.outputs[0], replace_graph_outputs=True)
            narrow.replace_input_with(0, output)


def is_float(loop: ir.Node, value: ir.Value) -> bool:
    if value.dtype is None:
        raise BundleError(
            f"a loop in a graph in float16 must read and give values of known types, got {value.name} of {loop.op_type} "
            f"{loop.name} of an unknown type; choose another mode."
        )
    return value.dtype == ir.DataType.FLOAT


def from_outside(body: ir.Graph) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    """Where the nodes of a body read a value of the graph around it: the node, the place among its inputs, the value."""
    own = {*body.inputs, *body.initializers.values(), *(output for node in body for output in node.outputs)}
    for node in body:
        for index, value in enumerate(node.inputs):
            if value is not None and value not in own:
                yield node, index, value


def widened(graph: ir.Graph, loop: ir.Node, value: ir.Value) -> ir.Value:
    wide = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT})
    put([wide], place_of(loop))
    wide.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph.insert_before(loop, wide)
    return wide.outputs[0]


def in_half(value: ir.Value) -> ir.Value:
    """The value. A weight that only bodies read becomes float16 like all other weights: their converter sees no bodies."""
    if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT:
        numbers = np.clip(value.const_value.numpy(), -LARGEST, LARGEST).astype(np.float16)
        value.const_value = ir.tensor(numbers, name=value.name)
        value.type = ir.TensorType(ir.DataType.FLOAT16)
    return value
