"""What `edgexf tune` found counts for the same bundle on the same device alone, and a caller's own choice comes first."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidate_bundles import add_candidate, copied

import edgexf
from edgexf import bundle, names
from edgexf.bundle.graphs import ORT_CPU
from edgexf.errors import BundleError, DeviceError, UsageError
from edgexf_runtimes import opening, remembered, tuned
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.session import Session
from edgexf_runtimes.tuned import Tuned, TunedFile

IDS = np.array([[257, 1, 2, 3, 4, 5, 6, 7]])
CHOSEN = Tuned("fp32", "block-64", 1, "latency")
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that remembers nothing, without a folder from outside."""
    monkeypatch.setattr(remembered, "_known", set())
    monkeypatch.delenv(remembered.VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = copied(tmp_path)
    add_candidate(found, "block-64")
    return found


def note(folder: Path, chosen: Tuned = CHOSEN, cache: Path | None = None) -> Path:
    found = TunedFile(edgexf.bundle.read(folder).digest, tuned.device(), "cpu", chosen, {"rows": []})
    return tuned.note(folder, remembered.Remembered(cache), found)


def way(session: Session) -> tuple[str, int | None, str]:
    """The graph's file, the threads and the profile of a session."""
    return Path(session.manifest.variants[0].file).stem, session.settings.threads, session.settings.profile.name


def loaded(folder: Path, **choices: Any) -> tuple[str, int | None, str]:
    with edgexf.load(folder, **choices) as session:
        session.run(input_ids=IDS)
        return way(session)


USUAL, TUNED = ("model", None, "balanced"), ("model_block_64", 1, "latency")


def test_a_session_runs_as_it_was_tuned_beside_the_bundle_or_in_the_cache(folder: Path, tmp_path: Path) -> None:
    assert loaded(folder) == USUAL
    assert note(folder) == tmp_path / "transformer.tuned.json"
    assert loaded(folder) == TUNED
    note(folder, Tuned("fp32", "portable", 2), tmp_path / "cache")
    assert loaded(folder, cache=tmp_path / "cache") == ("model", 2, "balanced")
    assert loaded(folder) == TUNED
    assert loaded(folder, tuned="never") == USUAL


@pytest.mark.parametrize(
    ("choices", "wanted"),
    [
        ({"threads": 2}, ("model_block_64", 2, "latency")),
        ({"profile": "edge"}, ("model_block_64", 1, "edge")),
        ({"candidate": "portable"}, ("model", 1, "latency")),
        ({"dtype": "fp32"}, TUNED),
    ],
)
def test_what_a_caller_names_wins(folder: Path, choices: dict[str, Any], wanted: tuple[str, int, str]) -> None:
    note(folder)
    assert loaded(folder, **choices) == wanted


CHANGES: dict[str, Change] = {
    "digest": lambda values: values.update(digest="0" * 64),
    "processor": lambda values: values["device"].update(name="another processor"),
    "instruction sets": lambda values: values["device"].update({"instruction sets": []}),
    "processors": lambda values: values["device"].update(processors=1000),
    "onnxruntime": lambda values: values["device"].update(onnxruntime="1.0.0"),
    "provider": lambda values: values.update(provider="cuda"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_of_another_bundle_or_device_does_not_count(
    folder: Path, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    path = note(folder)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with caplog.at_level(logging.WARNING, "edgexf"):
        assert loaded(folder) == USUAL
    assert caplog.messages == []


BROKEN: dict[str, Callable[[str], str]] = {
    "no json": lambda text: text[:-9],
    "nested": lambda _: "[" * 100_000,
    "a list": lambda _: "[]",
    "version": lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
    "key": lambda text: text.replace('"provider"', '"providers"'),
    "profile": lambda text: text.replace('"latency"', '"fast"'),
    "threads": lambda text: text.replace('"threads": 1', '"threads": 0'),
    "dtype": lambda text: text.replace('"dtype": "fp32"', '"dtype": "q8"'),
    "candidate": lambda text: text.replace('"block-64"', '"block-32"'),
    "more threads than this machine takes": lambda text: text.replace('"threads": 1', '"threads": 100000'),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_logged_and_does_not_count(
    folder: Path, change: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    path = note(folder)
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with caplog.at_level(logging.WARNING, "edgexf"):
        assert loaded(folder) == USUAL
    (said,) = caplog.messages
    assert str(path) in said
    assert "run edgexf tune again" in said


def test_a_candidate_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"must be one of the bundle's \(portable, block-64\), got 'block-32'"):
        edgexf.load(folder, candidate="block-32")
    with pytest.raises(UsageError, match="candidate must be the name of one, got None"):
        edgexf.load(folder, candidate=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tuned must be one of auto, never, got 'always'"):
        edgexf.load(folder, tuned="always")


def test_a_candidate_must_be_there_in_the_dtype(tmp_path: Path) -> None:
    folder = copied(tmp_path, "linformer")
    add_candidate(folder, "block-64", dtype="q8")
    with pytest.raises(UsageError, match=r"in which the bundle holds the candidate block-64 \(q8\), got 'fp32'"):
        edgexf.load(folder, dtype="fp32", candidate="block-64")


def test_operators_of_onnx_runtime_are_checked_when_they_open_and_portable_ones_were(tmp_path: Path) -> None:
    """The same graph is a candidate of both kinds: what the manifest says of its operators decides."""
    folder = copied(tmp_path)
    add_candidate(folder, "own", ops=ORT_CPU)
    add_candidate(folder, "plain")
    manifest = edgexf.bundle.read(folder)
    graphs = {one.name: one.graphs[0] for one in manifest.candidates}
    assert not opening.verified(folder, manifest, graphs["own"], Settings())
    assert opening.verified(folder, manifest, graphs["plain"], Settings())


def test_a_candidate_that_answers_otherwise_runs_for_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "own", ops=ORT_CPU, wrong=True, preferred=True)
    with pytest.raises(DeviceError, match=r"\(onnx/model_own\.onnx\) must answer .* load candidate='portable'"):
        edgexf.load(folder, candidate="own")
    with caplog.at_level(logging.WARNING, "edgexf"):
        assert loaded(folder) == USUAL
    assert "the portable graphs run in place of the candidate own" in caplog.text


@pytest.mark.parametrize("wrong", ["wrong", "broken"])
def test_a_portable_explain_graph_stands_in_for_that_of_a_candidate(
    tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless the caller named the candidate."""
    folder = copied(tmp_path)
    add_candidate(folder, "own", ops=ORT_CPU, preferred=True, only="explain", **{wrong: True})
    with edgexf.load(folder, candidate="portable") as session:
        right = session.explain(b"why").scores
    with caplog.at_level(logging.WARNING, "edgexf"), edgexf.load(folder) as session:
        assert way(session)[0] == "model_own"
        assert np.array_equal(session.explain(b"why").scores, right)
    (said,) = caplog.messages
    assert "onnx/explain.onnx runs in place of onnx/explain_own.onnx" in said
    with edgexf.load(folder, candidate="own") as session, pytest.raises((BundleError, DeviceError)):
        session.explain(b"why")


def test_a_dtype_that_a_session_does_not_take_by_itself_is_not_taken_from_a_file(tmp_path: Path) -> None:
    """Such as one that quantization refused, and that was forced into the bundle."""
    folder = copied(tmp_path, "linformer")
    before, file = bundle.read(folder), folder / names.QUANTIZE_FILE
    forced = file.read_bytes().replace(b'"verdict": "kept"', b'"verdict": "forced"')
    bundle.revise(folder, {names.QUANTIZE_FILE: forced}, (), before, before)
    note(folder, Tuned("q8", "portable", 1, "latency"))
    with edgexf.load(folder) as session:
        assert (session.dtype, session.settings.profile.name) == ("fp32", "latency")
    with edgexf.load(folder, dtype="q8") as session:
        assert (session.dtype, session.settings.profile.name) == ("q8", "latency")


def test_a_named_candidate_decides_the_dtype_that_the_caller_leaves_open(tmp_path: Path) -> None:
    folder = copied(tmp_path, "linformer")
    add_candidate(folder, "block-64")
    note(folder, Tuned("q8", "portable", 1, "latency"))
    with edgexf.load(folder, candidate="block-64") as session:
        assert (session.dtype, way(session)[0]) == ("fp32", "model_block_64")


def test_each_provider_has_a_file_of_its_own(folder: Path) -> None:
    path = note(folder)
    other = TunedFile(edgexf.bundle.read(folder).digest, tuned.device(), "cuda", CHOSEN, {})
    cuda = tuned.note(folder, remembered.Remembered(), other)
    assert [path.name, cuda.name] == ["transformer.tuned.json", "transformer.cuda.tuned.json"]
    assert loaded(folder) == TUNED
    assert tuned.forget(folder, other.digest, remembered.Remembered()) == [path, cuda]


def test_the_operators_of_a_provider_are_taken_where_the_export_preferred_them(folder: Path) -> None:
    add_candidate(folder, "own", ops=ORT_CPU, preferred=True)
    assert loaded(folder)[0] == "model_own"
    note(folder)
    assert loaded(folder) == TUNED


def test_the_portable_graphs_run_where_a_preferred_candidate_does_not_open(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_candidate(folder, "own", ops=ORT_CPU, preferred=True, broken=True)
    with caplog.at_level(logging.WARNING, "edgexf"):
        assert loaded(folder) == USUAL
    (said,) = caplog.messages
    assert "the portable graphs run in place of the candidate own" in said
    with pytest.raises(BundleError, match=r"model_own\.onnx must be a graph"):
        edgexf.load(folder, candidate="own")
