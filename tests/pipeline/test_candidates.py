"""Candidates: other graphs that answer the same. A wrong one never becomes a bundle, and never runs by itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from small import small_encoder
from transformers import BertConfig, BertForSequenceClassification

import edgexf
from edgexf import bundle, names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.graphs import PORTABLE
from edgexf.bundle.profile import read_profile
from edgexf.cli.app import main
from edgexf.errors import DeviceError, ExportWarning, UsageError, VerificationError
from edgexf.models.weights import save
from edgexf_exporters.trace import fused
from edgexf_exporters.trace.forms import FORMS
from edgexf_runtimes import Session

pytestmark = pytest.mark.slow  # exports or runs many models

ORT_CPU = "ort-cpu"
FILES = {form.name: f"onnx/model_{form.name.replace('-', '_')}.onnx" for form in FORMS}
FORCED: dict[str, Any] = {"mode": "int8", "force": True, "lengths": (8,)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("candidates") / "bundle"
    return edgexf.export(small_encoder("transformer", layers=1), output=folder, ops=ORT_CPU, candidates=True)


@pytest.fixture
def copied(whole: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.path, tmp_path / "copy"))


def predict_file(session: Session) -> str:
    return session.manifest.variants[0].file


def operators(path: Path) -> set[str]:
    return {one.domain for one in onnx.load(path, load_external_data=False).opset_import}


def graph_of(folder: Path, file: str) -> onnx.GraphProto:
    return onnx.load(folder / file, load_external_data=False).graph


def broken(folder: Path, name: str) -> None:
    """Replaces the predict graph of a candidate by one that answers otherwise, with all hashes in order."""
    manifest = bundle.read(folder)
    file = FILES[name]
    model = onnx.load(folder / file, load_external_data=False)
    model.graph.node[-1].output[0], model.graph.output[0].name = "found", "found"
    model.graph.node.append(onnx.helper.make_node("Neg", ["found"], [names.LOGITS]))
    model.graph.output[0].name = names.LOGITS
    bundle.revise(folder, {file: model.SerializeToString()}, [], manifest, manifest)


def test_every_form_is_a_candidate_beside_a_portable_graph(whole: Bundle) -> None:
    assert [one.name for one in whole.manifest.candidates] == [form.name for form in FORMS]
    assert [one.name for one in whole.manifest.candidates if one.preferred] == [ORT_CPU]
    assert sorted(path.name for path in whole.path.rglob("model.onnx*")) == ["model.onnx", "model.onnx_data"]
    assert operators(whole.path / names.PREDICT_FILE) == {""}
    assert operators(whole.path / FILES[ORT_CPU]) == {"", "com.microsoft"}
    assert {path.suffix for path in (whole.path / "onnx").iterdir()} == {".onnx", ".onnx_data"}
    assert len([*(whole.path / "onnx").glob("*_data")]) == 1
    graphs = [graph for one in whole.manifest.candidates for graph in one.graphs]
    assert {graph.method for graph in graphs} == {names.PREDICT, "attnlrp"}
    assert sum("pass the same grid" in check for check in whole.manifest.grid["checks"]) == len(FORMS)


def test_verify_runs_the_golden_inputs_by_every_candidate(copied: Path) -> None:
    parts = edgexf.verify(copied).parts
    assert [part.name for part in parts] == ["fp32", *(f"fp32 {form.name}" for form in FORMS)]
    assert all(part.passed for part in parts)
    broken(copied, "queries-64")
    failed = [part.name for part in edgexf.verify(copied).parts if not part.passed]
    assert failed == ["fp32 queries-64"]


def test_verify_says_that_a_candidate_does_not_open_here(copied: Path) -> None:
    manifest = bundle.read(copied)
    bundle.revise(copied, {FILES["ort-cuda"]: b"no graph"}, [], manifest, manifest)
    verdict = edgexf.verify(copied)
    assert verdict.passed
    assert [part.name for part in verdict.parts if part.unopened] == ["fp32 ort-cuda"]


def test_a_session_prefers_what_the_export_was_asked_for(copied: Path) -> None:
    with edgexf.load(copied) as preferred, edgexf.load(copied, candidate=PORTABLE) as portable:
        assert (predict_file(preferred), predict_file(portable)) == (FILES[ORT_CPU], names.PREDICT_FILE)
        given = np.arange(60).reshape(2, 30) % 256
        mask = np.ones_like(given)
        for real in (30, 7):
            mask[1, real:] = 0
            one, two = (session.run(input_ids=given, attention_mask=mask) for session in (preferred, portable))
            assert np.abs(one[names.LOGITS] - two[names.LOGITS]).max() <= 1e-5  # float32 sums in another order
        assert preferred.explain("why").scores == pytest.approx(portable.explain("why").scores, abs=1e-4)
    with edgexf.load(copied, candidate="queries-512") as named:
        assert predict_file(named) == FILES["queries-512"]


def test_a_preferred_candidate_that_answers_otherwise_does_not_run(copied: Path) -> None:
    broken(copied, ORT_CPU)
    with pytest.raises(DeviceError, match="must answer its golden inputs"):
        edgexf.load(copied, candidate=ORT_CPU)
    with edgexf.load(copied) as session:
        assert predict_file(session) == names.PREDICT_FILE


def test_a_quantized_dtype_has_candidates_made_of_their_own_graphs(copied: Path) -> None:
    edgexf.quantize(copied, **FORCED)
    manifest = bundle.read(copied)
    assert [one.name for one in manifest.candidates] == [form.name for form in FORMS]
    for one in manifest.candidates:
        held = [(graph.dtype, graph.method) for graph in one.graphs]
        assert held == [(dtype, method) for dtype in ("fp32", "q8") for method in (names.PREDICT, "attnlrp")]
    quantized = [path for path in manifest.files if "_quantized" in path]
    assert len(quantized) == 2 * (1 + len(FORMS)) + 1
    assert "DequantizeLinear" in {node.op_type for node in graph_of(copied, "onnx/model_ort_cpu_quantized.onnx").node}
    known = read_profile((copied / names.PROFILE_FILE).read_bytes())
    assert {graph.file for one in manifest.candidates for graph in one.graphs} <= set(known)
    assert all(part.passed for part in edgexf.verify(copied).parts)
    with edgexf.load(copied, dtype="q8") as session, edgexf.load(copied, dtype="q8", candidate=PORTABLE) as portable:
        assert predict_file(session) == "onnx/model_ort_cpu_quantized.onnx"
        assert session.explain("why").scores == pytest.approx(portable.explain("why").scores, abs=0.05)
    edgexf.quantize(copied, overwrite=True, **FORCED)
    assert bundle.read(copied).candidates == manifest.candidates


def test_a_candidate_that_answers_otherwise_in_a_dtype_is_left_out_of_it(copied: Path) -> None:
    broken(copied, "queries-64")
    edgexf.quantize(copied, **FORCED)
    manifest = bundle.read(copied)
    assert {one.name for one in manifest.candidates if one.in_dtype("q8") is None} == {"queries-64"}
    assert "onnx/model_queries_64_quantized.onnx" not in manifest.files


def test_a_mode_that_converts_whole_graphs_makes_no_candidates(copied: Path) -> None:
    edgexf.quantize(copied, **{**FORCED, "mode": "fp16"})
    manifest = bundle.read(copied)
    assert {graph.dtype for one in manifest.candidates for graph in one.graphs} == {"fp32"}
    known = read_profile((copied / names.PROFILE_FILE).read_bytes())
    assert {graph.file for one in manifest.candidates for graph in one.graphs} <= set(known)
    with pytest.raises(UsageError, match="in which the bundle holds the candidate ort-cpu"):
        edgexf.load(copied, dtype="fp16", candidate=ORT_CPU)


def test_an_unknown_candidate_is_named_with_those_that_there_are(whole: Bundle) -> None:
    with pytest.raises(UsageError, match="portable, ort-cpu, ort-cuda, queries-64"):
        edgexf.load(whole.path, candidate="queries-7")


def test_a_wrong_candidate_never_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fused.attention
    monkeypatch.setattr(
        fused, "attention", lambda query, key, value: right(query, query, value) if key is not query else 0
    )
    with pytest.raises(VerificationError, match="graphs of ort-cpu pass the same grid"):
        edgexf.export(small_encoder("transformer", layers=1), output=tmp_path / "out", explain=(), ops=ORT_CPU)
    assert not (tmp_path / "out").exists()


def test_a_model_without_full_attention_says_that_it_has_no_candidate(tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="no candidate was written"):
        found = edgexf.export(
            small_encoder("linformer", layers=1), output=tmp_path / "out", explain=(), candidates=True
        )
    assert found.manifest.candidates == ()


def test_unknown_operators_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="ops must be one of portable, ort-cpu, ort-cuda"):
        edgexf.export(variant="transformer", ops="cuda")


def test_two_candidates_of_one_name_or_of_other_inputs_are_no_manifest(whole: Bundle) -> None:
    one = whole.manifest.candidates[0]
    with pytest.raises(ValueError, match="different names"):
        replace(whole.manifest, candidates=(one, one))
    other = replace(one.graphs[0], outputs=one.graphs[1].outputs)
    with pytest.raises(ValueError, match="inputs and outputs of a graph of the bundle"):
        replace(whole.manifest, candidates=(replace(one, graphs=(other,)),))


def test_a_model_of_transformers_has_candidates_that_explain(tmp_path: Path) -> None:
    """Its graphs have constants whose names are those of values inside the branches."""
    config = BertConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=1, vocab_size=50, max_position_embeddings=1100
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    found = edgexf.export(model, output=tmp_path / "out", ops=ORT_CPU, max_length=300)
    assert [graph.method for graph in found.manifest.candidates[0].graphs] == [names.PREDICT, "attnlrp"]
    assert edgexf.verify(found.path).passed


def test_the_prompt_names_the_candidates_or_says_that_there_are_none(tmp_path: Path) -> None:
    said = exported_at_the_prompt(tmp_path / "one", "transformer", "--ops", ORT_CPU)
    assert "candidates: ort-cpu" in said
    said = exported_at_the_prompt(tmp_path / "two", "linformer", "--candidates")
    assert "note: no candidate was written" in said


def exported_at_the_prompt(target: Path, name: str, *options: str) -> str:
    """What `edgexf export` says of a small reference model with random weights."""
    weights = target.with_suffix(".safetensors")
    save(small_encoder(name, layers=1), weights)
    given = ["export", "--variant", name, "--weights", str(weights), "--explain", "none", "-o", str(target), *options]
    found = CliRunner().invoke(main, given)
    assert found.exit_code == 0, found.output
    return found.output
