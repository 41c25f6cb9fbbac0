"""The file that says where the time of each graph goes."""

from __future__ import annotations

import json

import pytest

from edgexf.bundle.operations import Operations, Part, Region
from edgexf.bundle.profile import LARGEST, GraphProfile, read_profile, written_profile
from edgexf.errors import BundleError

OPERATIONS = Operations((Part(Region({"sequence_length": (2, 64, 1)}, ("sequence_length",)), {"float32": ((6, 1),)}),))
GRAPHS = {
    "onnx/model.onnx": GraphProfile({"MatMul_3": "layers.0.attention.query", "Add_9": ""}, OPERATIONS),
    "onnx/explain.onnx": GraphProfile({}, None, ("Scan",)),
}


def test_a_profile_is_read_as_it_was_written() -> None:
    assert read_profile(written_profile(GRAPHS)) == GRAPHS


def test_a_profile_of_the_first_schema_tells_modules() -> None:
    data = b'{"schema_version":1,"modules":{"onnx/model.onnx":{"MatMul_3":"layers.0"}}}'
    assert read_profile(data) == {"onnx/model.onnx": GraphProfile({"MatMul_3": "layers.0"})}


def of(graph: object) -> bytes:
    return json.dumps({"schema_version": 2, "graphs": {"onnx/model.onnx": graph}}).encode()


KNOWN = {"modules": {}, "operations": None, "uncounted": []}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b" " * (LARGEST + 1),
        b'{"schema_version":3,"graphs":{}}',
        b'{"schema_version":true,"modules":{}}',
        b'{"schema_version":[],"graphs":{}}',
        b'{"schema_version":1,"graphs":{}}',
        b'{"schema_version":2,"modules":{}}',
        b'{"schema_version":2,"graphs":{},"more":1}',
        b'{"schema_version":2,"graphs":[]}',
        b'{"schema_version":' + b"9" * 5000 + b',"graphs":{}}',
        b'{"schema_version":1,"modules":{"onnx/model.onnx":{"a":1}}}',
        b'{"schema_version":1,"modules":{"onnx/model.onnx":["a"]}}',
        b'{"graphs":{}}',
        of([]),
        of({}),
        of({**KNOWN, "modules": {"a": None}}),
        of({**KNOWN, "modules": ["a"]}),
        of({**KNOWN, "modules": ["a"] * 10_000}),
        of({**KNOWN, "uncounted": "Scan"}),
        of({**KNOWN, "uncounted": [1]}),
        of({**KNOWN, "operations": {}}),
        of({**KNOWN, "operations": [{"sizes": {"n\n": [1, 9, 1]}, "factors": ["m"], "terms": {}}]}),
        of({**KNOWN, "operations": [{"sizes": {"n": [1, 9, 1]}, "factors": ["n"], "terms": {"a": [[1e300, 1]]}}]}),
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^a profile must .* export the bundle again") as raised:
        read_profile(data)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600
