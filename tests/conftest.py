"""Shared fixtures: the four trained bundles, exported once a session, also where several workers test side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
import torch
from filelock import FileLock
from small import NAMES

import edgexf
from edgexf import bundle
from edgexf.models.encoder import Encoder
from edgexf.models.weights import load, shipped
from edgexf.pipeline import Bundle


@dataclass(frozen=True)
class Exported:
    """A trained variant, its bundle and its eager model."""

    name: str
    bundle: Bundle
    encoder: Encoder


EXPLAIN = {"linformer": ("attnlrp", "gradient")}  # the others by default, which takes less time
_exported: dict[str, Exported] = {}
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is not None:
    torch.set_num_threads(1)  # each worker has its own core


@pytest.fixture(scope="session", params=NAMES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Each trained variant in turn."""
    return export_once(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def linformer(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The trained linformer alone, where one variant is enough."""
    return export_once("linformer", tmp_path_factory)


def export_once(name: str, factory: pytest.TempPathFactory) -> Exported:
    if name not in _exported:
        own = factory.getbasetemp()
        shared = own if WORKER is None else own.parent  # of this session, for all of its workers
        with FileLock(shared / f"{name}.lock"):
            path = shared / "bundles" / name
            made = (
                Bundle(path, bundle.read(path))
                if path.exists()
                else edgexf.export(variant=name, explain=EXPLAIN.get(name), output=path)
            )  # a bundle is written whole or not at all
        _exported[name] = Exported(name, made, load(shipped(name)))
    return _exported[name]
