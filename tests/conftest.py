"""Shared fixtures: the four trained bundles. They are exported once a session, also if several workers run tests."""

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


# Torch caches the shapes of answers for later layers. With symbolic shapes and models of one layer, making the keys of the
# cache takes longer than computing the shapes: a fifth of an export. With 12 layers of BERT the cache saves an eighth, so
# the product keeps it. Graphs are the same to the byte.
torch._dynamo.config.fake_tensor_cache_enabled = False

EXPLAIN = {"linformer": ("attnlrp", "gradient")}  # the others export their default method, which takes less time
_exported: dict[str, Exported] = {}
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is not None:
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        # One core for each worker: otherwise all workers share all cores.
        os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=NAMES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns each trained variant in turn."""
    return export_once(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def linformer(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns only the trained linformer, for tests that need one variant."""
    return export_once("linformer", tmp_path_factory)


def export_once(name: str, factory: pytest.TempPathFactory) -> Exported:
    """Exports a variant once a session. While another worker exports it, this worker exports other variants."""
    if name not in _exported:
        own = factory.getbasetemp()
        shared = own if WORKER is None else own.parent  # one folder for all workers of this session
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
    """Returns the bundle of the variant that the folder is named after. Exports it if the folder does not exist."""
    if path.exists():
        return Bundle(path, bundle.read(path))
    return edgexf.export(variant=path.name, explain=EXPLAIN.get(path.name), output=path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need a trained bundle as slow: exporting one takes five seconds and more.

    Files of slow tests come first, so that the quick ones fill the end of a run, when a worker has no file left.
    """
    for item in items:
        if {"exported", "linformer"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
