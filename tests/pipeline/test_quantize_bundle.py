"""A bundle after `edgexf quantize`: its files, outputs, explanations, and the figures in its reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import Exported
from shrunk import FILES, SHORT, listing, outcomes, rewritten

import edgexf
from edgexf import bundle, names
from edgexf.bundle.folder import entry_of
from edgexf.bundle.profile import read_profile, written_profile
from edgexf.dtypes import FP32, dtype_named, preferred
from edgexf.errors import BundleError
from edgexf.passes.quantize import scales
from edgexf.passes.quantize.modes import modes
from edgexf.pipeline.measure_mode import LEAST_CORRELATION, LEAST_OVERLAP
from edgexf.pipeline.quantize_bundle import Request, quantize
from edgexf.pipeline.verify_bundle import verify
from edgexf.report.ranks import spearman
from edgexf_runtimes.measure.agreement import Case, compare_relevance
from edgexf_runtimes.measure.evaluation import data_of, explained_cases

pytestmark = pytest.mark.slow  # exports or runs many models

TRIED = [mode for mode in modes().values() if not mode.needs_calibration]
SUFFIXES = {dtype: dtype_named(dtype).suffix for dtype in (FP32, *(mode.dtype for mode in TRIED))}


@pytest.fixture(scope="module")
def quantized(linformer: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained linformer in every mode that needs no calibration data, whatever this machine's clock says of them."""
    folder = tmp_path_factory.mktemp("quantized") / "bundle"
    shutil.copytree(linformer.bundle.path, folder)
    evaluate = listing(folder.parent, labelled=True)
    for mode in TRIED:
        quantize(folder, Request(mode.name, evaluate=evaluate, max_drop=0.2, force=True, lengths=SHORT))
    return folder


def test_graphs_that_differ_too_much_are_built_again_with_finer_scales(
    linformer: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scales of layers are made so coarse that the first graphs fail; those of tables stay."""
    folder = tmp_path / "bundle"
    shutil.copytree(linformer.bundle.path, folder)
    exact = scales.of_layer
    monkeypatch.setattr(scales, "of_layer", lambda weight, axis: 1000 * exact(weight, axis))
    (outcome,) = quantize(folder, Request("int8", lengths=SHORT, force=True))
    assert outcome.worst < outcome.tolerance
    assert outcome.unsigned
    model = onnx.load(folder / "onnx" / "model_quantized.onnx", load_external_data=False)
    assert onnx.TensorProto.UINT8 in {one.data_type for one in model.graph.initializer}


def test_files_have_the_names_that_hub_and_browser_know(quantized: Path) -> None:
    there = {path.name for path in (quantized / "onnx").iterdir()}
    wanted = {"model", "explain", "explain_gradient"}
    assert there == {f"{name}{suffix}.onnx" for name in wanted for suffix in SUFFIXES.values()} | {
        f"model{suffix}.onnx_data" for suffix in SUFFIXES.values()
    }
    graph = onnx.load(quantized / "onnx" / "explain_q4.onnx", load_external_data=False)
    assert {one.key: one.value for one in graph.metadata_props} == {"edgexf.mode": "q4", "edgexf.dtype": "q4"}
    assert [graph.dtype for graph in bundle.read(quantized).variants] == [dtype for dtype in SUFFIXES for _ in range(3)]


def test_the_profile_knows_the_nodes_and_operations_of_every_graph(quantized: Path) -> None:
    manifest = bundle.read(quantized)  # checks the hashes of all files
    (path,) = {graph.profile for graph in manifest.variants}
    graphs = read_profile((quantized / path).read_bytes())
    assert set(graphs) == {graph.file for graph in manifest.variants}
    fp32 = {graph.method: graphs[graph.file] for graph in manifest.in_dtype(FP32).variants}
    for graph in manifest.variants:
        found, before = graphs[graph.file], fp32[graph.method]
        nodes = {one.name: one for one in onnx.load(quantized / graph.file, load_external_data=False).graph.node}
        assert set(found.modules) <= set(nodes)
        assert set(found.modules.values()) <= {*before.modules.values(), *around(before.modules.values())}
        unknown = {name for name in nodes if name not in found.modules}
        assert not {nodes[name].op_type for name in unknown} & {"MatMul", "MatMulInteger", "MatMulNBits", "Gemm"}
        sizes = {"batch_size": 3, "sequence_length": 333}
        operations, needed = (one.operations.at(sizes) for one in (found, before) if one.operations is not None)
        assert sum(operations.values()) >= sum(needed.values())  # a balanced layer has some rows more
        assert sum(operations.values()) < 1.02 * sum(needed.values())
        assert ("int8" in operations) == (graph.dtype in ("q8", "q4", "q4f16"))


def around(paths: Iterable[str]) -> set[str]:
    """All modules around modules."""
    return {"", *(path.rsplit(".", count)[0] for path in paths for count in range(path.count(".") + 1))}


def test_a_dtype_that_is_made_anew_replaces_what_the_profile_says_of_it(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)
    before = read_profile((folder / names.PROFILE_FILE).read_bytes())
    stale = {path: replace(graph, modules={}) if "_q4." in path else graph for path, graph in before.items()}
    (folder / names.PROFILE_FILE).write_bytes(written_profile(stale))
    entry = entry_of((folder / names.PROFILE_FILE).read_bytes())
    rewritten(folder, lambda values: values["files"].update({names.PROFILE_FILE: entry}))
    quantize(folder, Request("q4", force=True, overwrite=True, lengths=SHORT))
    bundle.read(folder)
    assert read_profile((folder / names.PROFILE_FILE).read_bytes()) == before


def test_a_profile_that_cannot_be_read_is_told_before_the_work(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)
    (folder / names.PROFILE_FILE).write_bytes(b'{"schema_version":3}')
    entry = entry_of(b'{"schema_version":3}')
    rewritten(folder, lambda values: values["files"].update({names.PROFILE_FILE: entry}))
    with pytest.raises(BundleError, match=r"^a profile must hold graphs and the schema_version 2"):
        quantize(folder, Request("q4", overwrite=True, lengths=SHORT))


def test_an_older_bundle_without_a_profile_stays_without(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)

    def without(values: dict[str, Any]) -> None:
        for graph in values["variants"]:
            del graph["profile"]
        del values["files"][names.PROFILE_FILE]

    (folder / names.PROFILE_FILE).unlink()
    rewritten(folder, without)
    quantize(folder, Request("q4", force=True, overwrite=True, lengths=SHORT))
    manifest = bundle.read(folder)
    assert names.PROFILE_FILE not in manifest.files
    assert {graph.profile for graph in manifest.variants} == {""}


def test_predict_and_explain_together_are_less_than_a_third(quantized: Path) -> None:
    """Weights are stored once for both graphs, and once for the forward and the reverse part."""
    sizes = {path.name: path.stat().st_size for path in (quantized / "onnx").iterdir()}

    def pair(suffix: str) -> int:
        return sum(sizes[f"{name}{suffix}.onnx"] for name in ("model", "explain")) + sizes[f"model{suffix}.onnx_data"]

    assert pair("_quantized") < pair("") / 3
    assert pair("_q4") < 0.25 * pair("")
    assert pair("_q4f16") < pair("_q4")  # scales of half the size


def test_a_quantized_bundle_verifies_and_loads_without_edgexf(quantized: Path) -> None:
    verdict = verify(quantized)
    assert verdict.passed
    assert [part.dtype for part in verdict.parts] == list(SUFFIXES)
    for graph in bundle.read(quantized).variants:
        onnx.checker.check_model(str(quantized / graph.file), full_check=True)
        ort.InferenceSession(str(quantized / graph.file), providers=["CPUExecutionProvider"])


def test_relevance_at_padding_fails_in_every_dtype(quantized: Path, tmp_path: Path) -> None:
    """Even a tiny relevance at padding fails, because padding is no token and explains nothing."""
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)
    path = folder / "onnx" / "explain_quantized.onnx"
    model = onnx.load(path, load_external_data=False)
    (producer,) = (node for node in model.graph.node if "relevance" in node.output)
    producer.output[list(producer.output).index("relevance")] = "before"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1e-12), "tiny"))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "tiny"], ["relevance"]))
    onnx.save(model, path)
    rewritten(
        folder,
        lambda values: values["files"].update({"onnx/explain_quantized.onnx": entry_of(path.read_bytes())}),
    )
    assert [part.dtype for part in verify(folder).parts if not part.passed] == ["q8"]


@pytest.mark.parametrize("dtype", [mode.dtype for mode in TRIED])
@pytest.mark.parametrize("method", ["attnlrp", "gradient"])
def test_relevance_keeps_its_ranks(quantized: Path, dtype: str, method: str) -> None:
    """The issue's own bounds, on real files and at lengths never traced."""
    with edgexf.load(quantized, dtype="fp32") as reference, edgexf.load(quantized, dtype=dtype) as other:
        found = []
        for path in FILES:
            label = reference.predict(path)[0].label  # type: ignore[union-attr]
            one, two = (session.explain(path, label, method).scores for session in (reference, other))
            tops = [set(np.argsort(-np.abs(scores))[:5].tolist()) for scores in (one, two)]
            found.append((spearman(one.astype(float), two.astype(float)), len(tops[0] & tops[1]) / 5))
    assert np.mean([value for value, _ in found]) >= LEAST_CORRELATION
    assert np.mean([value for _, value in found]) >= LEAST_OVERLAP


def test_the_explain_graph_answers_as_the_predict_graph_does(quantized: Path) -> None:
    """The outputs agree within the rounding of activations to 8 bits.

    A value half way between two steps may go up or down.
    """
    with edgexf.load(quantized, dtype="q8") as session:
        inputs = session.encode([FILES[0]])
        one, two = session.run(**inputs)["logits"], session.run_explain(**inputs)["logits"]
    assert np.abs(one - two).max() < 0.02 * np.abs(one).max()


def test_an_answer_in_q8_does_not_depend_on_what_is_asked_with_it(quantized: Path) -> None:
    """The outputs are equal bit for bit, as in the measurements, so the runtime runs rows alone.

    The graph would round all rows of a run within one range.
    """
    with edgexf.load(quantized, dtype="q8") as session:
        together = session.predict(FILES)
        alone = [session.predict([path])[0] for path in FILES]
        inputs = session.encode([path.read_bytes()[:64] for path in FILES[:3]])
        rows = session.run(**inputs)["logits"]
        first = session.run(**{name: array[:1] for name, array in inputs.items()})["logits"]
    assert [one.score for one in together] == [one.score for one in alone]  # type: ignore[union-attr]
    assert (rows[:1] != first).any()  # otherwise rows would be independent and could run together


def test_the_config_says_what_was_done_and_measured(quantized: Path) -> None:
    found = outcomes(quantized)["int8"]
    assert found.dtype == "q8"
    assert found.bytes == sum(
        path.stat().st_size for path in (quantized / "onnx").iterdir() if "_quantized" in path.name
    )
    assert {layer.name for layer in found.layers} >= {
        "tokens.weight",
        "layers.0.attention.projection",
        "classifier.weight",
    }
    assert all(layer.products + layer.rows + layer.reads > 0 or layer.skipped for layer in found.layers)
    projection = next(layer for layer in found.layers if layer.name == "layers.0.attention.projection")
    assert projection.products == 2  # one product for the keys, one for the values
    assert found.fp32_metric is not None
    assert 0 < found.worst <= found.tolerance
    assert [row.method for row in found.explain] == ["attnlrp", "gradient"]
    assert found.machine["threads used"] == str(len(__import__("os").sched_getaffinity(0)))


def test_card_and_browser_config_follow(quantized: Path) -> None:
    card = (quantized / names.CARD_FILE).read_text()
    assert card.count("## Quantized graphs") == 1
    assert all(f"| {mode.name} |" in card for mode in TRIED)
    told = json.loads((quantized / names.CONFIG_FILE).read_text())["transformers.js_config"]
    found = {outcome.dtype: outcome for outcome in outcomes(quantized).values()}
    fast = [dtype for dtype in preferred("webgpu") if found[dtype].verdict == "kept" or found[dtype].only_slow]
    assert told == {
        "dtype": "q8" if found["q8"].verdict == "kept" else "fp32",
        "use_external_data_format": {
            path.name: True for path in (quantized / "onnx").glob("*.onnx") if path.with_suffix(".onnx_data").exists()
        },
        "device_config": {"webgpu": {"dtype": fast[0]}},
    }
    assert fast == ["q4f16", "fp16"]  # the smaller one first


def test_graphs_that_are_quantized_already_are_refused(quantized: Path, tmp_path: Path) -> None:
    """The bundle has an int8 graph in the place of the fp32 graph."""
    copied = tmp_path / "bundle"
    shutil.copytree(quantized, copied)
    for file in ("model.onnx", "model.onnx_data"):
        stem, _, kind = file.partition(".")
        (copied / "onnx" / file).write_bytes((quantized / "onnx" / f"{stem}_quantized.{kind}").read_bytes())

    def change(values: dict[str, Any]) -> None:
        for file in ("onnx/model.onnx", "onnx/model.onnx_data"):
            values["files"][file] = entry_of((copied / file).read_bytes())

    rewritten(copied, change)
    with pytest.raises(BundleError, match="must not be quantized yet"):
        quantize(copied, Request("fp16", overwrite=True))


def test_a_config_that_was_tampered_with_is_not_trusted(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)
    for content in (
        b"{}",
        b'{"schema_version": 9, "modes": {}}',
        b'{"schema_version": 1, "modes": {"int8": {}}}',
        b"[",
    ):
        (folder / names.QUANTIZE_FILE).write_bytes(content)
        rewritten(
            folder,
            lambda values, content=content: values["files"].update({names.QUANTIZE_FILE: entry_of(content)}),
        )
        with pytest.raises(BundleError, match=names.QUANTIZE_FILE):
            edgexf.load(folder)


def test_explanations_are_compared_on_golden_inputs_where_a_users_are_too_short(
    quantized: Path, tmp_path: Path
) -> None:
    """If the report had no figure, a broken explain graph would pass."""
    path = tmp_path / "mixed.jsonl"
    manifest, short, long = bundle.read(quantized), [257, 65, 66], [257, *range(30)]
    found = []
    for rows in ([short], [short, long]):
        path.write_text("\n".join(json.dumps({"input_ids": ids}) for ids in rows))
        with edgexf.load(quantized, dtype="fp32") as session:
            found.append(explained_cases(manifest, data_of(session, path)))
    golden, own = found
    assert [case.length for case in own] == [31]
    assert max(case.length for case in golden) == manifest.limits.max_length


def test_rows_of_a_few_tokens_are_not_compared(quantized: Path) -> None:
    """All tokens of such rows are among the strongest in every explanation."""
    with edgexf.load(quantized, dtype="fp32") as reference, edgexf.load(quantized, dtype="q8") as other:
        ids = np.full((2, 20), 65)
        mask = np.zeros((2, 20), dtype=np.int64)
        mask[0], mask[1, :3] = 1, 1
        found = compare_relevance(
            reference, other, "attnlrp", Case(reference.checked({"input_ids": ids, "attention_mask": mask}))
        )
    assert len(found) == 1
