"""Loops in a graph in half precision stay in float32, and what they read is rounded as on a device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_graphs import FLOAT, Maker, run

from edgexf.errors import BundleError
from edgexf.passes.quantize.half import as_on_a_device, to_half
from edgexf.passes.tidy import DropTraces

CHANCE = np.random.default_rng(3)
MATRIX = (CHANCE.normal(size=(8, 8)) / 4).astype(np.float32)
MATRIX[:, 0], MATRIX[0, 0] = 0, 1e6  # becomes the largest number of float16; its factor is always 0
ROWS = (CHANCE.normal(size=(40, 2, 8)) / 100).astype(np.float32)
ROWS[..., 0] = 0


def looped() -> ir.Model:
    """Makes the graph ``state = state @ matrix + 2 * x[time]``, which gives all states. The matrix lies outside the loop."""
    make = Maker()
    rows = make.node("Mul", make.given("x", FLOAT, "n", 2, 8), make.constant("two", np.float32([2])))
    matrix, start = make.constant("matrix", MATRIX), make.constant("start", np.zeros((2, 8), np.float32))
    inside = [ir.Value(name=name, type=ir.TensorType(FLOAT), shape=ir.Shape((2, 8))) for name in ("state", "row")]
    product = ir.node("MatMul", [inside[0], matrix])
    added = ir.node("Add", [product.outputs[0], inside[1]])
    shown = ir.node("Identity", [added.outputs[0]])
    for name, node in (("product", product), ("next", added), ("shown", shown)):
        node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(FLOAT)
    body = ir.Graph(inside, [added.outputs[0], shown.outputs[0]], nodes=[product, added, shown], name="body")
    make.nodes.append(
        ir.node("Scan", [start, rows], attributes={"num_scan_inputs": 1, "body": body}, num_outputs=2, name="over_time")
    )
    return make.model(y=make.node("Neg", make.nodes[-1].outputs[1]))


def test_a_loop_computes_in_float32_with_inputs_and_weights_of_float16() -> None:
    """Each state but the last rounding is float32: small terms are not lost."""
    half = to_half(looped())
    wide = as_on_a_device(half.clone())
    matrix = np.clip(MATRIX, -65504, 65504).astype(np.float16).astype(np.float32)
    state, wanted = np.zeros((2, 8), np.float32), []
    for row in (ROWS.astype(np.float16) * np.float16(2)).astype(np.float32):
        state = state @ matrix + row
        wanted.append(-state)
    rounded = np.stack(wanted).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(run(wide, x=ROWS)[0], rounded, rtol=2**-10)  # a significand of 11 bits
    # A CPU drops roundings: each term is off by 2**-11 at most, and so is each weight.
    np.testing.assert_allclose(run(half, x=ROWS)[0], rounded, atol=2**-9 * np.abs(rounded).max())
    DropTraces()(half)
    onnx.checker.check_model(ir.serde.serialize_model(half), full_check=True)  # checks node order and types
    assert half.graph.initializers["matrix"].dtype == ir.DataType.FLOAT16
    (loop,) = [node for node in half.graph if node.op_type == "Scan"]
    assert all(value.dtype == FLOAT for value in loop.attributes["body"].as_graph().outputs)


def test_a_loop_that_reads_a_value_of_unknown_type_is_a_sentence() -> None:
    model = looped()
    (loop,) = [node for node in model.graph if node.op_type == "Scan"]
    loop.attributes["body"].as_graph().inputs[1].type = None
    with pytest.raises(BundleError, match="row of Scan over_time of an unknown type"):
        to_half(model)


def test_a_graph_opens_whose_first_two_axes_are_exchanged_before_a_product(tmp_path: Path) -> None:
    """In a process of its own: ONNX Runtime 1.32.0 dies of this Transpose in float16. It stands behind an LSTM."""
    make = Maker()
    turned = make.node("Transpose", make.given("x", FLOAT, "n", "m", 8), perm=[1, 0, 2])
    ir.save(to_half(make.model(y=make.node("MatMul", turned, make.constant("w", MATRIX)))), tmp_path / "half.onnx")
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "half.onnx")], check=False).returncode == 0
