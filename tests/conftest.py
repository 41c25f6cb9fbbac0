"""Shared fixtures: the four trained bundles, exported once a session, also where several workers test side by side."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout
from small import NAMES

import edgexf
from edgexf import bundle
from edgexf.bundle.folder import Bundle
from edgexf.models.encoder import Encoder
from edgexf.models.weights import load, shipped


@dataclass(frozen=True)
class Exported:
    """A trained variant, its bundle and its eager model."""

    name: str
    bundle: Bundle
    encoder: Encoder


# Torch keeps the shapes that operators gave, for layers to come; for the small models here that takes longer than to
# find them again, a fifth of an export. Graphs are the same to the byte.
torch._dynamo.config.fake_tensor_cache_enabled = False

EXPLAIN = {"linformer": ("attnlrp", "gradient")}  # the others by default, which takes less time
_exported: dict[str, Exported] = {}
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is not None:
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})  # of its own: else all share all
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=NAMES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Each trained variant in turn."""
    return export_once(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def linformer(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The trained linformer alone, where one variant is enough."""
    return export_once("linformer", tmp_path_factory)


def export_once(name: str, factory: pytest.TempPathFactory) -> Exported:
    """While another worker exports it, this one exports another that will be asked for."""
    if name not in _exported:
        own = factory.getbasetemp()
        shared = own if WORKER is None else own.parent  # of this session, for all of its workers
        for other in (name, *NAMES):
            if (shared / "bundles" / name).exists():
                break
            with suppress(Timeout), FileLock(shared / f"{other}.lock", timeout=0):
                exported_in(shared / "bundles" / other)
        with FileLock(shared / f"{name}.lock"):
            made = exported_in(shared / "bundles" / name)
        _exported[name] = Exported(name, made, load(shipped(name)))
    return _exported[name]


def exported_in(path: Path) -> Bundle:
    """The bundle of a variant by its folder's name; made where it is not, and written whole or not at all."""
    if path.exists():
        return Bundle(path, bundle.read(path))
    return edgexf.export(variant=path.name, explain=EXPLAIN.get(path.name), output=path)
