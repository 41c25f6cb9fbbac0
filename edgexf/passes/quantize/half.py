"""Weights and activations in half precision, for GPUs and the web. Inputs and outputs stay float32.

    before  input -> MatMul(float32) -> output
    after   input -> Cast(float16) -> MatMul(float16) -> Cast(float32) -> output

onnxruntime makes the conversion. Constants that float16 can't hold become the largest number that it holds: masks of
-1e30 become -65504, which a softmax still turns into 0.

Most CPUs have no float16 kernels. There ONNX Runtime computes such a graph in float32 from end to end, so neither the
error nor the range of half precision shows. `as_on_a_device` writes the roundings out as casts.
`edgexf.pipeline.measure_mode` compares the graph that it makes:

    before  MatMul(float16) -> a float16 -> Add(float16)
    after   MatMul(float32) -> Cast(float16) -> Cast(float32) -> a float32 -> Add(float32)

ONNX Runtime keeps the casts of a graph. It drops casts that it added itself around float16 operators (1.31.1, measured:
1000 * 300 / 300 is 1000 in float16 operators, and infinite with the casts written out). Sums within an operator stay in
float32, as in CUDA's products, softmax and norms. A browser's shader may add in float16.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgexf.errors import BundleError
from edgexf.passes.modules import place_of, put
from edgexf.passes.quantize.loops import LOOPS, body_of, floats_read, keep_in_float32
from edgexf.passes.quantize.modes import Mode

# Operators without a float16 kernel for CPUs, which verify the graph. The converter's list of such operators needs the
# types of all values beforehand. Its shape inference does not find these types in every graph.
IN_FLOAT32 = ("ScatterElements", "ScatterND", "TopK", "CumSum", "Min", "Max", "Range", "Resize", "ReduceLogSumExp")
# ONNX Runtime 1.32.0 dies while it opens a graph with such a Transpose in float16 before a MatMul, as behind an LSTM (in
# its pass NchwcTransformer). Other axes, and the same Transpose in float32, do not trouble it.
SWAPPED = (1, 0, 2)
BRANCHES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def to_half(model: ir.Model) -> ir.Model:
    """Converts a model to a new model in float16, which holds its initializers inside."""
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    floats = floats_read(model)
    proto = ir.serde.serialize_model(model)
    converted = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True, op_block_list=list(LOOPS))
    half = ir.serde.deserialize_model(converted)
    for (
        value
    ) in half.graph.initializers.values():  # what only a loop reads keeps its type, but the converter notes another
        if value.const_value is not None:
            value.type = ir.TensorType(value.const_value.dtype)
    for node in list(half.graph):
        if node.op_type == "LayerNormalization":
            cast_statistics(half.graph, node)
        if node.op_type in LOOPS:
            keep_in_float32(half.graph, node, floats)
    common.ShapeInferencePass()(half)  # finds which values are floats
    for node in list(half.graph):
        if is_in_float32(node) and node.outputs[0].dtype == ir.DataType.FLOAT16:
            compute_in_float32(half.graph, node)
    common.TopologicalSortPass()(half)  # the converter appends casts of inputs at the end
    return half


def is_in_float32(node: ir.Node) -> bool:
    swaps = node.op_type == "Transpose" and "perm" in node.attributes
    return node.op_type in IN_FLOAT32 or (swaps and tuple(node.attributes["perm"].as_ints()) == SWAPPED)


def compute_in_float32(graph: ir.Graph, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype == ir.DataType.FLOAT16:
            wide = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT})
            put([wide], place_of(node))
            graph.insert_before(node, wide)
            node.replace_input_with(index, wide.outputs[0])
    output = node.outputs[0]
    narrow = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
    put([narrow], place_of(node))
    graph.insert_after(node, narrow)
    ir.convenience.replace_all_uses_with(output, narrow.outputs[0], replace_graph_outputs=True)
    narrow.replace_input_with(0, output)
    output.dtype = ir.DataType.FLOAT


def cast_statistics(graph: ir.Graph, node: ir.Node) -> None:
    """Casts the mean and deviation of a LayerNormalization to float16 where a reverse pass reads them.

    The operator gives them in float32, whatever type it normalises (ONNX, stash_type).
    """
    for output in node.outputs[1:]:
        users = list(output.uses())
        if users:
            cast = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
            put([cast], place_of(node))
            graph.insert_after(node, cast)
            for user, index in users:
                user.replace_input_with(index, cast.outputs[0])


def as_on_a_device(model: ir.Model) -> ir.Model:
    """Converts a model of `to_half` to float32 in place, and rounds each output of a float16 operator to float16.

    Types are set anew, because a clone shares the objects that hold its types. A loop of `LOOPS` is float32 already.
    BundleError for a graph with branches or other loops, and for a graph with values of unknown type.
    """
    with unlogged("onnx_ir"):  # a failure leaves types unknown, which raises below
        common.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    for node in model.graph:
        unknown = any(output.dtype is None and output.uses() for output in node.outputs)
        inner = [node] if node.op_type not in LOOPS else list(body_of(node))
        if unknown or any(attribute.type in BRANCHES for one in inner for attribute in one.attributes.values()):
            raise BundleError(
                f"a graph in float16 must have values of known types and no branches to be measured, got {node.op_type} "
                f"{'of an unknown type' if unknown else 'with a graph of its own'}; choose another mode."
            )
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT16:
            value.const_value = in_float32(value.const_value, value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in list(model.graph):
        for name, attribute in list(node.attributes.items()):
            if isinstance(attribute.value, ir.TensorProtocol) and attribute.value.dtype == ir.DataType.FLOAT16:
                node.attributes[name] = ir.AttrTensor(name, in_float32(attribute.value, None))
            if name == "dtype" and attribute.value == ir.DataType.FLOAT16:
                node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT16:
                rounded(model.graph, node, output)
    return model


@contextmanager
def unlogged(name: str) -> Iterator[None]:
    """Silences the logger `name` of a library, with its tracebacks."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def in_float32(tensor: ir.TensorProtocol, name: str | None) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=name)


def rounded(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    """Rounds an output to float16 and casts it back to float32.

    A Cast to float16 rounds by itself. After any other operator a Cast to float16 is added.
    """
    wide = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT})
    wide.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph.insert_after(node, wide)
    ir.convenience.replace_all_uses_with(output, wide.outputs[0], replace_graph_outputs=True)
    wide.replace_input_with(0, output)
    if node.op_type != "Cast":
        narrow = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
        narrow.outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
        graph.insert_after(node, narrow)
        wide.replace_input_with(0, narrow.outputs[0])
        output.type = ir.TensorType(ir.DataType.FLOAT)


FP16 = Mode("fp16", tolerance=0.1, convert=to_half, emulated=as_on_a_device)
