"""The explanation of a picture: its JSON, its page and its terminal view."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pictures import pixels
from PIL import Image

from edgexf.errors import EdgexfError, InputError
from edgexf.report.html.picture import heat_map, picture_page, strongest
from edgexf.report.picture import PictureExplanation
from edgexf.report.png import read_png, write_png
from edgexf.report.prediction import Prediction
from edgexf.report.terminal.picture import picture_text

SCORES = np.array([[0.5, -1.0, 0.0], [0.01, 0.25, -0.5]], dtype=np.float32)
TOP = (("cat", 0.75), ("dog", 0.25))
WHY = PictureExplanation(
    input="<b>cat.png</b>", pixels=pixels(14, 20), scores=SCORES, cell=8, target={"cat": 1.0}, explained=1.5,
    residual=1.5 - float(SCORES.sum()), method="attnlrp",
    prediction=Prediction("<b>cat.png</b>", "cat", 0.75, TOP, False, 1.0), model="model", model_sha256="a" * 64,
    graph_sha256="b" * 64, ms=2.0, truncated=False,
)  # fmt: skip


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_holds_the_pixels(channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(BytesIO(write_png(array)))), array)
    if channels == 3:
        assert np.array_equal(read_png(write_png(array)), array)


def test_a_png_of_another_kind_is_refused() -> None:
    good, other = write_png(pixels(5, 7)), BytesIO()
    Image.fromarray(pixels(5, 7)).convert("L").save(other, "PNG")
    pixel, checksum = (bytes([*good[:place], good[place] ^ 1, *good[place + 1 :]]) for place in (45, len(good) - 14))
    for bad in (
        b"",
        good[:-5],
        good + b"x",
        pixel,
        checksum,
        other.getvalue(),
        write_png(np.zeros((2, 2, 4), np.uint8)),
    ):
        with pytest.raises(ValueError, match=r"PNG"):
            read_png(bad)


def test_json_keeps_every_value() -> None:
    assert PictureExplanation.from_json(WHY.to_json()) == WHY
    assert PictureExplanation.from_json(replace(WHY, prediction=None, truth="dog").to_json()).truth == "dog"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema_version", 2), ("kind", "text"), ("png", "AAAA"), ("scores", [[1.0]]), ("scores", [[1, 2], [3]]), ("cell", 0),
        ("explained", "1"), ("target", []), ("input", 3), ("unknown", 1), ("residual", 1e999),
    ],
)  # fmt: skip
def test_other_json_is_an_error_of_one_sentence(key: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        PictureExplanation.from_json(json.dumps({**WHY.to_dict(), key: value}))
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(EdgexfError, match="finite"):
        replace(WHY, scores=SCORES * np.nan)
    with pytest.raises(ValueError, match=r"scores must be \[2, 3\]"):
        replace(WHY, scores=SCORES[:1])


def test_the_page_needs_nothing_from_outside() -> None:
    page = WHY.to_html()
    assert "<script" not in page
    assert "<b>" not in page
    assert "img-src data:" in page
    assert all(address.startswith("data:image/png;base64,") for address in re.findall(r'src="([^"]*)"', page))
    assert len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", page)) == 3


def test_the_page_holds_the_picture_and_the_values_that_add_up() -> None:
    page = picture_page([WHY, replace(WHY, method="cplrp")])
    first = re.findall(r'src="data:image/png;base64,([^"]*)"', page)[0]
    assert np.array_equal(read_png(b64decode(first)), WHY.pixels)
    for text in ("+1.500", "+2.240", "-0.7400", "75.00%", "attnlrp", "cplrp", "8 to 15"):
        assert text in page


def test_the_map_is_orange_for_and_blue_against_the_target() -> None:
    found = heat_map(WHY).astype(int)
    assert found.shape == (14, 20, 4)
    for row, column, sign in ((0, 0, 1), (0, 8, -1), (13, 19, -1), (8, 8, 1)):
        red, _, blue, opaque = found[row, column]
        assert (red > blue) == (sign > 0)
        assert opaque > 0
    assert found[0, 8, 3] == found[..., 3].max()  # the strongest cell
    assert found[0, 16, 3] == 0  # a score of 0 hides nothing
    assert not heat_map(replace(WHY, scores=0 * SCORES))[..., 3].any()


def test_strongest_cells_are_ordered_and_of_one_sign() -> None:
    assert [(row, column) for row, column, _ in strongest(WHY, 1, 2)] == [(0, 0), (1, 1)]
    assert [(row, column) for row, column, _ in strongest(WHY, -1, 9)] == [(0, 1), (1, 2)]


def test_the_terminal_shows_the_sign_of_each_cell() -> None:
    lines = picture_text(WHY).plain.split("\n")
    assert lines[1:3] == ["+ -   ", "  + - "]
    assert "relevance -0.7400" in lines[-1]
