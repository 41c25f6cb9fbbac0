"""Nodes remember the module that they come from, in memory only."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_graphs import CHANCE, FLOAT, WEIGHT, Maker

from edgexf.passes.linear import GemmToMatMul
from edgexf.passes.modules import KeepModules, modules_of, place_of, tell
from edgexf.passes.quantize.builder import Builder
from edgexf.passes.quantize.flatten import FlattenWeights
from edgexf.passes.quantize.modes import BuildInputs, Mode, modes
from edgexf.passes.rewriter import Rewriter
from edgexf.passes.tidy import DropTraces

SCOPES = "['', 'module', 'module.layers.0', 'module.layers.0.attention.original.query', 'linear_3']"


def test_a_path_holds_the_users_modules_and_no_file_holds_a_trace() -> None:
    maker = Maker()
    x = maker.given("x", ir.DataType.FLOAT, 2)
    model = maker.model(y=maker.node("Neg", maker.node("Abs", maker.node("Exp", x))))
    for node, scopes in zip(model.graph, (SCOPES, "['', 'module', 'add']"), strict=False):
        node.metadata_props["pkg.torch.onnx.name_scopes"] = scopes
    DropTraces()(KeepModules()(model).model)
    known = {"layers", "layers.0", "layers.0.attention", "layers.0.attention.query"}
    assert modules_of(model, known.__contains__) == {"Exp_0": "layers.0.attention.query", "Abs_1": ""}
    assert b"attention" not in ir.serde.serialize_model(model).SerializeToString()


def told() -> ir.Model:
    """A graph of two layers on one input, a third behind them, and the reverse pass of the first; each node knows its layer."""
    make = Maker()
    x, bias = make.given("x", FLOAT, "b", 64), make.constant("bias", np.ones(96, np.float32))
    weight, other = (
        make.constant("weight", WEIGHT),
        make.constant("other", CHANCE.normal(size=(64, 96)).astype(np.float32)),
    )
    last = make.constant("last", CHANCE.normal(size=(96, 64)).astype(np.float32))
    first, second = make.node("Gemm", x, weight, bias), make.node("MatMul", x, other)
    third = make.node("MatMul", make.node("Max", first, second), last)
    reverse = make.node("MatMul", first, make.node("Transpose", weight, perm=(1, 0)))
    model = make.model(y=third, z=reverse)
    for name, node in zip(("one", "two", "sum", "three", "turn", "reverse"), model.graph, strict=True):
        node.name = name
    tell(
        model,
        {
            "one": "layers.0.query",
            "two": "layers.0.key",
            "sum": "layers.0",
            "three": "layers.1",
            "turn": "layers.0.query",
            "reverse": "layers.0.query",
        },
    )
    return model


@pytest.mark.parametrize(
    "mode", [mode for mode in modes().values() if not mode.needs_calibration], ids=lambda one: one.name
)
def test_a_node_that_takes_the_place_of_another_comes_from_its_module(mode: Mode) -> None:
    built = Builder(mode, lambda: {"onnx/model.onnx": told()}, BuildInputs()).build()
    ((path, modules),) = built.modules.items()
    nodes = {
        node.name: node for node in ir.serde.deserialize_model(onnx.load_model_from_string(built.files[path])).graph
    }
    unknown = [node.op_type for name, node in nodes.items() if name not in modules]
    assert unknown == ["Cast"] * (3 if mode.convert is not None else 0)  # at the edges of a graph in half precision
    assert set(modules) <= set(nodes)
    products = [modules[name] for name, node in nodes.items() if "MatMul" in node.op_type or node.op_type == "Gemm"]
    assert sorted(products) == ["layers.0.key", "layers.0.query", "layers.0.query", "layers.1"]
    shared = {modules[name] for name, node in nodes.items() if node.op_type == "DynamicQuantizeLinear"}
    assert shared == ({"layers.0", "layers.1"} if mode.name == "int8" else set())  # query and key round the same input
    assert b"layers.0" not in built.files[path]


def test_a_layer_that_is_split_stays_in_its_module() -> None:
    model = told()
    GemmToMatMul()(model)
    assert [place_of(node) for node in model.graph][:2] == ["layers.0.query"] * 2


def test_a_flattened_weight_comes_from_the_modules_that_read_it() -> None:
    make = Maker()
    weight = make.constant("weight", CHANCE.normal(size=(2, 64, 32)).astype(np.float32))
    model = make.model(y=make.node("MatMul", make.given("x", FLOAT, "b", 2, 5, 64), weight))
    for node in model.graph:
        node.name = "product"
    tell(model, {"product": "layers.3"})
    FlattenWeights()(model)
    assert [(node.op_type, place_of(node)) for node in model.graph] == [("Reshape", "layers.3"), ("MatMul", "layers.3")]


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (["layers.0.query", "layers.0.key"], "layers.0"),
        (["layers.1", "layers.10"], "layers"),
        (["layers.0", "layers.0"], "layers.0"),
        (["layers.0", ""], ""),
        (["head", "layers.0"], ""),
        (["layers.0", None], None),
        ([None, "layers.0"], None),
    ],
)
def test_a_node_of_several_modules_belongs_to_the_one_around_them(places: list[str | None], found: str | None) -> None:
    make = Maker()
    x = make.given("x", FLOAT, 2)
    graph = Rewriter(make.model(y=make.node("Neg", x)))
    for graph.place in places:
        made = graph.node("Abs", x)
    node = made.producer()
    assert node is not None
    assert place_of(node) == found
