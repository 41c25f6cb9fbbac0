"""Shared fixtures: the four trained bundles, exported once a session."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from small import NAMES

import edgexf
from edgexf.models.encoder import Encoder
from edgexf.models.weights import load, shipped
from edgexf.pipeline import Bundle


@dataclass(frozen=True)
class Exported:
    """A trained variant, its bundle and its eager model."""

    name: str
    bundle: Bundle
    encoder: Encoder


_exported: dict[str, Exported] = {}


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
        bundle = edgexf.export(variant=name, output=factory.mktemp("bundles") / name)
        _exported[name] = Exported(name, bundle, load(shipped(name)))
    return _exported[name]
