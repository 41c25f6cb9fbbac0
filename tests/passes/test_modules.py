"""Nodes remember the module that they come from, in memory only."""

from __future__ import annotations

import onnx_ir as ir
from small_graphs import Maker

from edgexf.passes.modules import KeepModules, modules_of
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
