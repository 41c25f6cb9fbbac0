"""The tables of the strongest runs, and the facts about an explanation, on its page."""

from __future__ import annotations

import re
from dataclasses import replace

from explanations import HOSTILE, Page, explanation, token_explanation

RUN = re.compile(r'<tr><th scope="row"><span class="(\w+)">([^<]*)</span>')


def test_a_run_has_the_colour_of_its_score() -> None:
    """One strong byte in a weak run must not outshine a stronger run of faint bytes."""
    scores = [0.0] * 30
    scores[2:10] = [0.5] * 8  # 4.0 in all
    scores[20] = 2.0
    scores[25] = -1.0
    found = RUN.findall(explanation(b"a" * 30, scores).to_html())
    assert found == [("p20", "aaaaaaaa"), ("p10", "a"), ("n5", "a")]


def test_a_run_without_spaces_is_cut() -> None:
    word = "x" * 500
    ((_, shown),) = RUN.findall(token_explanation(["a", " ", word], [0.0, 0.0, 2.0, 0.0]).to_html())
    assert shown == "x" * 40 + "…"


def test_a_page_names_the_bundle_the_machine_the_date_and_the_true_label() -> None:
    shown = replace(explanation(b"ab"), machine=f"CPU {HOSTILE}", date="2026-11-28T12:00:00+00:00", truth=f"c{HOSTILE}")
    page = Page(shown.to_html())
    assert "<script" not in page.html
    for fact in (shown.model_sha256, shown.date, "CPU ", "The true label is c", "the answer is wrong"):
        assert fact in page.text("main")
    right = replace(shown, truth="python")
    assert "the answer is right" in Page(right.to_html()).text("main")
    assert "true label" not in Page(explanation(b"ab").to_html()).text("main").lower()


def test_a_narrow_screen_is_told_what_scrolls() -> None:
    html = explanation(bytes(40)).to_html()
    assert re.search(r'class="note sideways">[^<]*sideways.</p><div class="view view-hex"', html)
