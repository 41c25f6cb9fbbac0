"""What is remembered: hashes and golden checks, in the process and in a folder that the caller names."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.bundle import folder as bundle_folder
from edgexf.errors import BundleError, UsageError
from edgexf_runtimes import remembered

IDS = np.array([[257, 1, 2, 3, 4, 5, 6, 7]])


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that remembers nothing, without a folder from outside."""
    monkeypatch.setattr(remembered, "_known", set())
    monkeypatch.delenv(remembered.VARIABLE, raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "bundles" / "v1" / "linformer", tmp_path / "bundle"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed."""
    found: list[Path] = []
    plain = bundle_folder.sha256

    def sha256(path: Path, _: object) -> str:
        found.append(path)
        return plain(path)

    monkeypatch.setattr(bundle_folder, "sha256", sha256)
    return found


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process like a new one."""
    monkeypatch.setattr(remembered, "_known", set())


def load(bundle: Path, **choices: object) -> None:
    edgexf.load(bundle, verify="once", check="never", **choices).close()  # type: ignore[arg-type]


def test_once_hashes_once_in_a_process_and_always_each_time(bundle: Path, hashed: list[Path]) -> None:
    listing = sorted(path for path in bundle.rglob("*"))
    load(bundle)
    files = len(hashed)
    assert files > 3
    load(bundle)
    assert len(hashed) == files
    edgexf.load(bundle).close()
    assert len(hashed) == 2 * files
    assert sorted(path for path in bundle.rglob("*")) == listing  # nothing is written next to a bundle


@pytest.mark.parametrize("named", [True, False])
def test_another_process_remembers_only_in_a_folder_that_was_named(
    bundle: Path, hashed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:
        monkeypatch.setenv(remembered.VARIABLE, str(tmp_path / "deep" / "cache"))
    load(bundle)
    forget(monkeypatch)
    files = len(hashed)
    load(bundle)
    assert len(hashed) == (files if named else 2 * files)


def test_a_file_that_changed_is_hashed_again_and_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time of modification are as they were: the time of change is not."""
    load(bundle, cache=tmp_path / "cache")
    weights = bundle / "onnx" / "model.onnx_data"
    times = weights.stat().st_atime_ns, weights.stat().st_mtime_ns
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=times)
    for _ in range(2):
        with pytest.raises(BundleError, match="must be unchanged"):
            load(bundle, cache=tmp_path / "cache")
        forget(monkeypatch)


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
    bundle: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bundle_folder.sha256

    def sha256(path: Path, _: object) -> str:
        found = plain(path, lambda: None)
        path.touch()
        return found

    monkeypatch.setattr(bundle_folder, "sha256", sha256)
    load(bundle)
    assert remembered._known == set()
    files = len(hashed)
    load(bundle)
    assert len(hashed) == 2 * files


def test_a_copy_at_another_place_is_another_bundle(bundle: Path, hashed: list[Path], tmp_path: Path) -> None:
    load(bundle)
    files = len(hashed)
    load(Path(shutil.copytree(bundle, tmp_path / "copy")))
    assert len(hashed) == 2 * files
    load(bundle.rename(tmp_path / "moved"))
    assert len(hashed) == 3 * files


@pytest.mark.parametrize("broken", [b"", b"[" * 100_000, b'{"schema_version": 1}', b"\xff"])
def test_a_broken_file_is_logged_checked_again_and_rewritten(
    bundle: Path, hashed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, broken: bytes,
) -> None:  # fmt: skip
    cache = tmp_path / "cache"
    load(bundle, cache=cache)
    (file,) = cache.iterdir()
    whole, files = file.read_bytes(), len(hashed)
    file.write_bytes(broken)
    forget(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="edgexf"):
        load(bundle, cache=cache)
    assert "it is checked again" in caplog.text
    assert len(hashed) == 2 * files
    assert [path.read_bytes() for path in cache.iterdir()] == [whole]


def test_a_folder_that_cannot_be_written_is_logged(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="edgexf"):
        load(bundle, cache=tmp_path / "file" / "folder")
    assert "can't be remembered" in caplog.text


def test_choices_that_are_none_are_refused(bundle: Path) -> None:
    for wrong in ("", "a\0b", os.fsencode("cache")):
        with pytest.raises(UsageError, match="cache must be the path of a folder, got"):
            load(bundle, cache=wrong)
    with pytest.raises(UsageError, match="cache must be the path of a folder, got 5"):
        load(bundle, cache=5)
    (bundle.parent / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"cache must be the path of a folder, got the file .*; name another one"):
        load(bundle, cache=bundle.parent / "file")
    with pytest.raises(UsageError, match="verify must be one of always, once, never, got 'twice'"):
        edgexf.load(bundle, verify="twice")


def test_a_session_knows_that_another_bundle_took_its_place(bundle: Path, tmp_path: Path) -> None:
    """Its open graph goes on. An explain graph of the other bundle would explain another model's answers."""
    other = DATA / "bundles" / "v1" / "longformer"
    with edgexf.load(bundle) as session:
        answer = session.run(input_ids=IDS)["logits"]
        (bundle / "edgexf.json").touch()
        assert not session.stale
        bundle.rename(tmp_path / "old")
        assert session.stale
        shutil.copytree(other, bundle)
        assert session.stale
        assert (session.run(input_ids=IDS)["logits"] == answer).all()
        with pytest.raises(BundleError, match="must belong to the bundle that was loaded, got another bundle"):
            session.run_explain(input_ids=IDS)
        shutil.rmtree(bundle)
        (tmp_path / "old").rename(bundle)
        assert not session.stale
        assert (session.run_explain(input_ids=IDS)["logits"].argmax() == answer.argmax()).all()
