"""Other readers take bundles as they stand on disk: onnx's checker, ONNX Runtime at each level, transformers.js in Node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import Exported
from families import small
from image_families import small_image_model
from other_tools.browser_library import ANY, Job, answers, difference, install, jobs_of

import edgexf
from edgexf import bundle, names

TOLERANCE = 1e-4  # of an output's largest value: the contract's
# A bundle of each kind, and the class of transformers.js for its head; None where its registry lacks the model's type.
LOADERS = {"reference": None, "text": "AutoModelForMaskedLM", "image": "AutoModelForImageClassification"}


@pytest.fixture(scope="module")
def bundles(linformer: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    shutil.copytree(linformer.bundle.path, folder / "reference")
    edgexf.export(small("Bert", "ForMaskedLM"), output=folder / "text", max_length=20)
    edgexf.export(small_image_model("ResNet"), output=folder / "image", image_size=32)
    return folder


def inputs(folder: Path) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    given = [tensor.name for tensor in bundle.read(folder).variants[0].inputs]
    if given == ["pixel_values"]:
        return {"pixel_values": chance.standard_normal((2, 3, 32, 32)).astype(np.float32)}
    mask = (np.arange(12) < np.array([[12], [7]])).astype(np.int64)
    texts = {
        names.INPUT_IDS: chance.integers(5, 50, (2, 12)),
        names.ATTENTION_MASK: mask,
        names.TOKEN_TYPE_IDS: 0 * mask,
    }
    return {name: texts[name] for name in given}


def jobs(folder: Path, name: str) -> list[Job]:
    return jobs_of(folder / name, inputs(folder / name), [loader for loader in (ANY, LOADERS[name]) if loader])


@pytest.mark.parametrize("name", LOADERS)
def test_onnx_accepts_every_graph_with_full_checks(name: str, bundles: Path) -> None:
    for graph in bundle.read(bundles / name).variants:
        path = bundles / name / graph.file
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True, data_prop=True)
        assert [value.name for value in model.graph.output] == [output.name for output in graph.outputs]


@pytest.mark.parametrize("name", LOADERS)
def test_onnx_runtime_answers_alike_at_every_level(name: str, bundles: Path) -> None:
    for job in jobs(bundles, name)[: len(bundle.read(bundles / name).variants)]:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(job.folder / job.graph.file), options, providers=["CPUExecutionProvider"])
        found = session.run(None, job.inputs)
        for value, wanted in zip(found, job.expected().values(), strict=True):
            assert np.abs(value - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_transformers_js_loads_and_answers_every_graph(bundles: Path, tmp_path: Path) -> None:
    lacking = install(tmp_path / "package")
    if lacking:
        pytest.skip(lacking)
    all_jobs = [job for name in LOADERS for job in jobs(bundles, name)]
    found = answers(tmp_path / "package", all_jobs, tmp_path)
    said = [
        (job.folder.name, job.loader, job.file, answer.get("error"))
        for job, answer in zip(all_jobs, found, strict=True)
    ]
    assert [row for row in said if row[-1]] == []
    assert {(name, file) for name, _, file, _ in said} >= {
        (name, file) for name in LOADERS for file in ("model", "explain")
    }
    assert max(difference(job, answer) for job, answer in zip(all_jobs, found, strict=True)) <= TOLERANCE


def test_transformers_js_is_told_of_weights_by_file(bundles: Path) -> None:
    for name in LOADERS:
        told = json.loads((bundles / name / names.CONFIG_FILE).read_text())[names.JS_CONFIG]
        beside = {path.name.removesuffix("_data") for path in (bundles / name / "onnx").glob("*_data")}
        assert told["use_external_data_format"] == dict.fromkeys(sorted(beside), True)
