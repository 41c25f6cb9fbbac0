"""Weights and activations in half precision, for GPUs and the web; inputs and outputs stay float32.

    before  input -> MatMul(float32) -> output
    after   input -> Cast(float16) -> MatMul(float16) -> Cast(float32) -> output

The conversion is onnxruntime's own. What float16 can't hold is set to its largest number: masks of -1e30 become -65504,
which a softmax still takes for nothing.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxruntime.transformers.float16 import convert_float_to_float16

# Without a float16 kernel for CPUs, which verify the graph. The converter's own list of such operators needs the types of
# all values beforehand, which its shape inference does not find in every graph.
IN_FLOAT32 = ("ScatterElements", "ScatterND", "TopK", "CumSum", "Min", "Max", "Range", "Resize", "ReduceLogSumExp")


def to_half(model: ir.Model) -> ir.Model:
    """A new model in float16, its initializers inside."""
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    proto = ir.serde.serialize_model(model)
    converted = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True, op_block_list=[])
    half = ir.serde.deserialize_model(converted)
    for node in list(half.graph):
        if node.op_type == "LayerNormalization":
            cast_statistics(half.graph, node)
    common.ShapeInferencePass()(half)  # tells floats from indices
    for node in list(half.graph):
        if node.op_type in IN_FLOAT32 and node.outputs[0].dtype == ir.DataType.FLOAT16:
            compute_in_float32(half.graph, node)
    return half


def compute_in_float32(graph: ir.Graph, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype == ir.DataType.FLOAT16:
            wide = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT})
            graph.insert_before(node, wide)
            node.replace_input_with(index, wide.outputs[0])
    output = node.outputs[0]
    narrow = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
    graph.insert_after(node, narrow)
    ir.convenience.replace_all_uses_with(output, narrow.outputs[0], replace_graph_outputs=True)
    narrow.replace_input_with(0, output)
    output.dtype = ir.DataType.FLOAT


def cast_statistics(graph: ir.Graph, node: ir.Node) -> None:
    """Mean and deviation, which a reverse pass reads, stay float32 whatever the operator normalises (ONNX, stash_type)."""
    for output in node.outputs[1:]:
        users = list(output.uses())
        if users:
            cast = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16})
            graph.insert_after(node, cast)
            for user, index in users:
                user.replace_input_with(index, cast.outputs[0])
