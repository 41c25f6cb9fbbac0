"""Candidates in a manifest: what is written is read, and a bundle without any is written as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from candidate_bundles import add_candidate, copied
from small import DATA

from edgexf import bundle
from edgexf.bundle.graphs import ORT_CPU, Candidate
from edgexf.bundle.manifest import Manifest
from edgexf.errors import BundleError, UsageError

PLAIN = DATA / "bundles" / "v1" / "transformer"


def test_a_manifest_with_candidates_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    add_candidate(folder, "ort-cpu", ops=ORT_CPU, preferred=True)
    manifest = bundle.read(folder)
    assert [(one.name, one.ops, one.preferred) for one in manifest.candidates] == [
        ("block-64", "portable", False),
        ("ort-cpu", ORT_CPU, True),
    ]
    assert [graph.method for graph in manifest.candidates[0].graphs] == ["predict", "attnlrp", "gradient"]
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_a_bundle_without_candidates_has_no_key_that_earlier_readers_do_not_know() -> None:
    values = bundle.read(PLAIN).to_dict()
    assert "candidates" not in values
    assert all("ops" not in graph for graph in values["variants"])


def test_the_graphs_of_a_candidate_stand_in_for_those_of_the_bundle(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    manifest = bundle.read(folder)
    files = [graph.file for graph in manifest.with_candidate("block-64").variants]
    assert files == ["onnx/model_block_64.onnx", "onnx/explain_block_64.onnx", "onnx/explain_gradient_block_64.onnx"]
    assert manifest.with_candidate("portable") is manifest
    with pytest.raises(UsageError, match=r"must be one of the bundle's \(portable, block-64\), got 'block-32'"):
        manifest.with_candidate("block-32")


def test_a_dtype_of_the_manifest_has_the_candidates_of_this_dtype(tmp_path: Path) -> None:
    folder = copied(tmp_path, "linformer")
    add_candidate(folder, "block-64", dtype="q8")
    add_candidate(folder, "block-32")
    manifest = bundle.read(folder)
    for dtype, wanted in (("q8", "block-64"), ("fp32", "block-32")):
        (one,) = manifest.in_dtype(dtype).candidates
        assert (one.name, {graph.dtype for graph in one.graphs}) == (wanted, {dtype})


def test_candidates_that_do_not_fit_the_bundle_are_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    manifest = bundle.read(folder)
    (one,) = manifest.candidates
    (predict, *_), outputs = one.graphs, manifest.variants[1].outputs
    for candidates in (
        [one, one],
        [Candidate("other", (replace(predict, dtype="q8"),))],
        [Candidate("other", (replace(predict, outputs=outputs),))],
    ):
        with pytest.raises(ValueError, match="candidate"):
            replace(manifest, candidates=tuple(candidates))
    for name in ("", "Block", "a_b", "-a", "portable"):
        values = manifest.to_dict()
        values["candidates"][0]["name"] = name
        with pytest.raises(BundleError, match="candidate"):
            Manifest.from_dict(values)
