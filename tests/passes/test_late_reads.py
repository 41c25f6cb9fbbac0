"""Reads of weights stand in front, where ONNX Runtime runs each right before its use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgexf.passes.late_reads import ReadWeightsLate

LAYERS, WIDTH = 5, 8
LOOPED = """<ir_version: 10, opset_import: ["" : 20]>
graph (float[n] x) => (float[n] y) <bool yes = {1}> {
  a = Neg(x)
  y = If(yes) <then_branch = t () => (float[n] b) { b = Neg(a) }, else_branch = e () => (float[n] c) { c = Neg(a) }>
}"""


def model_of_layers() -> ir.Model:
    """x W1 W2 ..., with each weight in 8 bits, read right before its product in the file."""
    chance, nodes, initializers = np.random.default_rng(0), [], []
    given = value = ir.val("x", ir.DataType.FLOAT, ["n", WIDTH])
    for layer in range(LAYERS):
        arrays = chance.integers(-9, 9, (WIDTH, WIDTH), dtype=np.int8), np.float32(0.1)
        packed = [
            ir.val(f"{name}{layer}", const_value=ir.tensor(array, name=f"{name}{layer}"))
            for name, array in zip(("packed", "scale"), arrays, strict=True)
        ]
        initializers += packed
        nodes.append(ir.node("Tanh", [value]))
        nodes.append(ir.node("DequantizeLinear", packed))
        nodes.append(ir.node("MatMul", [nodes[-2].outputs[0], nodes[-1].outputs[0]]))
        value = nodes[-1].outputs[0]
    value.name, value.type, value.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["n", WIDTH])
    graph = ir.Graph([given], [value], nodes=nodes, initializers=initializers, opset_imports={"": 20}, name="layers")
    for place, node in enumerate(graph):
        node.name = f"{node.op_type}_{place}"
    return ir.Model(graph, ir_version=10)


def run(model: ir.Model, folder: Path) -> tuple[np.ndarray, list[str]]:
    """The output, and the operators in the order in which they ran."""
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # which would fold so small weights
    session = ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString(), options)
    (found,) = session.run(None, {"x": np.ones((2, WIDTH), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    return found, [event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time")]


def test_a_weight_is_read_right_before_its_use(tmp_path: Path) -> None:
    """Before the pass, ONNX Runtime reads all weights first, and holds them all."""
    model = model_of_layers()
    wanted, order = run(model, tmp_path)
    assert order[:LAYERS] == ["DequantizeLinear"] * LAYERS
    assert ReadWeightsLate()(model).modified
    found, order = run(model, tmp_path)
    assert np.array_equal(found, wanted)
    assert order == ["Tanh", "DequantizeLinear", "MatMul"] * LAYERS
    assert not ReadWeightsLate()(model).modified


def test_a_node_with_a_graph_of_its_own_stays_behind_what_that_graph_reads() -> None:
    model = ir.from_onnx_text(LOOPED)
    assert not ReadWeightsLate()(model).modified
    assert [node.op_type for node in model.graph] == ["Neg", "If"]


def test_values_keep_their_names() -> None:
    model = model_of_layers()
    names = {node.name: [value.name for value in node.outputs] for node in model.graph}
    ReadWeightsLate()(model)
    assert {node.name: [value.name for value in node.outputs] for node in model.graph} == names
