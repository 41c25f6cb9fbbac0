"""Half precision: the results of a float16 device, measured on a CPU without float16 arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from shrunk import SHORT, snapshot
from small_graphs import FLOAT, INPUTS, TABLE, WEIGHT, Maker, relative, run

from edgexf import bundle, names
from edgexf.dtypes import in_dtype
from edgexf.errors import BundleError, RefusedError
from edgexf.passes.quantize.half import as_on_a_device, to_half
from edgexf.passes.quantize.modes import modes
from edgexf.passes.tidy import DropTraces
from edgexf.pipeline.quantize_bundle import quantize
from edgexf.pipeline.verify_bundle import verify

pytestmark = pytest.mark.slow  # exports or runs many models

EMULATED = [name for name, mode in modes().items() if mode.emulated is not None]


def steps() -> ir.Model:
    """Makes the graph x * 300 / 300. The product leaves the range of float16 if x is above 218."""
    make = Maker()
    large = make.node("Mul", make.given("x", FLOAT, "n"), make.constant("a", np.float32([300])))
    return make.model(y=make.node("Mul", large, make.constant("b", np.float32([1 / 300]))))


def test_values_are_those_of_float16_arithmetic() -> None:
    """Numpy computes IEEE 754 binary16: each product is rounded to nearest, and is infinite beyond 65,504."""
    x = np.array([1000, 1, 1 / 3, 218, 219, -7e4, 3e-7], np.float32)
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16) * np.float16(300) * np.float16(1 / 300)
    found = run(as_on_a_device(to_half(steps())), x=x)[0]
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert np.isinf(found).tolist() == [True, False, False, False, True, True, False]


def test_a_cpu_alone_does_not_show_it() -> None:
    """This is the reason why the graph rounds explicitly.

    If this test fails, ONNX Runtime rounds by itself and `as_on_a_device` can be removed.
    """
    x = np.array([1000], np.float32)
    assert np.isfinite(run(to_half(steps()), x=x)[0]).all()


def test_tables_constants_and_statistics_are_rounded_too() -> None:
    """Tests an embedding, a normalisation whose deviation is used, and a constant that a node creates."""
    make = Maker()
    ids = make.given("ids", ir.DataType.INT64, "s")
    rows = make.node("Gather", make.constant("table", TABLE), ids)
    make.nodes.append(
        ir.node("LayerNormalization", [rows, make.constant("ones", np.ones(64, np.float32))], num_outputs=3)
    )
    normal, _, deviation = make.nodes[-1].outputs
    product = make.node("Mul", make.node("MatMul", normal, make.constant("w", WEIGHT)), deviation)
    shape = make.node("Shape", product)
    filled = make.node("ConstantOfShape", shape, value=ir.tensor(np.float32([0.1])))
    model = to_half(make.model(y=make.node("Add", product, filled)))
    wide = as_on_a_device(model.clone())
    picked = TABLE.astype(np.float16).astype(np.float32)[[3, 49, 0]]
    centred = picked - picked.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    found = run(wide, ids=np.array([3, 49, 0]))[0]
    exact = (centred * scale) @ WEIGHT * scale + 0.1
    assert 1e-5 < relative(found, exact) < 5e-3  # rounded to a significand of 11 bits
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    DropTraces()(model)
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)  # checks node order and types


def test_inputs_and_outputs_stay_float32() -> None:
    """A normalisation's deviation, which the reverse pass uses, is float32 in every graph."""
    make = Maker()
    x, ones = make.given("x", FLOAT, "s", 64), make.constant("ones", np.ones(64, np.float32))
    make.nodes.append(ir.node("LayerNormalization", [x, ones], attributes={"axis": -1}, num_outputs=3))
    normal, _, deviation = make.nodes[-1].outputs
    half = to_half(make.model(y=make.node("Mul", make.node("MatMul", normal, make.constant("w", WEIGHT)), deviation)))
    assert {value.dtype for value in (*half.graph.inputs, *half.graph.outputs)} == {FLOAT}
    centred = INPUTS[0] - INPUTS[0].mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    assert relative(run(half, x=INPUTS[0])[0], centred * scale @ WEIGHT * scale) < 5e-3  # a significand of 11 bits


def test_a_type_that_cannot_be_told_is_a_sentence() -> None:
    """Without types from shape inference nothing would be rounded, and a graph that overflows would pass."""
    make = Maker()
    odd = ir.node("FastGelu", [make.given("x", FLOAT, "n")], domain="com.microsoft")
    make.nodes.append(odd)
    model = make.model(y=make.node("Mul", odd.outputs[0], make.constant("a", np.float32([300]))))
    model.opset_imports["com.microsoft"] = 1
    with pytest.raises(BundleError, match="of an unknown type"):
        as_on_a_device(to_half(model))


def test_a_branch_is_a_sentence() -> None:
    make = Maker()
    x, yes = make.given("x", FLOAT, "n"), make.given("yes", ir.DataType.BOOL)
    ways = []
    for kind in ("Relu", "Neg"):
        way = ir.node(kind, [x])
        way.outputs[0].name, way.outputs[0].type = kind, ir.TensorType(FLOAT)
        ways.append(ir.Graph([], list(way.outputs), nodes=[way], name=kind))
    model = make.model(y=make.node("If", yes, then_branch=ways[0], else_branch=ways[1]))
    with pytest.raises(BundleError, match="If with a graph of its own"):
        as_on_a_device(to_half(model))


@pytest.mark.parametrize("mode", EMULATED)
def test_files_are_what_onnx_asks_of_them(mode: str, copied: Path) -> None:
    """Also by ONNX Runtime alone, with the inputs and outputs of fp32, predicting and explaining."""
    (outcome,) = quantize(copied, mode, force=True, lengths=SHORT)
    assert 0 < outcome.worst < outcome.tolerance
    for path in (names.PREDICT_FILE, "onnx/explain.onnx"):
        made = copied / in_dtype(path, outcome.dtype)
        onnx.checker.check_model(str(made), full_check=True)
        assert signature(made) == signature(copied / path)
    assert verify(copied).passed


def signature(path: Path) -> list[tuple[str, str]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [(value.name, value.type) for value in (*session.get_inputs(), *session.get_outputs())]


@pytest.mark.parametrize("mode", EMULATED)
def test_a_model_that_leaves_the_range_is_refused(mode: str, copied: Path) -> None:
    """The same answers in float32, on every CPU; on a GPU infinities."""
    leave_the_range(copied)
    before = snapshot(copied)
    with pytest.raises(RefusedError, match="not finite"):
        quantize(copied, mode, lengths=SHORT)
    assert snapshot(copied) == before


@pytest.mark.parametrize("mode", [name for name in EMULATED if modes()[name].scheme is not None])
def test_a_search_for_weights_to_keep_measures_what_a_device_computes(mode: str, copied: Path) -> None:
    """This model leaves the range whatever is kept. Graphs that a CPU computes in float32 would find weights to keep."""
    leave_the_range(copied)
    with pytest.raises(RefusedError, match="not finite") as caught:
        quantize(copied, mode, max_drop=0.0, lengths=SHORT)
    (outcome,) = caught.value.outcomes
    assert max(point.kept for point in outcome.curve) > 1
    assert min(point.drop for point in outcome.curve) > 0


def leave_the_range(folder: Path) -> None:
    """Multiplies the output of the last layer by a million and divides it again."""
    model = ir.load(folder / names.PREDICT_FILE)
    node = next(node for node in reversed(model.graph) if node.op_type == "MatMul")
    value = node.outputs[0]
    readers = list(value.uses())
    for factor in (1e3, 1e3, 1e-3, 1e-3):
        scale = ir.node("Constant", [], attributes={"value": ir.tensor(np.float32([factor]))})
        product = ir.node("Mul", [value, scale.outputs[0]])
        model.graph.insert_after(value.producer(), [scale, product])
        value = product.outputs[0]
    for reader, index in readers:
        reader.replace_input_with(index, value)
    manifest = bundle.read(folder)
    data = ir.serde.serialize_model(model).SerializeToString()
    bundle.revise(folder, {names.PREDICT_FILE: data}, [], manifest, manifest)
