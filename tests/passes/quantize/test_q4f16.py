"""Blocks of 4 bits in a graph in half precision: what is stored is what is checked, and what a device would compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from shrunk import SHORT, snapshot
from small_graphs import CHANCE, FLOAT, INPUTS, WEIGHT, Maker, again, layer, relative, run

import edgexf
from edgexf import names
from edgexf.dtypes import in_dtype
from edgexf.errors import RefusedError
from edgexf.passes.quantize.blockwise import WIDE, Blocks
from edgexf.passes.quantize.half import as_on_a_device, to_half
from edgexf.passes.quantize.modes import modes
from edgexf.passes.quantize.q4f16 import BlockwiseInHalf, away_from_zero
from edgexf.passes.quantize.walk import QuantizeWeights
from edgexf.passes.quantize.weights import find
from edgexf.pipeline.quantize_bundle import quantize

HALF = 2**-11  # of a number, the most that rounding to float16 leaves (IEEE 754 binary16, 11 bits of significand)
SMALLEST = 2.0**-24  # above 0 in float16


def packed(weight: np.ndarray[Any, Any]) -> tuple[BlockwiseInHalf, Blocks]:
    """A layer's weight as the mode stores it."""
    make, scheme = Maker(), BlockwiseInHalf()
    x = make.given("x", FLOAT, "s", weight.shape[0])
    (found,) = find(make.model(y=make.node("MatMul", x, make.constant("w", weight))).graph)[0]
    blocks = scheme.pack(found, 1)
    assert isinstance(blocks, Blocks)
    return scheme, blocks


def decoded(blocks: Blocks) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The codes in steps and the scales, [outputs, inputs] each, from the description of MatMulNBits."""
    codes = (
        np.stack([blocks.packed & 15, blocks.packed >> 4], axis=-1).astype(np.float32).reshape(len(blocks.packed), -1)
    )
    return codes - 8, np.repeat(blocks.scales, 32, axis=1)


@pytest.mark.parametrize("size", [1, 1e-3, 1e-5, 1e-7, 1e-12, 0])
def test_stored_numbers_are_the_nearest_that_codes_and_a_scale_of_float16_give(size: float) -> None:
    """Also where float16 keeps few bits of a scale, and where only its smallest number is large enough."""
    weight = (size * WEIGHT).astype(np.float32)
    scheme, blocks = packed(weight)
    steps, scales = decoded(blocks)
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(scheme.stored(blocks), (steps * scales).T)
    left = np.abs(weight.T - steps * scales)
    most = np.where(steps == 7, 1, 0.5)  # codes end at seven steps to one side, and at eight to the other
    assert (left <= (most + 1e-5) * np.abs(scales)).all()
    assert scheme.apart(blocks, weight) <= scheme.nearest + 1e-5


def test_scales_are_the_nearest_of_float16_that_are_no_smaller() -> None:
    """All of float16's numbers in order but the largest, and what lies between two of them."""
    held = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (held[:-1] + held[1:]) / 2
    for sign in (1, -1):
        np.testing.assert_array_equal(away_from_zero(sign * held), sign * held)
        np.testing.assert_array_equal(away_from_zero(sign * between), sign * held[1:])
    assert away_from_zero(np.float32([1e-38]))[0] == SMALLEST


def quantized_layer() -> tuple[ir.Model, np.ndarray[Any, Any]]:
    """A layer and its reverse pass in the mode, and the values of the stored weight."""
    model, scheme = layer(), BlockwiseInHalf()
    QuantizeWeights(scheme)(model)
    (blocks,) = scheme.packed.values()
    return to_half(model), scheme.stored(blocks)


def test_the_conversion_keeps_the_scales_that_were_checked() -> None:
    model, stored = quantized_layer()
    constants = {
        value.name: value.const_value.numpy() for value in model.graph.initializers.values() if value.const_value
    }
    codes, scales = constants["weight_q4"], constants["weight_q4_scales"]
    assert (codes.dtype, scales.dtype) == (np.uint8, np.float16)
    steps = np.stack([codes & 15, codes >> 4], axis=-1).astype(np.float32).reshape(96, 64) - 8
    np.testing.assert_array_equal(steps * np.repeat(scales.astype(np.float32).reshape(96, 2), 32, axis=1), stored.T)
    assert not any(constant.dtype == np.float32 for constant in constants.values())


@pytest.mark.parametrize("emulated", [False, True])
def test_a_layer_and_its_reverse_pass_multiply_by_what_is_stored(emulated: bool) -> None:
    model, stored = quantized_layer()
    assert {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)} == {FLOAT}
    gradient = CHANCE.normal(size=(2, 7, 96)).astype(np.float32)
    found = run(as_on_a_device(again(model)) if emulated else model, x=INPUTS, y=gradient)
    for answer, wanted in zip(found, (INPUTS @ stored, gradient @ stored.T), strict=True):
        assert relative(answer, wanted) < 3 * HALF  # of the inputs, of the unpacked weight, of the answer
        assert not emulated or (answer == answer.astype(np.float16)).all()


def test_what_a_layer_answers_beyond_the_range_is_infinite_on_a_device() -> None:
    """ONNX Runtime's kernel for CPUs would hand 70,000 on in float32: the operator's answers are rounded too."""
    make, weight = Maker(), np.full((64, 32), 100, np.float32)
    large = make.node("MatMul", make.given("x", FLOAT, "s", 64), make.constant("w", weight))
    model = make.model(y=make.node("Mul", large, make.constant("small", np.float32(1e-3))))
    QuantizeWeights(BlockwiseInHalf())(model)
    (answer,) = run(as_on_a_device(to_half(model)), x=np.array([[1.0], [11.0]], np.float32).repeat(64, axis=1))
    assert np.isfinite(answer).all(axis=1).tolist() == [True, False]


def test_no_layer_may_round_its_inputs_to_bytes() -> None:
    """The WebGPU kernels that do take another range than the check of layers knows."""
    make, weight = Maker(), CHANCE.normal(size=(WIDE, WIDE)).astype(np.float32)
    model = make.model(y=make.node("MatMul", make.given("x", FLOAT, "s", WIDE), make.constant("w", weight)))
    QuantizeWeights(BlockwiseInHalf())(model)
    (product,) = (node for node in model.graph if node.op_type == "MatMulNBits")
    assert "accuracy_level" not in product.attributes


def test_graphs_run_in_onnxruntime_alone_and_answer_as_the_trial_said(copied: Path) -> None:
    """The predict graph and the explain graph, which holds the same logits."""
    (outcome,) = quantize(copied, "q4f16", force=True, lengths=SHORT)
    assert sum(layer.products + layer.rows for layer in outcome.layers) > 0
    assert all(layer.error is None or layer.error < 1e-5 for layer in outcome.layers)  # float32 sums in another order
    ids = np.array([[257, *range(60, 90)]])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    with edgexf.load(copied, dtype="fp32") as session:
        wanted = session.run(**feeds)["logits"]
    target = np.eye(wanted.shape[-1], dtype=np.float32)[:1]
    for path in (names.PREDICT_FILE, "onnx/explain.onnx"):
        alone = ort.InferenceSession(str(copied / in_dtype(path, "q4f16")), providers=["CPUExecutionProvider"])
        given = feeds if path == names.PREDICT_FILE else feeds | {"target": target}
        answers = dict(zip([one.name for one in alone.get_outputs()], alone.run(None, given), strict=True))
        assert {answer.dtype for answer in answers.values()} == {np.dtype(np.float32)}
        assert all(np.isfinite(answer).all() for answer in answers.values())
        assert relative(answers["logits"], wanted) < outcome.tolerance
    operators = {
        node.op_type for node in onnx.load(copied / "onnx" / "model_q4f16.onnx", load_external_data=False).graph.node
    }
    assert {"MatMulNBits", "GatherBlockQuantized"} <= operators


def with_other_scales(self: BlockwiseInHalf, graph: Any, weight: Blocks, use: Any, right: Any) -> Any:
    return right(self, graph, replace(weight, scales=weight.scales * np.float32(1.01)), use)


def test_a_broken_scale_never_becomes_a_bundle(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gets other scales than were checked, by a hundredth, and scales of the neighbouring output."""
    before = snapshot(copied)
    with monkeypatch.context() as patch:
        right = BlockwiseInHalf.product
        patch.setattr(BlockwiseInHalf, "product", lambda *given: with_other_scales(*given, right=right))
        with pytest.raises(RefusedError, match="computes otherwise than its stored numbers say"):
            quantize(copied, "q4f16", lengths=SHORT)
    made = BlockwiseInHalf.packed_anew

    def rolled(self: BlockwiseInHalf, weight: Any, axis: int) -> Any:
        found: Any = made(self, weight, axis)
        return found if isinstance(found, str) else replace(found, scales=np.roll(found.scales, 1, axis=0))

    monkeypatch.setattr(BlockwiseInHalf, "packed_anew", rolled)
    with pytest.raises(RefusedError, match="times as far from its weight"):
        quantize(copied, "q4f16", lengths=SHORT)
    assert snapshot(copied) == before


def test_the_mode_is_found_by_its_record_alone() -> None:
    """No other file of the package names it."""
    folder = Path(edgexf.__file__).parent
    naming = {path.name for path in folder.rglob("*.py") if "q4f16" in path.read_text(encoding="utf-8")}
    assert naming == {"dtypes.py", "q4f16.py"}
    assert modes()["q4f16"].dtype == "q4f16"
