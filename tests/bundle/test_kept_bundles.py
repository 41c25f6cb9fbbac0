"""Bundles that earlier versions of edgexf wrote: they load, pass their golden outputs, and give the stored outputs.

tests/data/bundles/README.md says how they were made. For float32 the tolerance comes from the manifest. For quantized
graphs it is the tolerance of the mode, because their kernels differ between processors.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.bundle.manifest import Manifest
from edgexf.errors import BundleError
from edgexf_runtimes.device import dtype as dtypes

pytestmark = pytest.mark.slow  # exports or runs many models

KEPT = sorted(path.parent for path in (DATA / "bundles").glob("v*/*/edgexf.json"))
TEXT = "the cat sat on the mat and saw a dog"


def tolerance(path: Path, dtype: str) -> float:
    return dtypes.tolerance(path, edgexf.bundle.read(path), dtype)


def close(found: Any, wanted: Any, within: float) -> bool:
    """Returns whether the largest difference is within the share `within` of the largest wanted value."""
    return bool(np.abs(np.subtract(found, wanted)).max() <= within * max(np.abs(wanted).max(), 1e-30))


def answers(path: Path) -> dict[tuple[str, str], dict[str, dict[str, np.ndarray[Any, Any]]]]:
    """Reads the stored arrays: for each run and dtype the inputs, and the outputs of each graph by name."""
    found: dict[tuple[str, str], dict[str, dict[str, np.ndarray[Any, Any]]]] = {}
    with np.load(path.with_suffix(".npz")) as stored:
        for key in stored.files:
            run, dtype, graph, name = (*key.split("/"), "")[:4]
            found.setdefault((run, dtype), {}).setdefault(graph, {})[name] = stored[key]
    return found


def test_a_bundle_of_every_kind_is_kept() -> None:
    assert len(KEPT) == 10


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_bundle_passes_its_golden_outputs(path: Path) -> None:
    assert edgexf.verify(path).passed


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_bundle_answers_arrays_as_it_did(path: Path) -> None:
    compared = 0
    for (run, dtype), graphs in answers(path).items():
        if run == "text":
            continue
        within = tolerance(path, dtype)
        with edgexf.load(path, dtype=dtype) as session:
            inputs = graphs.pop("input")
            for method, wanted in graphs.items():
                if method == "run":
                    found = session.run(**inputs)
                else:
                    position = {"position": np.zeros(len(wanted["residual"]), np.int64)}
                    asked = any(tensor.name == "position" for tensor in session.manifest.targets(method))
                    found = session.run_explain(method=method, **inputs, **(position if asked else {}))
                for name, array in wanted.items():
                    scale = wanted if name != "residual" else {name: np.append(array, wanted["relevance"].max())}
                    assert found[name].shape == array.shape
                    assert close(found[name], array, within * float(np.abs(scale[name]).max() / np.abs(array).max()))
                    compared += 1
    assert compared >= 2


@pytest.mark.parametrize(
    "path", [path for path in KEPT if path.with_suffix(".json").stat().st_size > 3], ids=lambda path: path.name
)
def test_a_kept_bundle_answers_text_as_it_did(path: Path) -> None:
    said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    stored = answers(path)
    for key, wanted in said.items():
        dtype, what = key.split("/")
        with edgexf.load(path, dtype=dtype) as session:
            reads_text = session.manifest.preprocess.kind == "text"
            given = TEXT if reads_text else TEXT.encode()
            if what == "predict":
                (answer,) = session.predict([given])
                assert answer.label == wanted["label"]
                assert close(answer.score, wanted["score"], tolerance(path, dtype))
                continue
            tagged = any(tensor.name == "position" for tensor in session.manifest.targets(session.method(None)))
            why = session.explain(given, **({"position": 2} if tagged else {}))
            assert (list(why.tokens), [list(offset) for offset in why.offsets]) == (wanted["tokens"], wanted["offsets"])
            assert why.target == wanted["target"]
            assert close(why.scores, stored["text", dtype]["scores"][""], tolerance(path, dtype))


def test_a_changed_copy_is_refused(tmp_path: Path) -> None:
    """A graph with a changed byte does not load, so the tests above can fail."""
    copied = tmp_path / "copied"
    shutil.copytree(KEPT[0], copied)
    graph = copied / "onnx" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    with pytest.raises(BundleError):
        edgexf.load(copied)


def renamed(part: Any, old: str, new: str) -> Any:
    """JSON values with one string in the place of another."""
    if isinstance(part, dict):
        return {key: renamed(value, old, new) for key, value in part.items()}
    if isinstance(part, list):
        return [renamed(value, old, new) for value in part]
    return new if part == old else part


def test_an_axis_that_its_user_called_by_a_new_name_stays_apart_from_the_old_one() -> None:
    """Two axes of one name would be a signature that nobody can read."""
    values = json.loads((DATA / "bundles" / "v1" / "module" / "edgexf.json").read_text(encoding="utf-8"))
    del values["digest"]
    values["signature"]["axes"].append({"name": "sequence_length", "least": 1, "most": 9, "step": 1})
    values["variants"][0]["inputs"].append({"name": "other", "dtype": "int64", "shape": ["sequence_length", "batch"]})
    manifest = Manifest.from_dict(values)
    assert manifest.signature is not None
    assert [axis.name for axis in manifest.signature.axes] == ["sequence", "batch_size", "sequence_length"]
    assert manifest.variants[0].inputs[0].shape == ("sequence", "batch_size")


def test_a_new_manifest_keeps_the_names_of_its_user() -> None:
    """Its graphs hold the key `profile`, which came with today's names."""
    values = json.loads((DATA / "bundles" / "v1" / "module" / "edgexf.json").read_text(encoding="utf-8"))
    del values["digest"]
    old = Manifest.from_dict(values)
    assert old.samples == "batch_size"
    written = renamed(json.loads(json.dumps(old.to_dict())), "batch_size", "batch")
    assert Manifest.from_dict(written).samples == "batch"


def test_an_unknown_dtype_is_refused_in_a_sentence() -> None:
    values = json.loads((DATA / "bundles" / "v1" / "transformer" / "edgexf.json").read_text(encoding="utf-8"))
    del values["digest"]
    with pytest.raises(BundleError, match="dtype must be one of fp32, q8"):
        Manifest.from_dict(renamed(values, "fp32", "bf16"))
