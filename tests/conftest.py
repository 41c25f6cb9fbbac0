"""Shared fixtures: the four trained bundles. They are exported once a session, also if several workers run tests.

The tests of the runtime run without torch too, as on a device: ``--bundles FOLDER`` keeps what they export, and an
environment without torch takes it from there (`benchmarks/matrix.py`).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock, Timeout
from small import NAMES

import edgexf
from edgexf import bundle
from edgexf.bundle.folder import Bundle

if TYPE_CHECKING:
    from edgexf.models.encoder import Encoder

HAS_TORCH = find_spec("torch") is not None
Kept = Callable[[str, Callable[[Path], object]], Path]


@dataclass(frozen=True)
class Exported:
    """A trained variant and its bundle."""

    name: str
    bundle: Bundle

    @cached_property
    def encoder(self) -> Encoder:
        """The eager model, which needs torch."""
        from edgexf.models.weights import load, shipped

        return load(shipped(self.name))


EXPLAIN = {"linformer": ("attnlrp", "gradient")}  # the others export their default method, which takes less time
_exported: dict[str, Exported] = {}
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is not None and sys.platform == "linux":
    cores = sorted(os.sched_getaffinity(0))
    # One core for each worker: otherwise all workers share all cores.
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})
if HAS_TORCH:
    import torch

    # Torch caches the shapes of answers for later layers. With symbolic shapes and models of one layer, making the keys of
    # the cache takes longer than computing the shapes: a fifth of an export. With 12 layers of BERT the cache saves an
    # eighth, so the product keeps it. Graphs are the same to the byte.
    torch._dynamo.config.fake_tensor_cache_enabled = False
    if WORKER is not None:
        torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Collects garbage less often, and never among what is imported: it took 7 to 8 % of the CPU time of two runs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bundles", type=lambda text: Path(text).absolute(), help="a folder that keeps the bundles of the tests"
    )


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Returns a function that gives the folder of a bundle by its name, and exports what is not there yet.

    Skips a test whose bundle is not there if this environment has no torch.
    """
    chosen = request.config.getoption("--bundles")

    def folder(name: str, export: Callable[[Path], object]) -> Path:
        path: Path = (chosen or tmp_path_factory.mktemp("kept")) / name
        if not path.exists():
            if not HAS_TORCH:
                pytest.skip(f"exporting {name} needs torch, or --bundles with a folder that holds it")
            export(path)
        return path

    return folder


@pytest.fixture(scope="session", params=NAMES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns each trained variant in turn."""
    return export_once(request.param, request.config, tmp_path_factory)


@pytest.fixture(scope="session")
def linformer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns only the trained linformer, for tests that need one variant."""
    return export_once("linformer", request.config, tmp_path_factory)


def export_once(name: str, config: pytest.Config, factory: pytest.TempPathFactory) -> Exported:
    """Exports a variant once a session. While another worker exports it, this worker exports other variants."""
    if name not in _exported:
        own = factory.getbasetemp()
        shared = own if WORKER is None else own.parent  # one folder for all workers of this session
        bundles: Path = config.getoption("--bundles") or shared / "bundles"
        for other in (name, *NAMES):
            if (bundles / name).exists() or not HAS_TORCH:
                break
            with suppress(Timeout), FileLock(shared / f"{other}.lock", timeout=0):
                exported_in(bundles / other)
        with FileLock(shared / f"{name}.lock"):
            made = exported_in(bundles / name)
        _exported[name] = Exported(name, made)
    return _exported[name]


def exported_in(path: Path) -> Bundle:
    """Returns the bundle of the variant that the folder is named after. Exports it if the folder does not exist."""
    if path.exists():
        return Bundle(path, bundle.read(path))
    if not HAS_TORCH:
        pytest.skip(f"exporting {path.name} needs torch, or --bundles with a folder that holds it")
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
