"""Graphs of a few nodes for the tests of passes, the schemes of all modes, and the arithmetic of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgexf.passes.quantize.int8 import Int8
from edgexf.passes.quantize.modes import BuildInputs, modes
from edgexf.passes.quantize.walk import Scheme

FLOAT, INT = ir.DataType.FLOAT, ir.DataType.INT64
ROUNDING = 1e-5  # relative error of float32 sums in another order
CHANCE = np.random.default_rng(0)
WEIGHT = CHANCE.normal(size=(64, 96)).astype(np.float32)
TABLE = (CHANCE.normal(size=(50, 64)) * np.geomspace(0.01, 10, 50)[:, None]).astype(np.float32)
INPUTS = CHANCE.normal(size=(2, 7, 64)).astype(np.float32)
# By the mode's name: a new scheme of each mode that stores weights and finds no ranges beforehand.
SCHEMES: dict[str, Callable[[], Scheme]] = {
    name: partial(mode.scheme, BuildInputs())
    for name, mode in modes().items()
    if mode.scheme is not None and not mode.needs_calibration
}


def rounding_of(scheme: Scheme) -> float:
    """The most that storing leaves of the largest value in a row: half a step of 127 in 8 bits, one of 8 in 4 bits."""
    return 0.5 / 127 if isinstance(scheme, Int8) else 1 / 8


class Maker:
    """Builds a graph of a few nodes."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []
        self.inputs: list[ir.Value] = []

    def given(self, name: str, dtype: ir.DataType, *shape: int | str) -> ir.Value:
        self.inputs.append(ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape)))
        return self.inputs[-1]

    def constant(self, name: str, array: Any) -> ir.Value:
        tensor = ir.tensor(np.asarray(array), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
        self.constants.append(value)
        return value

    def node(self, kind: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        self.nodes.append(ir.node(kind, list(inputs), attributes=attributes))
        return self.nodes[-1].outputs[0]

    def model(self, **outputs: ir.Value) -> ir.Model:
        for name, value in outputs.items():
            value.name, value.type = name, ir.TensorType(FLOAT)
        graph = ir.Graph(
            self.inputs,
            list(outputs.values()),
            nodes=self.nodes,
            initializers=self.constants,
            opset_imports={"": 20},
            name="g",
        )
        return ir.Model(graph, ir_version=10)


def run(model: ir.Model, **inputs: Any) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    return session.run(None, inputs)  # type: ignore[no-any-return]


def layer() -> ir.Model:
    """Makes a graph of a layer and its reverse pass: x W, and y W^T."""
    make = Maker()
    x, y, weight = (
        make.given("x", FLOAT, "b", "s", 64),
        make.given("y", FLOAT, "b", "s", 96),
        make.constant("weight", WEIGHT),
    )
    forward = make.node("MatMul", x, weight)
    return make.model(forward=forward, reverse=make.node("MatMul", y, make.node("Transpose", weight, perm=(1, 0))))


def again(model: ir.Model) -> ir.Model:
    """Returns a copy of the model, for a pass that changes it."""
    return ir.serde.deserialize_model(ir.serde.serialize_model(model))


def stored(model: ir.Model) -> int:
    """Returns the bytes of the model's constants."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def int8_of(array: np.ndarray, axis: int) -> np.ndarray:
    """Returns the weight of a layer rounded to 8 bits by the formula round(W / s) s.

    s = max (|W[i]| + |W[i + 1]|) / 127 over the inputs i, which lie along the other axis.
    """
    sizes = np.abs(array if axis == 1 else array.T)
    scale = np.array([max(column[:-1] + column[1:]) / 127 for column in sizes.T], np.float32)
    scale = scale[None] if axis == 1 else scale[:, None]
    return np.rint(array / scale) * scale


def rounded_inputs(array: np.ndarray) -> np.ndarray:
    """Rounds inputs as ONNX DynamicQuantizeLinear does, written from its definition."""
    low, high = min(array.min(), 0), max(array.max(), 0)
    step = (high - low) / 255
    zero = np.clip(np.rint(-low / step), 0, 255)
    return (np.clip(np.rint(array / step) + zero, 0, 255) - zero) * step
