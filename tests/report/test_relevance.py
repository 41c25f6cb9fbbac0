"""Shared by both views of an explanation: readable colours, and the strongest runs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from explanations import (
    contrast,
    explanation,
    explanations,
    linear,
    page_of,
    palette,
    plain,
    shade_of,
)
from hypothesis import given
from hypothesis import strategies as st

from edgexf.report.colours import LEVELS
from edgexf.report.explanation import Explanation
from edgexf.report.relevance import pieces_of, relevance_of
from edgexf.report.runs import maximal_segments, strongest_runs


def test_there_are_forty_one_colours_and_zero_is_white() -> None:
    assert len(palette()) == 2 * LEVELS + 1
    assert palette()["z"] == (255, 255, 255)


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_for_is_orange_and_against_is_blue(level: int) -> None:
    red, green, blue = palette()[f"p{level}"]
    assert red > green > blue
    red, green, blue = palette()[f"n{level}"]
    assert blue > green > red


@pytest.mark.parametrize("side", ["n", "p"])
def test_colours_grow_darker_with_the_score(side: str) -> None:
    lights = [float(linear(palette()[f"{side}{level}"]).sum()) for level in range(1, LEVELS + 1)]
    assert lights == sorted(lights, reverse=True)
    assert len(set(lights)) == LEVELS


def test_text_is_readable_on_every_colour() -> None:
    ink = re.search(r"\.view \{[^}]*?\bcolor: #(..)(..)(..)", page_of(explanation(b"x")).text("style"))
    assert ink is not None
    text = [int(part, 16) for part in ink.groups()]
    assert min(contrast(text, background) for background in palette().values()) >= 4.5


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as colour-blind readers see it.
COLOUR_BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_colour_blind_readers_can_tell_the_sides_apart(kind: str) -> None:
    seen = {name: np.array(COLOUR_BLINDNESS[kind]) @ linear(rgb) for name, rgb in palette().items()}
    full = np.abs(seen[f"p{LEVELS}"] - seen[f"n{LEVELS}"]).max()
    half = np.abs(seen[f"p{LEVELS // 2}"] - seen[f"n{LEVELS // 2}"]).max()
    assert full > 0.4
    assert half > 0.2


def test_a_score_has_its_sides_colour_in_both_views() -> None:
    page = page_of(explanation(b"abcde", [-1.0, -0.5, 0.0, 0.5, 1.0]))
    wanted = ["n20", "n10", "z", "p10", "p20"]
    assert [shade_of(attributes) for attributes, _ in page.hex_cells()] == wanted
    assert [shade_of(attributes) for attributes, _ in page.characters()] == wanted


def test_colours_are_scaled_by_the_largest_score_shown_and_the_legend_names_it() -> None:
    page = page_of(explanation("aé".encode(), [0.25, 0.5, 1.5]))
    assert [shade_of(attributes) for attributes, _ in page.characters()] == ["p2", "p20"]
    assert [shade_of(attributes) for attributes, _ in page.hex_cells()] == ["p2", "p5", "p15"]
    words, text, binary = (legend for _, legend in page.all("figure"))
    assert text.replace("character", "byte") == binary
    for said in ("against python", "for python", "-2.000", "+2.000", "normalised", "|score| of a character (2.000)"):
        assert said in text
    assert "+2.250" in words  # both letters form one word


def test_scores_of_zero_are_white_and_strongest_for_nothing() -> None:
    shown = explanation(b"abc\xff", [0.0] * 4)
    page = page_of(shown)
    assert {shade_of(attributes) for attributes, _ in [*page.hex_cells(), *page.characters()]} == {"z"}
    assert [text for _, text in page.all("td")].count("none") == 2
    assert "abc" in plain(shown)


def best_segments(values: list[float]) -> list[tuple[int, int]]:
    """Finds the best segment, then repeats this on both sides of it (Ruzzo and Tompa 1999, section 2)."""
    sums = {
        (start, end): sum(values[start:end])
        for start in range(len(values))
        for end in range(start + 1, len(values) + 1)
    }
    if not sums or max(sums.values()) <= 0:
        return []
    start, end = max(sums, key=sums.__getitem__)
    right = [(end + left, end + last) for left, last in best_segments(values[end:])]
    return [*best_segments(values[:start]), (start, end), *right]


@given(st.lists(st.integers(-9, 9), max_size=14))
def test_runs_are_the_maximal_scoring_segments(whole: list[int]) -> None:
    values = [value + 0.5 ** (index + 3) for index, value in enumerate(whole)]  # no two segments have the same sum
    assert maximal_segments(values) == best_segments(values)


@given(explanations())
def test_the_strongest_character_is_in_a_run_of_its_side(shown: Explanation) -> None:
    pieces = relevance_of(shown).pieces
    strongest = max(pieces, key=lambda piece: abs(piece.score))
    runs = strongest_runs(pieces, 1 if strongest.score > 0 else -1, len(pieces))
    assert any(strongest in run.pieces for run in runs) == (strongest.score != 0)


def test_runs_are_ordered_by_their_sums_and_cut_to_the_count() -> None:
    scores = np.array([0, 1, 0, 0, 3, 0, 0, 2, 0, 0, -5.0])
    pieces = pieces_of(b"0123456789a", scores)
    assert [run.start for run in strongest_runs(pieces, 1, 2)] == [4, 7]
    assert [run.score for run in strongest_runs(pieces, -1, 2)] == [-5.0]
