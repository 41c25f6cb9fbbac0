"""`edgexf.tune` remembers the fastest way outside the bundle, and writes nothing into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from candidate_bundles import add_candidate, copied, times

import edgexf
from edgexf.bundle import folder as bundle_folder
from edgexf.errors import BundleError, UsageError
from edgexf.pipeline.tune_bundle import Tuning, forget
from edgexf_runtimes import remembered
from edgexf_runtimes.measure import tuning
from edgexf_runtimes.tuned import Tuned

FAST = times(lambda way: 1.0 if "block_64" in way else 2.0)


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(remembered.VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = copied(tmp_path)
    add_candidate(found, "block-64")
    return found


def tune(folder: Path, **options: Any) -> Tuning:
    return edgexf.tune(folder, **{"lengths": (8,), "threads": 1, "profile": "balanced", "timing": FAST, **options})


def content(folder: Path) -> dict[str, tuple[int, str]]:
    """Each file of a folder with its time of writing and its hash."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, bundle_folder.sha256(path)) for path in files}


def test_the_fastest_is_remembered_beside_the_bundle_and_taken_by_load(folder: Path, tmp_path: Path) -> None:
    found = tune(folder)
    assert found.chosen == Tuned("fp32", "block-64", 1, "balanced")
    assert found.file == tmp_path / "transformer.tuned.json"
    with edgexf.load(folder) as session:
        assert session.manifest.variants[0].file == "onnx/model_block_64.onnx"
        assert session.settings.threads == 1


def test_nothing_is_written_into_the_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / bundle_folder.SIGNING_FILE).write_text("a signature")
    before, listing = content(folder), sorted(folder.rglob("*"))
    tune(folder)
    tune(folder, cache=tmp_path / "cache")
    forget(folder)
    assert (content(folder), sorted(folder.rglob("*"))) == (before, listing)


def test_the_file_tells_people_what_was_measured(folder: Path) -> None:
    found = tune(folder)
    values = json.loads(found.file.read_text())
    assert values["digest"] == edgexf.bundle.read(folder).digest
    assert values["measured"]["lengths"] == [8]
    assert values["measured"]["tried"] == found.to_dict()["tried"]
    first, second = values["measured"]["tried"]
    assert (first["verdict"], first["times"]) == ("as load runs it", [])
    assert (second["candidate"], second["verdict"]) == ("block-64", "faster")
    (figures,) = second["times"]
    assert figures == {"length": 8, "pairs": 7, "ms": 1e3, "best_ms": 2e3, "ratio": 0.5, "low": 0.5, "high": 0.5}


def test_what_was_tuned_before_does_not_change_what_is_compared(folder: Path) -> None:
    tune(folder)
    again = tune(folder, timing=times(lambda _: 1.0))
    assert [row.way.candidate for row in again.rows] == ["portable", "block-64"]
    assert again.chosen.candidate == "portable"


def test_a_bundle_without_candidates_has_its_settings_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "available_threads", lambda: 2)
    folder = copied(tmp_path)
    cost = {"portable 2 balanced": 2.0, "portable 2 latency": 1.0}
    found = edgexf.tune(folder, lengths=[8], timing=times(lambda way: cost.get(way, 3.0)))
    assert str(found.chosen) == "fp32, 2 threads, latency"


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was measured."""
    found: list[object] = []
    monkeypatch.setattr(tuning, "search", lambda *given: found.append(given))
    return found


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    folder: Path, tmp_path: Path, measures: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError, match=r"a folder that can be written, got .*file/cache .*; name another one with --cach"
    ):
        tune(folder, cache=tmp_path / "file" / "cache")

    def read_only(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UsageError, match=r"got .* \(Read-only file system\); name another one with --cache"):
        tune(folder)
    assert measures == []


@pytest.mark.parametrize("inside", [".", "cache", "onnx/../cache"])
def test_a_cache_in_the_bundle_is_refused(folder: Path, inside: str, measures: list[object]) -> None:
    with pytest.raises(UsageError, match="is remembered outside the bundle"):
        tune(folder, cache=folder / inside)
    assert measures == []


def test_a_changed_bundle_is_refused(folder: Path, measures: list[object]) -> None:
    data = bytearray((folder / "onnx" / "model.onnx_data").read_bytes())
    data[100] ^= 4
    (folder / "onnx" / "model.onnx_data").write_bytes(data)
    with pytest.raises(BundleError, match="sha256"):
        tune(folder)
    assert measures == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"lengths": 8}, "lengths must be a list of numbers"),
    ({"lengths": ()}, "lengths must be whole numbers"),
    ({"providers": "npu"}, "providers must be among cpu"),
    ({"threads": 0}, "threads must be 1 to"),
    ({"profile": "fast"}, "profile must be one of"),
    ({"dtype": "q8"}, "a graph must be one of the bundle's"),
    ({"cache": ""}, "cache must be the path of a folder"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_a_wrong_choice_is_refused(folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tune(folder, **options)


def test_what_was_remembered_is_forgotten_beside_the_bundle_and_in_the_cache(folder: Path, tmp_path: Path) -> None:
    files: list[Callable[[], Path]] = [lambda: tune(folder).file, lambda: tune(folder, cache=tmp_path / "cache").file]
    beside, cached = (make() for make in files)
    assert forget(folder, tmp_path / "other") == [beside]
    assert (beside.exists(), cached.exists()) == (False, True)
    tune(folder)
    assert forget(folder, tmp_path / "cache") == [cached, beside]
    assert forget(folder, tmp_path / "cache") == []


def test_the_current_folder_has_its_file_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = folder.with_name("transformer.tuned.json")
    for place, path in ((folder, Path()), (folder / "onnx", Path(".."))):
        monkeypatch.chdir(place)
        assert tune(path).file == beside
        assert forget(path) == [beside]
