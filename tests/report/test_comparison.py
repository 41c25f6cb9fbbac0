"""Explanations side by side: of one input, with ranks by the definition, on one page and in one terminal view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from explanations import HOSTILE, Page, explanation, explanations, score_in, shade_of, token_explanation
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import spearmanr

from edgexf.errors import UsageError
from edgexf.report.comparison import Comparison
from edgexf.report.explanation import Explanation
from edgexf.report.html.document import POLICY
from edgexf.report.ranks import ranks, spearman, strongest
from edgexf.report.relevance import relevance_of
from edgexf.report.terminal.comparison import comparison_text

WORDS = ["good", " ", "film", " ", "bad", " ", "end", "ing"]


def by(method: str, scores: Sequence[float], **parts: object) -> Explanation:
    return replace(token_explanation(WORDS, [0.0, *scores, 0.0]), method=method, **parts)


def three() -> Comparison:
    return Comparison(
        (
            by("gradient", [4.0, 1.0, -8.0, 1.0, 1.0]),
            by("occlusion", [0.2, 0.3, -0.1, 0.0, 0.0], baseline="[MASK]", explained=2.0, residual=1.6),
            by("lime", [0.0] * 5),
        )
    )


def page_of(comparison: Comparison) -> Page:
    return Page(comparison.to_html())


def plain(comparison: Comparison, width: int = 100) -> str:
    """Returns the terminal view as a terminal without colours prints it."""
    console = Console(file=StringIO(), width=200, color_system=None, force_terminal=False)
    console.print(comparison_text(comparison, width))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def table(page: Page, title: str) -> list[list[str]]:
    """Returns the cells of the rows in the section with this title."""
    rows: list[list[str]] = []
    inside = False
    for tag, _, text in page.elements:
        if tag == "h2":
            inside = "".join(text) == title
        elif inside and tag == "tr":
            rows.append([])
        elif inside and tag in ("th", "td"):
            rows[-1].append("".join(text))
    return rows


# Figures

few = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=12)


@given(few, st.randoms())
def test_the_correlation_is_spearmans(one: list[float], random: object) -> None:
    other = [*one]
    random.shuffle(other)  # type: ignore[attr-defined]
    found = spearman(np.array(one), np.array(other))
    if len(set(one)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [3.0, 0.0, 3.0, 1.0, 3.0]


@pytest.mark.parametrize("scale", [1e-38, 1e-3, 1e38])
def test_scales_do_not_change_how_far_explanations_agree(scale: float) -> None:
    one = by("one", [3.0, -1.0, 2.0, 0.5, -3.0])
    other = replace(one, method="other", scores=one.scores * np.float32(scale))
    [found] = Comparison((one, other)).agreements
    assert (found.correlation, found.common, found.strongest) == (pytest.approx(1.0), 5, 5)


def test_the_strongest_are_the_largest_of_either_sign_and_never_zero() -> None:
    assert strongest(np.array([0.0, -5.0, 1.0, 0.0])) == {1, 2}
    assert strongest(np.array([*[1.0] * 9, -2.0, 1.0, 1.0])) == {*range(9), 9}


def test_agreement_counts_the_strongest_in_common() -> None:
    one = explanation(b"x" * 20, [20.0 - place for place in range(20)])
    other = replace(one, method="other", scores=np.array([9.0, *range(15), *[-40.0] * 5], dtype=np.float32))
    [found] = Comparison((one, other)).agreements
    assert (found.first, found.second, found.common, found.strongest) == (0, 1, 0, 10)
    [same] = Comparison((one, replace(one, method="other"))).agreements
    assert (same.correlation, same.common, same.strongest) == (pytest.approx(1.0), 10, 10)


def test_every_pair_is_compared_once() -> None:
    assert [(one.first, one.second) for one in three().agreements] == [(0, 1), (0, 2), (1, 2)]
    assert [one.correlation is None for one in three().agreements] == [False, True, True]


# What may stand side by side


@pytest.mark.parametrize(
    "other",
    [
        token_explanation([*WORDS[:-1], "ed"]),
        token_explanation([*WORDS[:-2], "ending"]),
        token_explanation(WORDS, special=False),
        replace(token_explanation(WORDS), data=b"good film bad endings"),
        explanation(b"good film bad ending"),
    ],
)
def test_explanations_of_different_inputs_are_refused(other: Explanation) -> None:
    with pytest.raises(UsageError, match="same input"):
        Comparison((token_explanation(WORDS), other))


@pytest.mark.parametrize("count", [0, 1])
def test_one_explanation_is_no_comparison(count: int) -> None:
    with pytest.raises(UsageError, match="at least two"):
        Comparison((token_explanation(WORDS),) * count)


def test_columns_are_named_by_what_tells_them_apart() -> None:
    one = by("gradient", [0.0] * 5)
    other = replace(one, target={"c": 1.0, "python": -1.0})
    assert three().labels == ("gradient", "occlusion", "lime")
    assert Comparison((one, other)).labels == ("gradient, python", "gradient, c over python")
    assert Comparison((one, one, replace(one, method="lime"))).labels == ("gradient (1)", "gradient (2)", "lime")
    assert Comparison((replace(one, position=1), replace(one, position=2))).labels == (
        "gradient, token 1",
        "gradient, token 2",
    )
    small = replace(one, model="small", model_sha256="0" * 64)
    assert Comparison((one, small)).labels == ("gradient, linformer", "gradient, small")


# The page


def test_the_page_has_a_row_for_each_explanation_with_its_raw_values() -> None:
    rows = table(page_of(three()), "Side by side")
    assert rows[0] == ["", "Method", "Target", "Baseline", "Explained", "Sum", "Residual", "Time, ms"]
    assert rows[2] == ["occlusion", "occlusion", "python", "[MASK]", "+2.000", "+0.4000", "+1.600", "12.5"]
    assert [row[3] for row in rows[1:]] == ["-", "[MASK]", "-"]


def test_the_page_says_how_far_each_pair_agrees_on_both_sides_of_the_diagonal() -> None:
    rows = table(page_of(three()), "Agreement")
    correlation = spearmanr(*(one.scores for one in three().explanations[:2])).statistic
    assert rows[0] == ["", "gradient", "occlusion", "lime"]
    assert rows[1:] == [
        ["gradient", "", f"{correlation:+.2f}, 3 of 5", "-, 0 of 5"],
        ["occlusion", f"{correlation:+.2f}, 3 of 5", "", "-, 0 of 3"],
        ["lime", "-, 0 of 5", "-, 0 of 3", ""],
    ]


def test_the_strongest_words_of_all_stand_on_one_line_each() -> None:
    rows = table(page_of(three()), "Strongest words")
    assert rows == [
        ["Word", "Offset", "gradient", "occlusion", "lime"],
        ["good", "0", "+4.000", "+0.2000", "0"],
        ["film", "5", "+1.000", "+0.3000", "0"],
        ["bad", "10", "-8.000", "-0.1000", "0"],
        ["ending", "14", "+2.000", "0", "0"],
    ]
    cells = [(shade_of(attributes), text) for attributes, text in page_of(three()).all("td") if "class" in attributes]
    assert [shade for shade, text in cells if text and "of" not in text] == [
        "p10", "p13", "z", "p2", "p20", "z", "n20", "n7", "z", "p5", "z", "z",
    ]  # fmt: skip


def test_a_word_without_end_is_cut_where_it_is_named() -> None:
    one = explanation(b"x" * 500, [1.0] * 500)
    page = page_of(Comparison((one, replace(one, method="lime"))))
    assert table(page, "Strongest words")[1][0] == "x" * 60 + "…"
    [(button, _, text), _] = page.choices("words")
    assert button["aria-label"].startswith("x" * 60 + "… ")
    assert text == "x" * 500


def test_every_column_is_coloured_up_to_its_own_peak() -> None:
    page = page_of(three())
    shades = [shade_of(text) for _, text, _ in page.choices("tokens")]
    assert [shades[start : start + 5] for start in (0, 5, 10)] == [
        ["p10", "p2", "n20", "p2", "p2"],
        ["p13", "p20", "n7", "z", "z"],
        ["z"] * 5,
    ]
    scores = [score_in(text["title"]) for _, text, _ in page.choices("tokens")]
    assert scores == pytest.approx([score for one in three().explanations for score in one.scores[1:-1]], rel=1e-3)


def test_columns_share_the_switch_and_have_buttons_of_their_own() -> None:
    page = page_of(three())
    groups = [button["name"] for button, _ in page.all("input")]
    assert groups.count("view") == 2
    assert {group: groups.count(group) for group in groups if group != "view"} == {
        **{f"w{column}": 4 for column in range(3)},
        **{f"t{column}": 5 for column in range(3)},
    }
    assert [text for _, text in page.all("h3")] == ["gradient", "occlusion", "lime"]


def test_several_models_are_named_with_their_answers() -> None:
    one = token_explanation(WORDS)
    sure = replace(one.prediction, label="c", score=0.5)
    other = replace(one, model="small", model_sha256="0" * 64, prediction=sure)
    silent = replace(other, model="vectors", model_sha256="1" * 64, prediction=None)
    rows = table(page_of(Comparison((one, other, silent))), "Side by side")
    assert [row[-2:] for row in rows] == [
        ["Model", "Answer"],
        ["linformer", "python 97.00%"],
        ["small", "c 50.00%"],
        ["vectors", "-"],
    ]


def test_binary_data_without_words_is_compared_by_its_bytes() -> None:
    one = explanation(b"\x00\xff\x01", [0.5, -1.0, 0.0])
    rows = table(page_of(Comparison((one, replace(one, method="lime")))), "Strongest tokens")
    assert rows[1:] == [["\\x00", "0", "+0.5000", "+0.5000"], ["\\xFF", "1", "-1.000", "-1.000"]]


def hostile() -> Comparison:
    shown = explanation(HOSTILE.encode("utf-8", "surrogateescape"), name=HOSTILE)
    answer = replace(shown.prediction, label=HOSTILE, top=((HOSTILE, 0.9),))
    one = replace(shown, target={HOSTILE: 1.0}, method=HOSTILE, model=HOSTILE, baseline=HOSTILE, prediction=answer)
    return Comparison((one, replace(one, model_sha256=HOSTILE), replace(one, target={HOSTILE: 2.0, "c": 1.0})))


def test_nothing_from_outside_is_markup_or_steers_the_display() -> None:
    page = page_of(hostile())
    tame = explanation(b"tame")
    assert {tag for tag, _, _ in page.elements} == {tag for tag, _, _ in page_of(Comparison((tame, tame))).elements}
    for text in (page.html, plain(hostile())):
        assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert "<script" not in page.html
    assert [meta["content"] for meta, _ in page.all("meta") if "http-equiv" in meta] == [POLICY]
    assert not re.search(r"https?:|//|@import|url\(", page.html)


@given(st.lists(explanations(), min_size=1, max_size=2))
def test_any_explanation_stands_beside_itself(shown: list[Explanation]) -> None:
    comparison = Comparison((shown[0], replace(shown[0], method="again", scores=-shown[0].scores)))
    page = page_of(comparison)
    text = relevance_of(shown[0])
    assert len(page.characters()) == (2 * len(text.pieces) if text.is_text else 0)
    assert len(page.hex_cells()) == (0 if text.is_text else 2 * len(text.data))
    assert "again" in plain(comparison)


@pytest.mark.parametrize("score", [0.0, 3.4e38, -1e-45])
@pytest.mark.parametrize("data", [b"", b"x", b" ", b"\xff", "日".encode()])
def test_a_page_and_a_terminal_view_of_next_to_nothing(data: bytes, score: float) -> None:
    one = explanation(data, [score] * len(data))
    comparison = Comparison((one, replace(one, method="other", prediction=None, target={})))
    for shown in (one.to_html(), comparison.to_html(), plain(comparison), plain(comparison, 20)):
        assert not re.search(r"\b(nan|inf)\b", shown)
    assert len(page_of(comparison).all("article")) == 2


# The terminal view


def test_the_terminal_view_says_what_the_page_says() -> None:
    text = plain(three())
    for said in ("python 97.00%", "review.txt", "+0.4000", "+1.600", "gradient / occlusion", "3 of 5", "-, 0 of 3"):
        assert said in text
    assert re.search(r"bad +-8\.000 +film +\+0\.3000", text)
    assert re.search(r"good +\+4\.000 +good +\+0\.2000", text)


def test_columns_that_do_not_fit_go_below() -> None:
    wide, narrow = (re.search(r"bad +-8\.000 +film", plain(three(), width)) for width in (100, 30))
    assert wide
    assert not narrow
    assert "film" in plain(three(), 30)
