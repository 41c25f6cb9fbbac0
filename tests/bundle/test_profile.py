"""The file that says which module each node comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small import DATA

from edgexf import bundle
from edgexf.bundle.profile import read_modules, written_modules
from edgexf.errors import BundleError
from edgexf.pipeline.measure_mode import graphs_in

KEPT = DATA / "bundles" / "v1" / "linformer"
MODULES = {"onnx/model.onnx": {"MatMul_3": "layers.0.attention.query", "Add_9": ""}}


def test_modules_are_read_as_they_were_written() -> None:
    assert read_modules(written_modules(MODULES)) == MODULES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"schema_version":2,"modules":{}}',
        b'{"schema_version":1,"modules":{},"more":1}',
        b'{"schema_version":1,"modules":{"onnx/model.onnx":{"a":1}}}',
        b'{"schema_version":1,"modules":{"onnx/model.onnx":["a"]}}',
        b'{"modules":{}}',
    ],
)
def test_what_is_no_profile_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^a profile must .* export the bundle again") as raised:
        read_modules(data)
    assert "\n" not in str(raised.value)


def test_a_quantized_graph_has_no_profile_since_its_nodes_have_other_names() -> None:
    manifest = bundle.read(KEPT)
    first, *rest = manifest.variants
    known = replace(manifest, variants=(replace(first, profile="profile.json"), *rest))
    assert {graph.profile for graph in graphs_in(known, "q4")} == {""}
