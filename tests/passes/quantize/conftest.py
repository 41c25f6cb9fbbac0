"""Shared fixtures: a bundle with weights of whole blocks, exported once for all files that quantize it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small import wide_encoder

import edgexf


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a bundle that no test may change."""
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    edgexf.export(wide_encoder("linformer"), output=folder)
    return folder


@pytest.fixture
def copied(wide: Path, tmp_path: Path) -> Path:
    """Returns a copy of the bundle, for a test that quantizes it."""
    shutil.copytree(wide, tmp_path / "work" / "bundle")
    return tmp_path / "work" / "bundle"
