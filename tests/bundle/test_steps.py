"""The steps of a picture in a manifest: what is wrong in a file is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from edgexf.bundle.manifest import optional
from edgexf.bundle.preprocess import Bytes, Image, Text
from edgexf.bundle.steps import size_of, steps_of
from edgexf.errors import BundleError

RESIZE = {"step": "resize", "rule": "exact", "size": [4, 6], "filter": "bicubic"}
EDGE = {"step": "resize", "rule": "shortest_edge", "size": [5], "filter": "bicubic"}
CROP = {"step": "crop", "size": [4, 4], "half": "down"}
RESCALE = {"step": "rescale", "factor": 1 / 255, "offset": 0.0}
NORMALIZE = {"step": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
GOOD = {"kind": "image", "steps": [RESIZE, CROP, RESCALE, NORMALIZE], "patch": 2}
KINDS = (Bytes, Text, Image)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({}, "must be a list"),
        ([3], "a step must be one of"),
        ([{"step": "blur"}], "a step must be one of"),
        ([{"step": ["resize"]}], "a step must be one of"),
        ([{**RESIZE, "more": 1}], "unknown"),
        ([{"step": "resize"}], "missing"),
        ([{**RESIZE, "size": [4]}], "2 whole numbers"),
        ([{**RESIZE, "size": [0, 4]}], "2 whole numbers"),
        ([{**RESIZE, "size": [4, 1 << 20]}], "2 whole numbers"),
        ([{**RESIZE, "size": 4}], "2 whole numbers"),
        ([{**RESIZE, "filter": "magic"}], "filter must be"),
        ([{**RESIZE, "rule": "magic"}], "rule of a resize"),
        ([{**CROP, "half": "up"}], "half must be"),
        ([{**RESCALE, "factor": "1"}], "finite numbers"),
        ([{**RESCALE, "factor": float("nan")}], "finite numbers"),
        ([{**NORMALIZE, "mean": [0.5]}], "3 finite numbers"),
        ([{**NORMALIZE, "std": [0.5, 0, 0.5]}], "std must not be 0"),
        ([RESCALE, RESIZE], "a resize must stand before the numbers"),
    ],
)
def test_wrong_steps_are_refused(steps: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        optional(KINDS, {**GOOD, "steps": steps})


def test_a_record_comes_back_from_its_json() -> None:
    found = optional(KINDS, GOOD)
    assert isinstance(found, Image)
    assert vars(found.steps[0]) == {**RESIZE, "size": (4, 6)}
    with pytest.raises(BundleError, match="unknown"):
        optional(KINDS, {**GOOD, "more": 1})
    with pytest.raises(ValueError, match="patch"):
        optional(KINDS, {**GOOD, "patch": -1})


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        (("batch_size", 3, 4, 4), True),
        (("batch_size", 3, "height", "width"), True),
        (("batch_size", "channels", 4, "width"), True),
        (("batch_size", 3, 4, 5), False),
        (("batch_size", 1, 4, 4), False),
        (("batch_size", 3, 8, 4, 4), False),
    ],
)
def test_pictures_have_the_size_that_the_model_takes(shape: tuple[Any, ...], fits: bool) -> None:
    if fits:
        optional(KINDS, GOOD).check(1, 1, {"pixel_values": shape})
        return
    with pytest.raises(ValueError, match="pictures"):
        optional(KINDS, GOOD).check(1, 1, {"pixel_values": shape})


def test_a_picture_of_its_own_shape_needs_a_model_of_any_size() -> None:
    free = optional(KINDS, {**GOOD, "steps": [EDGE, RESCALE]})
    assert size_of(free.steps) is None
    assert size_of(steps_of([EDGE, CROP])) == (4, 4)
    free.check(1, 1, {"pixel_values": ("batch_size", 3, "height", "width")})
    with pytest.raises(ValueError, match="each of its own size"):
        free.check(1, 1, {"pixel_values": ("batch_size", 3, 5, 5)})
    with pytest.raises(ValueError, match="alone"):
        free.check(1, 1, {"pixel_values": ("batch_size", 3, "height", "width"), "input_ids": ("batch_size", "length")})
