"""Exports: the content of a bundle, and wrong graphs, which must never become a bundle."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from conftest import Exported
from small import ROOT, small_encoder, small_spec
from torch import Tensor, nn

import edgexf
from edgexf import names
from edgexf.bundle.profile import read_profile
from edgexf.errors import ExportError, UsageError, VerificationError
from edgexf.models import build
from edgexf.models.weights import save
from edgexf.products import ROWS
from edgexf.spec import WindowedAttentionSpec
from edgexf_exporters.explain.compile import GradientTimesInput
from edgexf_exporters.lowerings.reference.projected import Projected
from edgexf_exporters.lowerings.reference.windowed import Windowed
from edgexf_exporters.verify.compare import run
from edgexf_exporters.verify.graph_checks import quadratic_tensors, random_operators

pytestmark = pytest.mark.slow  # exports or runs many models


def graphs_of(path: Path) -> list[Path]:
    return sorted(path.rglob("*.onnx"))


def test_the_grid_is_kept_and_recorded(exported: Exported) -> None:
    grid = exported.bundle.manifest.grid
    assert grid["worst"] <= grid["tolerance"] == 1e-4
    further = {ROWS + 1} if exported.name == "transformer" else set()  # where full attention has a second slice
    assert {row["length"] for row in grid["rows"]} == {2, 63, 64, 65, 197, 4097} | further
    assert {row["mask"] for row in grid["rows"]} == {"none", "right", "one"}
    assert not any(grid["checks"].values())


def test_a_bundle_verifies_without_the_model(exported: Exported) -> None:
    verdict = edgexf.verify(exported.bundle.path)
    assert verdict.passed
    assert len(verdict.rows) > 10


def test_each_node_of_a_graph_comes_from_a_module_of_the_model(exported: Exported) -> None:
    variants, (profile,) = exported.bundle.manifest.variants, {one.profile for one in exported.bundle.manifest.variants}
    assert profile in exported.bundle.manifest.files
    graphs = read_profile((exported.bundle.path / profile).read_bytes())
    assert list(graphs) == [graph.file for graph in variants]
    for path, graph in graphs.items():
        nodes = {
            node.name: node for node in onnx.load(exported.bundle.path / path, load_external_data=False).graph.node
        }
        assert set(graph.modules) <= set(nodes)
        assert len(graph.modules) > 0.9 * len(nodes)  # the passes pad and crop at the edges
        assert set(graph.modules.values()) <= {name for name, _ in exported.encoder.named_modules()}
        assert {"tokens", "layers.0.attention", "layers.1.contract", "classifier"} <= set(graph.modules.values())
        assert {node.op_type for name, node in nodes.items() if name not in graph.modules}.isdisjoint(
            {"MatMul", "Gemm"}
        )


def test_as_many_products_of_a_reverse_pass_as_of_its_layer(exported: Exported) -> None:
    """Linear layers are products with weights, each reversed by one product."""
    predict, explain = exported.bundle.manifest.variants[:2]
    graphs = read_profile((exported.bundle.path / predict.profile).read_bytes())
    for name in ("layers.0.expand", "layers.1.contract", "layers.1.attention.output"):
        found = []
        for graph in (predict, explain):
            nodes = onnx.load(exported.bundle.path / graph.file, load_external_data=False).graph.node
            own = {node for node, module in graphs[graph.file].modules.items() if module == name}
            found.append(sum(node.op_type in ("MatMul", "Gemm") for node in nodes if node.name in own))
        assert found == [1, 2]


def test_no_graph_draws_random_numbers(exported: Exported) -> None:
    for path in graphs_of(exported.bundle.path):
        assert random_operators(onnx.load(path)) == ""


def test_nothing_grows_as_length_squared(exported: Exported) -> None:
    given, limits = exported.bundle.manifest.variants[0].inputs, exported.bundle.manifest.limits
    for path in graphs_of(exported.bundle.path):
        assert quadratic_tensors(path, given, ROWS, limits) == ""


def test_scores_of_all_tokens_grow_as_length_squared(tmp_path: Path, exported: Exported) -> None:
    nodes = [
        onnx.helper.make_node("Cast", [names.INPUT_IDS], ["x"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["turned", "x"], ["scores"]),
        onnx.helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        onnx.helper.make_node("ReduceSum", ["weights"], [names.LOGITS]),
    ]
    declared = [
        onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.INT64, tensor.shape)
        for tensor in exported.bundle.manifest.variants[0].inputs
    ]
    output = onnx.helper.make_tensor_value_info(names.LOGITS, onnx.TensorProto.FLOAT, None)
    opsets = [onnx.helper.make_opsetid("", 20)]
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "dense", declared, [output]), opset_imports=opsets, ir_version=9
        ),
        tmp_path / "dense.onnx",
    )
    limits = exported.bundle.manifest.limits
    found = quadratic_tensors(tmp_path / "dense.onnx", exported.bundle.manifest.variants[0].inputs, ROWS, limits)
    assert found is not None
    assert "grow as length squared" in found


def test_graphs_use_standard_operators_and_take_any_batch_and_length(exported: Exported) -> None:
    for path in graphs_of(exported.bundle.path):
        model = onnx.load(path)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
        onnx.checker.check_model(str(path), full_check=True)
        for value in model.graph.input[:2]:
            assert [dimension.dim_param for dimension in value.type.tensor_type.shape.dim] == [
                "batch_size",
                "sequence_length",
            ]


def test_inputs_and_outputs_are_named_as_the_contract_says(exported: Exported) -> None:
    predict, explain = (
        onnx.load(exported.bundle.path / "onnx" / f"{name}.onnx", load_external_data=False)
        for name in ("model", "explain")
    )
    names = [
        [value.name for value in side]
        for graph in (predict, explain)
        for side in (graph.graph.input, graph.graph.output)
    ]
    assert names == [
        ["input_ids", "attention_mask"],
        ["logits"],
        ["input_ids", "attention_mask", "target"],
        ["logits", "relevance", "residual"],
    ]


def test_the_explain_graph_shares_the_weights(exported: Exported) -> None:
    folder = exported.bundle.path / "onnx"
    weights = exported.encoder.state_dict().values()
    bytes_of_weights = sum(tensor.nbytes for tensor in weights)
    graphs = {Path(graph.file).name for graph in exported.bundle.manifest.variants}
    assert {"explain.onnx", "model.onnx"} <= graphs
    assert {path.name for path in folder.iterdir()} == {*graphs, "model.onnx_data"}
    assert (folder / "model.onnx_data").stat().st_size < 1.1 * bytes_of_weights
    assert (folder / "explain.onnx").stat().st_size < 200_000


def test_no_file_holds_a_path_of_this_machine(exported: Exported) -> None:
    home, here = str(Path.home()), str(ROOT)
    for path in exported.bundle.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for trace in (home, here, "site-packages", ".py", str(exported.bundle.path.parent)):
                assert trace.encode() not in data, f"{trace} is in {path.name}"


@pytest.mark.parametrize(("name", "explain", "count"), [("linformer", ("attnlrp",), 8), ("longformer", (), 7)])
def test_two_exports_are_byte_identical(name: str, explain: tuple[str, ...], count: int, tmp_path: Path) -> None:
    encoder = small_encoder(name, layers=1)
    folders = (tmp_path / "one", tmp_path / "a-longer-name")
    one, other = (edgexf.export(encoder, output=folder, explain=explain).path for folder in folders)
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert len(files) == count
    for file in files:
        assert filecmp.cmp(one / file, other / file, shallow=False), f"{file} differs"


def test_a_model_of_ones_own_is_left_as_it_was(tmp_path: Path) -> None:
    encoder = small_encoder("reformer", layers=1).train()
    modules, weights = (
        dict(encoder.named_modules()),
        {name: tensor.clone() for name, tensor in encoder.state_dict().items()},
    )
    manifest = edgexf.export(encoder, output=tmp_path / "out", explain=()).manifest
    assert manifest.methods == ()
    assert manifest.labels == ("a", "b", "c")
    assert dict(encoder.named_modules()) == modules
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encoder.state_dict().items())


def rubbish_residual(self: GradientTimesInput, *inputs: Tensor, right: object = GradientTimesInput.forward) -> object:
    logits, relevance, residual = right(self, *inputs)  # type: ignore[operator]
    return logits, relevance, residual * 1.01


def forget_the_target(
    self: GradientTimesInput, ids: Tensor, mask: Tensor, target: Tensor, right: object = GradientTimesInput.forward
) -> object:
    return right(self, ids, mask, target * 0)  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [rubbish_residual, forget_the_target])
def test_a_wrong_explanation_never_becomes_a_bundle(
    wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GradientTimesInput, "forward", wrong)
    with pytest.raises(VerificationError) as caught:
        edgexf.export(small_encoder("linformer", layers=1), output=tmp_path / "out")
    assert max(row["outputs"] for row in caught.value.grid["rows"]) <= 1e-4  # only the prediction was right
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("attention", "length"), [(WindowedAttentionSpec(window=256), 300), (WindowedAttentionSpec(window=64), 100)]
)
def test_a_block_larger_than_the_position_step_or_a_third_of_the_model_is_exported(
    attention: WindowedAttentionSpec, length: int, tmp_path: Path
) -> None:
    encoder = build(replace(small_spec("longformer"), layers=1, attention=attention, max_length=length))
    assert edgexf.export(encoder, output=tmp_path / "out", explain=()).manifest.limits.max_length == length


class Odd(nn.Module):
    """A custom norm that does something to its input that a graph cannot represent."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, hidden: Tensor) -> Tensor:
        return self.act(hidden)


@pytest.mark.parametrize(
    ("act", "explain", "sentence"),
    [
        (lambda hidden: hidden * int(hidden[0, 0, 0].item() > 0), (), "must trace .*data-dependent"),
        (torch.special.bessel_j1, (), "must have a form in ONNX, got bessel_j1 at test_export_model"),
        (lambda hidden: hidden + hidden.heaviside(hidden), ("gradient",), "must be differentiable .*heaviside"),
    ],
)  # fmt: skip
def test_a_module_that_no_graph_can_hold_is_an_error_in_a_sentence(
    act: Callable[[Tensor], Tensor], explain: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    encoder = small_encoder("linformer", layers=1)
    encoder.norm = Odd(act)  # type: ignore[assignment]
    with pytest.raises(ExportError, match=sentence) as caught:
        edgexf.export(encoder, output=tmp_path / "out", explain=explain)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_stops_at_a_shape_is_an_error_in_a_sentence() -> None:
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch_size", "sequence_length"])
    out = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.INT64, None)
    shape = onnx.numpy_helper.from_array(np.array([2, 5]), "shape")
    fixed = onnx.helper.make_node("Reshape", ["input_ids", "shape"], ["logits"])
    graph = onnx.helper.make_graph([fixed], "fixed", [ids], [out], [shape])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString())
    assert run(session, {"input_ids": np.zeros((1, 10), np.int64)})["logits"].shape == (2, 5)
    with pytest.raises(ExportError, match=r"input_ids \[1, 7\]"):
        run(session, {"input_ids": np.zeros((1, 7), np.int64)})


def forget_the_mask(self: Projected, hidden: Tensor, mask: Tensor, right: object = Projected.forward) -> Tensor:
    return right(self, hidden, torch.ones_like(mask))  # type: ignore[operator, no-any-return]


def shift_the_window(self: Windowed, *given: object, right: object = Windowed.__init__) -> None:
    right(self, *given)  # type: ignore[operator]
    self.band = self.band.roll(1, dims=-1)


@pytest.mark.parametrize(
    ("name", "owner", "method", "wrong"),
    [("linformer", Projected, "forward", forget_the_mask), ("longformer", Windowed, "__init__", shift_the_window)],
)
def test_a_wrong_lowering_never_becomes_a_bundle(
    name: str, owner: type, method: str, wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, method, wrong)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small_encoder(name, layers=1), output=tmp_path / "out", explain=())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["linformer", "longformer"])
def test_weights_of_ones_own_are_exported_with_their_sizes(name: str, tmp_path: Path) -> None:
    save(small_encoder(name, layers=1), tmp_path / "own.safetensors")
    manifest = edgexf.export(
        variant=name, weights=tmp_path / "own.safetensors", output=tmp_path / "out", explain=()
    ).manifest
    assert manifest.limits.max_length == 100
    assert manifest.provenance["spec"] == replace(small_spec(name), layers=1).to_dict()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save(small_encoder("linformer"), path)
    with pytest.raises(ExportError, match="layers"):
        edgexf.export(variant="linformer", weights=path, sizes={"layers": 3}, output=tmp_path / "out")
    with pytest.raises(ExportError, match="transformer"):
        edgexf.export(variant="transformer", weights=path, output=tmp_path / "out")
    broken = build(small_spec("linformer"))
    with torch.no_grad():
        broken.norm.weight[0] = torch.nan
    save(broken, path)
    with pytest.raises(ExportError, match="not finite"):
        edgexf.export(variant="linformer", weights=path, output=tmp_path / "out")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(edgexf.errors.InputError, match="safetensors"):
        edgexf.export(variant="linformer", weights=path, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_choices_are_refused_before_any_work(tmp_path: Path) -> None:
    for choice in (
        {"variant": "performer"}, {}, {"variant": "linformer", "opset": 11}, {"variant": "linformer", "explain": ("magic",)},
        {"variant": "linformer", "sizes": {"layers": 3}}, {"variant": "linformer", "grid": "huge"}, {"source": 3},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            edgexf.export(**choice, output=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_config_names_every_label(linformer: Exported) -> None:
    config = json.loads((linformer.bundle.path / "config.json").read_text())
    assert [config["id2label"][str(index)] for index in range(20)] == list(linformer.bundle.manifest.labels)
