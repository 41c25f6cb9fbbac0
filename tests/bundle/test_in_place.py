"""Writers never change a file of a bundle in place: a process that has mapped it would die of the change."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small import DATA, small_encoder

import edgexf
from edgexf import names
from edgexf.bundle import folder as bundle_folder

OPENED: list[tuple[str, int]] = []
WATCHED: list[Path] = []  # empty while nothing is watched


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Notes the files that Python opens for writing. An audit hook can't be taken away again."""
    if WATCHED and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.fsdecode(arguments[0])).absolute()
        if WATCHED[0] in path.parents and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            OPENED.append((str(path), arguments[2]))


sys.addaudithook(watch)


@contextmanager
def nothing_changes_in_place(folder: Path) -> Iterator[None]:
    """Holds each file of a bundle open, as a mapping does, and compares the bytes behind it afterwards."""
    held = {path: path.open("rb") for path in sorted(folder.rglob("*")) if path.is_file()}
    before = {path: hashlib.sha256(file.read()).hexdigest() for path, file in held.items()}
    OPENED.clear()
    WATCHED[:] = [folder.absolute()]
    try:
        yield
    finally:
        WATCHED.clear()
    for path, file in held.items():
        file.seek(0)
        assert hashlib.sha256(file.read()).hexdigest() == before[path], path
        assert not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino, path
        file.close()
    assert OPENED == []


def quantized(folder: Path) -> None:
    edgexf.quantize(folder, mode="int8", force=True, overwrite=True, lengths=[8])


def exported(folder: Path) -> None:
    edgexf.export(small_encoder("linformer", seed=1, layers=1), output=folder, overwrite=True)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is held open can't be replaced")
@pytest.mark.parametrize("writer", [quantized, exported])
def test_writers_replace_files_and_never_open_them_for_writing(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DATA / "bundles" / "v1" / "features", folder)
    manifest = (folder / names.MANIFEST_FILE).read_bytes()
    with edgexf.load(folder, profile="edge") as session, nothing_changes_in_place(folder):
        wanted = session.run(input_ids=[[1, 2, 3]])
        writer(folder)
        found = session.run(input_ids=[[1, 2, 3]])
    assert (folder / names.MANIFEST_FILE).read_bytes() != manifest
    assert all((found[name] == wanted[name]).all() for name in wanted)


MAPS, HANDLES = Path("/proc/self/maps"), Path("/proc/self/fd")


def held(folder: Path) -> list[str]:
    """Returns the files below a folder that this process has open or mapped."""
    mapped = [line.split(maxsplit=5)[-1] for line in MAPS.read_text().splitlines()]
    opened = [str(path.readlink()) for path in HANDLES.iterdir() if path.is_symlink()]
    return [path for path in (*mapped, *opened) if path.startswith(f"{folder}/")]


@pytest.mark.skipif(not MAPS.exists(), reason="this system does not say which files are open")
def test_no_file_of_a_bundle_is_open_when_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows moves no folder with an open file. Graphs that were read hold weights open until they are collected."""
    folder, seen, replace = tmp_path / "bundle", [], bundle_folder.replace
    shutil.copytree(DATA / "bundles" / "v1" / "features", folder)
    monkeypatch.setattr(
        bundle_folder, "replace", lambda partial, target: (seen.append(held(target)), replace(partial, target))
    )
    gc.disable()
    try:
        quantized(folder)
    finally:
        gc.enable()
    assert seen == [[]]
