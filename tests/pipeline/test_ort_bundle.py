"""The .ort files of a bundle: the same answers as its ONNX files, listed, checked, and gone where their graphs change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime.tools.reduced_build_config_parser import parse_config
from small import prompt, random_ids, small_encoder

import edgexf
from edgexf import bundle, names
from edgexf.cli import main
from edgexf.pipeline.ort_bundle import to_ort
from edgexf.pipeline.ort_format import in_ort_format

SAME = 1e-6  # of the largest logit: ONNX files are optimized further at load, which rounds otherwise
LEVELS = ort.GraphOptimizationLevel


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ort") / "bundle"
    edgexf.export(small_encoder("linformer", layers=1), output=folder)
    done = prompt().invoke(main, ["ort", str(folder)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "onnx/explain.ort", "onnx/model.ort", "onnx/required_operators.config",
    ]  # fmt: skip
    return folder


def answers(path: Path, feeds: dict[str, Any], level: Any = LEVELS.ORT_ENABLE_ALL) -> dict[str, Any]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    found = session.run(None, {name: value for name, value in feeds.items() if name in wanted})
    return dict(zip(outputs, found, strict=True))


@pytest.mark.parametrize(("rows", "length"), [(1, 2), (3, 77), (2, 100)])
def test_answers_are_those_of_the_onnx_files(rows: int, length: int, converted: Path) -> None:
    feeds = {
        "input_ids": random_ids(rows, length, seed=length),
        "attention_mask": (np.arange(length) < np.linspace(length, length // 2, rows)[:, None]).astype(np.int64),
        "target": np.zeros((rows, 3), np.float32),
    }
    for graph in bundle.read(converted).variants:
        there = answers(converted / names.ort_file(graph.file), feeds)
        usual = answers(converted / graph.file, feeds)
        same_level = answers(converted / graph.file, feeds, LEVELS.ORT_ENABLE_BASIC)
        assert list(there) == list(usual)
        for name, found in there.items():
            assert np.array_equal(found, same_level[name])
            assert np.abs(found - usual[name]).max() <= SAME * np.abs(usual["logits"]).max()


def test_both_forms_are_verified_on_the_golden_cells(converted: Path) -> None:
    verdict = edgexf.verify(converted)
    assert verdict.passed
    assert [part.name for part in verdict.parts] == ["fp32", "fp32 .ort"]
    assert [len(part.rows) for part in verdict.parts] == [len(verdict.rows)] * 2
    done = prompt().invoke(main, ["verify", str(converted)])
    assert "fp32 .ort: worst relative difference" in done.stdout


def test_a_file_of_another_graph_does_not_verify(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(converted, folder)
    weights = folder / names.WEIGHTS_FILE
    kept = weights.read_bytes()
    weights.write_bytes((np.frombuffer(kept, np.float32) * np.float32(1.01)).tobytes())
    other = in_ort_format(folder / names.PREDICT_FILE)
    weights.write_bytes(kept)
    manifest = bundle.read(folder)
    bundle.revise(folder, {names.ort_file(names.PREDICT_FILE): other}, (), manifest, manifest)
    verdict = edgexf.verify(folder)
    assert [part.passed for part in verdict.parts] == [True, False]


def test_the_list_of_operators_is_what_a_reduced_build_reads(converted: Path) -> None:
    path = converted / names.OPERATORS_FILE
    operators, types = parse_config(str(path), True)
    found = set.union(*operators["ai.onnx"].values())
    assert list(operators) == ["ai.onnx"]  # standard operators alone, which any provider of a phone may take
    assert {"MatMul", "Softmax", "LayerNormalization", "Gather"} <= found
    assert types is not None
    plain, _ = parse_config(str(path), False)
    assert plain == operators
    assert re.findall(r"^# - (.*)$", path.read_text(), re.MULTILINE) == [
        "onnx/explain.ort", "onnx/model.ort",
    ]  # fmt: skip


def test_the_files_are_listed_and_read_by_every_session(converted: Path) -> None:
    manifest = bundle.read(converted)
    assert {"onnx/model.ort", names.OPERATORS_FILE} <= set(manifest.files)
    with edgexf.load(converted) as session:
        assert session.predict([b"#!/bin/sh\n"])[0].label
    assert len(list(converted.rglob("model.onnx"))) == 1


@pytest.mark.parametrize(
    ("options", "words"), [((), ("once", "--overwrite")), (("--overwrite", "--dtype", "q8"), ("fp32", "q8"))]
)
def test_a_wrong_choice_is_refused_before_the_work(
    options: tuple[str, ...], words: tuple[str, ...], converted: Path
) -> None:
    before = (converted / names.MANIFEST_FILE).read_bytes()
    done = prompt().invoke(main, ["ort", str(converted), *options])
    assert (done.exit_code, done.stdout) == (2, "")
    assert [word for word in words if word not in done.stderr] == []
    assert (converted / names.MANIFEST_FILE).read_bytes() == before


def test_files_go_where_their_graphs_are_made_anew(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(converted, folder)
    quantize = ["quantize", str(folder), "--mode", "int8", "--force", "--lengths", "32"]
    done = prompt().invoke(main, quantize)
    assert (done.exit_code, ".ort" in done.stderr) == (0, False)
    assert "onnx/model.ort" in bundle.read(folder).files  # its graph is as it was
    to_ort(folder, ["q8"], overwrite=True)
    files = bundle.read(folder).files
    assert [path for path in files if path.endswith(".ort")] == [
        "onnx/explain_quantized.ort", "onnx/model_quantized.ort",
    ]  # fmt: skip
    assert [part.name for part in edgexf.verify(folder).parts] == ["fp32", "q8", "q8 .ort"]
    done = prompt().invoke(main, [*quantize, "--overwrite"])
    assert done.exit_code == 0
    assert "run `edgexf ort` again" in done.stderr
    assert names.ort_files(bundle.read(folder).files) == []
    assert edgexf.verify(folder).passed
