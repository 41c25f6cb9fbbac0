"""The terminal view shows the whole explanation, within the width of the terminal, also without colours."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from explanations import (
    explanation,
    palette,
    plain,
    some_bytes,
)
from hypothesis import given
from rich.cells import cell_len

from edgexf.report.terminal.explanation import explanation_text


def test_the_terminal_view_says_everything_without_colours() -> None:
    scores = [0.0] * 9
    scores[0:2], scores[8] = [1.0, 0.5], -0.25
    text = plain(replace(explanation(b"import os", scores), target={"python": 1.0, "c": -1.0}))
    for words in ("python 97.00%", "notes.py", "gradient of python over c", "import os", "for python over c"):
        assert words in text
    assert re.search(r"\+1\.500 +at 0 +“im”", text)
    assert re.search(r"-0\.2500 +at 8 +“s”", text)
    assert "explained +2.125 = relevance +2.000 (class token +0.7500) + residual +0.1250" in text


def test_the_terminal_view_shows_the_rows_around_the_strongest_run() -> None:
    data = b"".join(b"line %d\n" % number for number in range(100))
    scores = [0.0] * len(data)
    scores[data.index(b"line 50")] = 1.0
    text = plain(explanation(data, scores), lines=5)
    assert [number for number in range(100) if f"line {number}↵" in text] == [48, 49, 50, 51, 52]
    assert "48 more rows above" in text
    assert "47 more rows below" in text


@pytest.mark.parametrize("width", [40, 80, 120])
@given(data=some_bytes)
def test_rows_of_the_terminal_view_keep_to_its_width_and_lines(width: int, data: bytes) -> None:
    rows = explanation_text(explanation(data * 9), width=width, lines=4).plain.split("\nfor python")[0].split("\n")[1:]
    assert len(rows) <= 4 + 2
    assert max(cell_len(row) for row in rows) <= width


def test_the_terminal_view_of_binary_data_is_a_hex_dump() -> None:
    text = plain(explanation(bytes(16) + b"\x89PNG"))
    assert "000010  89 50 4E 47  ·PNG" in text


def test_the_terminal_colours_a_byte_as_the_page_does() -> None:
    text = explanation_text(explanation(b"abc", [-1.0, 0.0, 1.0]))
    backgrounds = {
        text.plain[span.start : span.end]: span.style.bgcolor.name  # type: ignore[union-attr]
        for span in text.spans
        if getattr(span.style, "bgcolor", None)
    }
    expected = {
        char: "#{:02x}{:02x}{:02x}".format(*palette()[name])
        for char, name in zip("abc", ("n20", "z", "p20"), strict=True)
    }
    assert backgrounds == expected
