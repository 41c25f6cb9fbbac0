"""Bundles on disk: they are written whole or not at all, and refused if their content was changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exported

import edgexf
from edgexf import bundle
from edgexf.bundle import folder, golden
from edgexf.bundle.manifest import Manifest
from edgexf.errors import BundleError, ExportError, UsageError


@pytest.fixture
def copy(linformer: Exported, tmp_path: Path) -> Path:
    """A copy of a bundle that a test may damage."""
    path = tmp_path / "copy"
    shutil.copytree(linformer.bundle.path, path)
    return path


def change_manifest(path: Path, change: Callable[[dict[str, Any]], None], sign: bool = True) -> None:
    """Rewrites edgexf.json. With `sign`, its digest is corrected, as an attacker would do."""
    values = json.loads((path / "edgexf.json").read_text())
    change(values)
    if sign:
        values["digest"] = bundle.digest_of({key: value for key, value in values.items() if key != "digest"})
    (path / "edgexf.json").write_text(json.dumps(values))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_an_untouched_copy_loads(copy: Path) -> None:
    assert bundle.read(copy).name == "linformer"


@pytest.mark.parametrize(
    "name", ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/explain.onnx", "golden.npz", "config.json"]
)
def test_a_changed_byte_is_found(copy: Path, name: str) -> None:
    flip(copy / name)
    with pytest.raises(BundleError, match=name):
        edgexf.load(copy)


def test_a_changed_byte_of_the_manifest_is_found(copy: Path) -> None:
    change_manifest(copy, lambda values: values["labels"].reverse(), sign=False)
    with pytest.raises(BundleError, match="digest"):
        edgexf.load(copy)


def test_notes_and_dot_files_may_change(copy: Path) -> None:
    (copy / "README.md").write_text("my own words")
    (copy / ".DS_Store").write_bytes(b"x")
    assert bundle.read(copy).name == "linformer"


def test_an_unlisted_file_is_refused(copy: Path) -> None:
    (copy / "onnx" / "extra.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"extra\.onnx"):
        bundle.read(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden\.npz"):
        bundle.read(copy)


def test_a_symbolic_link_is_refused_with_the_remedy(copy: Path, tmp_path: Path) -> None:
    (copy / "config.json").rename(tmp_path / "elsewhere")
    (copy / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="copy the files themselves"):
        bundle.read(copy)


def test_a_linked_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "onnx").rename(tmp_path / "onnx")
    (copy / "onnx").symlink_to(tmp_path / "onnx")
    with pytest.raises(BundleError, match="link"):
        bundle.read(copy)


def test_a_hard_link_is_refused(copy: Path, tmp_path: Path) -> None:
    os.link(copy / "config.json", tmp_path / "other-name")
    with pytest.raises(BundleError, match="hard link"):
        bundle.read(copy)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "onnx\\model"])
def test_a_listed_path_that_leaves_the_bundle_is_refused(copy: Path, path: str) -> None:
    change_manifest(copy, lambda values: values["files"].update({path: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(BundleError):
        bundle.read(copy)
    with pytest.raises(BundleError, match="inside"):
        folder.check_file(copy, path, {"sha256": "0" * 64, "bytes": 1}, verify=True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda values: values.update(schema_version=2), "schema_version"),
        (lambda values: values.update(surprise=1), "surprise"),
        (lambda values: values.pop("limits"), "limits"),
        (lambda values: values["limits"].update(speed=1), "speed"),
        (lambda values: values["variants"][0].pop("file"), "file"),
        (lambda values: values["variants"][0].update(file="../model.onnx"), "listed files"),
        (lambda values: values["variants"][0].update(file="/etc/passwd"), "listed files"),
        (lambda values: values["variants"][0].update(profile="../profile.json"), "listed files"),
        (lambda values: values.update(labels=5), "right kind"),
        (lambda values: values.update(files=[1]), "right kind"),
        (lambda values: values["variants"][1]["inputs"][2].update(shape=None), "right kind"),
        (lambda values: values["limits"].update(max_length="x"), "max_length"),
        (lambda values: values["limits"].update(padding="whatever"), "padding"),
        (lambda values: values["preprocess"].update(class_id=9999), "vocab"),
        (lambda values: values["preprocess"].update(max_bytes=None), "max_bytes"),
        (lambda values: values.update(labels="abcdefghijklmnopqrst"), "labels"),
        (lambda values: values.update(labels=["a", "b"]), "label"),
        (lambda values: values.update(tolerance=1e9), "tolerance"),
        (lambda values: values["variants"][0].update(file=["a"]), "file"),
        (lambda values: values.update(name="\ud800", surprise=1), "surprise"),
        (lambda values: values.update(limits=None), "limits|Limits"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    change_manifest(copy, change)
    with pytest.raises(BundleError, match=word):
        bundle.read(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, content: bytes) -> None:
    (copy / "edgexf.json").write_bytes(content)
    with pytest.raises(BundleError, match="JSON"):
        bundle.read(copy)


def test_an_oversized_manifest_is_refused_unread(copy: Path) -> None:
    with (copy / "edgexf.json").open("ab") as file:
        file.truncate(folder.LARGEST_JSON + 1)
    with pytest.raises(BundleError, match="at most"):
        bundle.read(copy)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError):
            edgexf.load(path)


def test_a_manifest_survives_a_round_trip(linformer: Exported) -> None:
    manifest = linformer.bundle.manifest
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def manifest_without_files(exported: Exported) -> Manifest:
    """Returns a manifest whose only graph is config.json, so that a test can write any files."""
    manifest = exported.bundle.manifest
    return replace(manifest, files={}, variants=(replace(manifest.variants[0], file="config.json", profile=""),))


def test_a_taken_folder_is_left_alone(linformer: Exported, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    manifest = manifest_without_files(linformer)
    for overwrite in (False, True):  # not a bundle, so not even --overwrite replaces it
        with pytest.raises(UsageError):
            bundle.write(tmp_path, {"config.json": b"{}"}, manifest, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_an_older_bundle_is_replaced_only_when_asked(linformer: Exported, tmp_path: Path) -> None:
    manifest, target = manifest_without_files(linformer), tmp_path / "out"
    bundle.write(target, {"config.json": b"1", "old.json": b"1"}, manifest)
    with pytest.raises(UsageError, match="--overwrite"):
        bundle.write(target, {"config.json": b"2"}, manifest)
    bundle.write(target, {"config.json": b"2"}, manifest, overwrite=True)
    assert sorted(bundle.read(target).files) == ["config.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_but_a_bundles_own_files_is_overwritten(linformer: Exported, tmp_path: Path) -> None:
    manifest, target = manifest_without_files(linformer), tmp_path / "out"
    bundle.write(target, {"config.json": b"1"}, manifest)
    for name in ("notes.txt", ".git"):
        (target / name).write_text("mine")
        with pytest.raises(UsageError, match=name):
            bundle.write(target, {"config.json": b"2"}, manifest, overwrite=True)
        (target / name).unlink()
    bundle.write(target, {"config.json": b"2"}, manifest, overwrite=True)


def test_a_failed_replacement_puts_the_old_bundle_back(
    linformer: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, target = manifest_without_files(linformer), tmp_path / "out"
    bundle.write(target, {"config.json": b"1"}, manifest)
    rename = Path.rename

    def failing(self: Path, other: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UsageError, match="Input/output"):
        bundle.write(target, {"config.json": b"2"}, manifest, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (bundle.read(target) and (target / "config.json").read_bytes()) == b"1"


def test_an_old_bundle_of_a_killed_replacement_is_put_back(linformer: Exported, tmp_path: Path) -> None:
    """The kill came between the two renames: the old bundle has its hidden name, the new bundle is not in place."""
    manifest, target = manifest_without_files(linformer), tmp_path / "out"
    bundle.write(target, {"config.json": b"1"}, manifest)
    dead = dead_process()
    target.rename(tmp_path / f".out.replaced-{dead}-x")
    (tmp_path / f".out.partial-{dead}-x").mkdir()
    with pytest.raises(UsageError, match="--overwrite"):
        bundle.write(target, {"config.json": b"2"}, manifest)
    assert (target / "config.json").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_an_empty_folder_is_taken(linformer: Exported, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    bundle.write(tmp_path / "out", {"config.json": b"{}"}, manifest_without_files(linformer))
    assert bundle.read(tmp_path / "out").files["config.json"]["bytes"] == 2


def test_an_error_while_writing_leaves_nothing(
    linformer: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == "second":
            raise OSError(28, "No space left on device")
        original(path, data)

    original = folder.write_synced
    monkeypatch.setattr(folder, "write_synced", full)
    with pytest.raises(UsageError, match="No space"):
        bundle.write(tmp_path / "out", {"first": b"1", "second": b"2"}, manifest_without_files(linformer))
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_dead_process_are_removed(linformer: Exported, tmp_path: Path) -> None:
    dead = dead_process()
    remains, live = tmp_path / f".out.partial-{dead}-x", tmp_path / f".out.partial-{os.getppid()}-x"
    for path in (remains, live):
        path.mkdir()
    bundle.write(tmp_path / "out", {"config.json": b"{}"}, manifest_without_files(linformer))
    assert not remains.exists()
    assert live.exists()  # a living process is still writing it


def test_golden_outputs_catch_a_graph_that_answers_otherwise(copy: Path) -> None:
    cells = golden.read(copy / "golden.npz")
    name = next(iter(cells))
    cells[name]["logits"] = cells[name]["logits"] * np.float32(1.001)
    data = golden.pack(cells, 1 << 20)
    (copy / "golden.npz").write_bytes(data)
    change_manifest(
        copy,
        lambda values: values["files"].update(
            {"golden.npz": {"sha256": bundle.sha256(copy / "golden.npz"), "bytes": len(data)}}
        ),
    )
    verdict = edgexf.verify(copy)
    assert not verdict.passed
    assert verdict.worst == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("cells", [{}, {"cell": {"input_ids": np.zeros((1, 2), dtype=np.int64)}}])
def test_golden_outputs_that_check_nothing_are_refused(copy: Path, cells: dict[str, Any]) -> None:
    with zipfile.ZipFile(copy / "golden.npz", "w") as archive:
        for cell, tensors in cells.items():
            for name, array in tensors.items():
                archive.writestr(f"{cell}/{name}.npy", golden.member(array))
    entry = {"sha256": bundle.sha256(copy / "golden.npz"), "bytes": (copy / "golden.npz").stat().st_size}
    change_manifest(copy, lambda values: values["files"].update({"golden.npz": entry}))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        edgexf.verify(copy)


def test_a_golden_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "golden.npz").write_bytes(b"PK not really")
    with pytest.raises(BundleError):
        golden.read(tmp_path / "golden.npz")


def test_golden_outputs_fit_and_pack_alike(linformer: Exported) -> None:
    path = linformer.bundle.path / "golden.npz"
    assert path.stat().st_size <= 1_000_000
    cells = golden.read(path)
    assert golden.pack(cells, 1 << 20) == golden.pack(cells, 1 << 20)
    assert {cell.split("-")[0] for cell in cells} >= {"length2", "length63", "length64", "length65", "length4097"}


@pytest.mark.parametrize(("words", "packed"), [(100, 2), (30_000, 1)])
def test_the_smallest_golden_cell_stands_alone_where_none_fits(words: int, packed: int) -> None:
    """Two tokens of a language model with a large vocabulary are above the usual size."""
    chance = np.random.default_rng(0)
    cells = {f"length{n}": {"logits": chance.standard_normal((1, n, words)).astype(np.float32)} for n in (5, 2)}
    data = golden.pack(cells, 100_000)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == packed
    with pytest.raises(ExportError, match="must fit into"):
        golden.pack({"long": {"logits": chance.standard_normal((1, 2, 300_000)).astype(np.float32)}}, 100_000)
