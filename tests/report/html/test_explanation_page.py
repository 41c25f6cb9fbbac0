"""The page of an explanation: nothing is lost, nothing is interpreted, nothing comes from outside."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from explanations import (
    CLASS_SCORE,
    HOSTILE,
    Page,
    bytes_in,
    explanation,
    explanations,
    offset_in,
    page_of,
    plain,
    score_in,
    shade_of,
    token_explanation,
    token_explanations,
)
from hypothesis import given
from hypothesis import strategies as st

from edgexf.report.characters import visible
from edgexf.report.explanation import Explanation
from edgexf.report.html.explanation import explanation_page
from edgexf.report.relevance import relevance_of, signed

# Nothing is lost


@given(explanations())
def test_the_hex_view_holds_every_byte_with_its_offset_and_score(shown: Explanation) -> None:
    cells = page_of(shown).hex_cells()
    assert bytes.fromhex("".join(text for _, text in cells)) == shown.data
    titles = [attributes["title"] for attributes, _ in cells]
    assert b"".join(bytes_in(title) for title in titles) == shown.data
    assert [offset_in(title) for title in titles] == list(range(len(shown.data)))
    assert [score_in(title) for title in titles] == pytest.approx(shown.scores[1:], rel=1e-3)


@given(explanations())
def test_the_text_view_holds_every_byte_once_and_in_order(shown: Explanation) -> None:
    titles = [attributes["title"] for attributes, _ in page_of(shown).characters()]
    assert b"".join(bytes_in(title) for title in titles) == shown.data
    lengths = [len(bytes_in(title)) for title in titles]
    assert [offset_in(title) for title in titles] == [sum(lengths[:index]) for index in range(len(lengths))]


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" \n\t"), min_size=1, max_size=60))
def test_readable_text_stands_in_the_text_view_as_it_is(text: str) -> None:
    characters = page_of(explanation(text.encode())).characters()
    assert "".join(shown for _, shown in characters) == text


def test_a_character_has_the_sum_of_its_bytes() -> None:
    scores = [0.5, 0.25, -1.0, 2.0, 0.125, 0.0625]
    characters = page_of(explanation("aß€".encode(), scores)).characters()
    assert [score_in(attributes["title"]) for attributes, _ in characters] == pytest.approx(
        [0.5, -0.75, 2.1875], rel=1e-3
    )


def test_a_token_of_several_bytes_spreads_its_score_over_them() -> None:
    shown = replace(
        explanation(b"import"),
        tokens=("[class]", "im", "port"),
        offsets=((0, 0), (0, 2), (2, 6)),
        scores=np.array([CLASS_SCORE, 3.0, -2.0], dtype=np.float32),
    )
    assert relevance_of(shown).byte_scores.tolist() == [1.5, 1.5, -0.5, -0.5, -0.5, -0.5]


def test_bytes_behind_those_that_the_model_read_are_not_shown() -> None:
    shown = explanation(b"abc")
    longer = replace(shown, data=b"abcdef")
    assert explanation_page(longer) == explanation_page(shown)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x00", r"\x00"),
        (b"\x7f", r"\x7F"),
        (b"\r", r"\x0D"),
        (b"\xff", r"\xFF"),
        ("\u202e".encode(), "U+202E"),
        ("\u2066".encode(), "U+2066"),
        ("\ufeff".encode(), "U+FEFF"),
        ("\u0085".encode(), "U+0085"),
        ("\u2028".encode(), "U+2028"),
        ("\u00a0".encode(), "U+00A0"),
    ],
)
def test_what_would_be_invisible_is_a_chip_with_its_name(data: bytes, shown: str) -> None:
    [(attributes, text)] = page_of(explanation(data)).characters()
    assert text == shown
    assert "chip" in attributes["class"].split()


@given(token_explanations())
def test_the_views_of_a_model_of_tokens_hold_the_text_and_every_score(shown: Explanation) -> None:
    page = page_of(shown)
    tokens = page.choices("tokens")
    assert [score_in(text["title"]) for _, text, _ in tokens] == pytest.approx(shown.scores[1:-1], rel=1e-3)
    words = page.choices("words")
    assert [score_in(text["title"]) for _, text, _ in words] == pytest.approx(
        [word.score for word in shown.words], rel=1e-3
    )
    assert [text for _, _, text in words] == [visible(word.text) for word in shown.words]
    for token, score in (("[CLS]", shown.scores[0]), ("[SEP]", shown.scores[-1])):
        assert f"{token} {signed(float(score))}" in page.text("main")


def test_a_word_is_one_button_of_one_group_that_says_its_score() -> None:
    """The words have one tab stop, arrow keys move between words, and each word has a name for screen readers.

    The `title` of the selected word fills the line below.
    """
    page = page_of(token_explanation(["embed", "##ding", " ", "größe"], [0.0, 1.0, 0.5, -2.0, 0.0]))
    found = [(button["type"], button["name"], button["aria-label"]) for button, _, _ in page.choices("words")]
    assert found == [("radio", "w", "embed##ding +1.500"), ("radio", "w", "größe -2.000")]
    assert [text["title"] for _, text, _ in page.choices("tokens")] == [
        "“embed” (embed) offset 0 to 4, score +1.000",
        "“##ding” (##ding) offset 5 to 10, score +0.5000",
        "“größe” (größe) offset 12 to 18, score -2.000",
    ]
    assert [shade_of(text) for _, text, _ in page.choices("words")] == ["p15", "n20"]
    assert {button["name"] for button, _, _ in page.choices("tokens")} == {"t"}
    assert "input:checked + span::after { content: attr(title)" in page.text("style")


def test_tokens_that_share_a_character_are_one_button_with_their_sum() -> None:
    shown = replace(
        token_explanation(["👩"], [1.0], special=False),
        tokens=("ð", "Ł", "ĳ"),
        offsets=((0, 4),) * 3,
        scores=np.array([1.0, 0.5, -0.25], dtype=np.float32),
    )
    [(button, text, shown_text)] = page_of(shown).choices("tokens")
    assert (button["aria-label"], shown_text) == ("👩 +1.250", "👩")
    assert text["title"] == "“👩” (ð, Ł, ĳ) offset 0 to 3, score +1.250"


def test_a_model_of_tokens_opens_with_tokens_and_lists_runs_of_whole_words() -> None:
    page = page_of(
        token_explanation(["an ", "aw", "ful", " ", "fi", "lm", " here"], [0, 0, -1.0, -0.5, -0.5, -0.5, 0.1, 0])
    )
    views = [attributes for attributes, _ in page.all("input") if attributes["name"] == "view"]
    assert [view["id"] for view in views] == ["show-words", "show-tokens"]
    assert ["checked" in view for view in views] == [False, True]
    assert ["awful film", "1", "3", "10", "-2.500"] in rows_of(page)
    page = page_of(token_explanation(["good", "ness", " ", "me"], [0, 2.0, -0.5, 0.1, 0]))
    assert ["goodness", "1", "0", "8", "+1.500"] in rows_of(page)


# Nothing is interpreted


def hostile() -> Explanation:
    """Makes an explanation in which every text from outside tries to be markup or to control the display."""
    shown = explanation(HOSTILE.encode("utf-8", "surrogateescape"), name=HOSTILE)
    answer = replace(shown.prediction, label=HOSTILE, top=((HOSTILE, 0.9),))
    return replace(shown, target={HOSTILE: 1.0}, method=HOSTILE, model=HOSTILE, graph_sha256=HOSTILE, prediction=answer)


def test_names_and_content_from_outside_are_never_markup() -> None:
    page = page_of(hostile())
    assert {tag for tag, _, _ in page.elements} == {tag for tag, _, _ in page_of(explanation(b"tame")).elements}
    assert not any(name.startswith("on") for _, attributes, _ in page.elements for name in attributes)
    assert page.text("h1") == "<script>alert('1')</script>&\"U+202E\\x1B[31m\\x00\\x80"
    assert "<script" not in page.html


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_markup_in_the_content_is_shown_as_it_is(score: float) -> None:
    data = b"<b title='x'>&amp;</b><!-- &"
    page = page_of(explanation(data, [score] * len(data)))
    assert "".join(text for _, text in page.characters()) == data.decode()
    readable = [text for attributes, text in page.all("td", "view-hex") if attributes.get("class") == "ascii"]
    assert "".join(readable) == data.decode()
    assert re.findall(r"<(?![a-z/!])|&(?!\w+;|#)", page.html) == []


@pytest.mark.parametrize("view", [explanation_page, plain])
def test_no_control_character_gets_through(view: object) -> None:
    text = view(hostile())  # type: ignore[operator]
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert text.encode("utf-8")


def test_the_page_needs_nothing_from_outside() -> None:
    page = page_of(explanation(b"import os\n"))
    assert not re.search(r"https?:|//|@import|url\(", page.html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _, _ in page.elements}
    assert not {"src", "href", "srcset", "action"} & {name for _, attributes, _ in page.elements for name in attributes}
    policies = [meta["content"] for meta, _ in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


# The rest of the page


def test_the_page_names_the_answer_the_target_and_the_parts_of_the_value() -> None:
    shown = explanation(b"import os", [0.5, *[0.0] * 7, -0.25])
    page = page_of(replace(shown, target={"python": 1.0, "c": -1.0}))
    assert [cells for cells in rows_of(page) if len(cells) == 2] == [
        ["Label", "Probability"],
        ["python", "97.00%"],
        ["c", "3.00%"],
        ["Part", "Logits"],
        ["Bytes", "+0.2500"],
        ["Class token", "+0.7500"],
        ["Sum of relevance", "+1.000"],
        ["Residual (not attributed)", "+0.1250"],
        ["Explained value", "+1.125"],
    ]
    body = page.text("main")
    for words in (
        "notes.py",
        "97.00%",
        "3.00%",
        "python over c",
        "python +1, c -1",
        "linformer",
        "gradient",
        "12.5 ms",
    ):
        assert words in body
    assert shown.graph_sha256 in [attributes.get("title") for attributes, _ in page.all("code")]


def rows_of(page: Page) -> list[list[str]]:
    """Returns the non-empty cells of every row outside the hex view."""
    rows: list[list[str]] = []
    for index, (tag, _, text) in enumerate(page.elements):
        if index not in page.inside["view-hex"] and tag in ("tr", "th", "td"):
            if tag == "tr":
                rows.append([])
            elif text:
                rows[-1].append("".join(text))
    return rows


def test_a_model_without_a_class_token_has_no_row_for_it() -> None:
    shown = explanation(b"ab", [0.5, 0.25])
    bare = replace(shown, tokens=shown.tokens[1:], offsets=shown.offsets[1:], scores=shown.scores[1:])
    assert ["Class token", "+0.7500"] in rows_of(page_of(shown))
    assert "Class token" not in [cells[0] for cells in rows_of(page_of(bare)) if cells]
    assert "class token" not in plain(bare)


@pytest.mark.parametrize(
    ("truncated", "words"), [(True, "the beginning of a longer input"), (False, "the whole input")]
)
def test_the_page_says_whether_the_input_was_truncated(truncated: bool, words: str) -> None:
    shown = explanation(b"import os")
    page = page_of(replace(shown, truncated=truncated))
    assert words in page.text("header")


def test_a_model_that_gives_no_label_is_explained_without_one() -> None:
    shown = replace(explanation(b"import os", [1.0, *[0.0] * 8]), prediction=None, target={})
    page = page_of(shown)
    assert "The explained value is +1.875." in page.text("header")
    assert ["Part", "Value"] in rows_of(page)
    assert "Probability" not in page.text("main")
    assert "in units of the explained value" in page.text("main")
    assert "for the model's answer" in page.text("main")
    assert plain(shown).startswith("notes.py; gradient of the model's answer\n")


def test_a_score_that_is_no_probability_is_shown_as_the_number_it_is() -> None:
    shown = explanation(b"import os")
    number = replace(shown.prediction, label="stars", score=3.5, top=(("stars", 3.5),), probabilities=False)
    page = page_of(replace(shown, prediction=number))
    assert "The model answers stars with score +3.500." in page.text("header")
    assert ["stars", "+3.500"] in rows_of(page)
    assert "%" not in page.text("main")
    assert "stars +3.500" in plain(replace(shown, prediction=number))


def test_the_page_names_the_place_the_baseline_and_the_settings() -> None:
    shown = replace(token_explanation(["a", " ", "<b>cd"]), position=2, baseline="[MASK]", settings={"steps": [1, 2]})
    for text in (page_of(shown).text("main"), plain(shown)):
        assert "at token 2 (“<b>cd”)" in text
    facts = page_of(shown).text("dl")
    for said in ("Baseline[MASK]", "Steps[1, 2]", f"Bundle sha256{shown.model_sha256}"):
        assert said in facts


def test_of_a_target_with_many_labels_the_largest_are_named() -> None:
    shown = replace(explanation(b"x"), target={f"d{place}": (-1) ** place * place / 100 for place in range(300)})
    page = page_of(shown)
    assert "+2.98×d298 +2.96×d296 -2.97×d297 -2.99×d299 and 296 more" in page.text("main")
    assert "and 280 more" in page.text("main")


def test_the_tables_name_the_strongest_runs_in_order_with_place_and_score() -> None:
    scores = [0.0] * 23
    scores[4:6], scores[12:15], scores[18] = [0.5, 0.5], [1.0, -0.125, 1.0], -0.75
    page = page_of(explanation(b"aaa\nimport os, re\nprint", scores))
    runs = [cells for cells in rows_of(page) if len(cells) == 5]
    assert [cells for cells in runs if cells[0] != "Text"] == [
        ["s, ", "2", "12", "3", "+1.875"],
        ["im", "2", "4", "2", "+1.000"],
        ["p", "3", "18", "1", "-0.7500"],
    ]


def test_a_run_of_spaces_can_be_seen_in_the_table() -> None:
    page = page_of(explanation(b"if a:  b", [0.0] * 5 + [1.0, 1.0, 0.0]))
    assert ["␣␣", "1", "5", "2", "+2.000"] in rows_of(page)


def test_the_tables_of_binary_data_name_the_bytes_in_hexadecimal() -> None:
    scores = [0.0] * 20
    scores[16:18] = [1.0, 1.0]
    page = page_of(explanation(bytes(16) + b"\x89P\x00\x00", scores))
    assert ["89 50\n·P", "0x10", "2", "+2.000"] in rows_of(page)


@pytest.mark.parametrize(
    ("data", "chosen"),
    [
        (b"import os\n\tprint()\n", "show-text"),
        ("größe = 'день'\n".encode(), "show-text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "show-hex"),
        (np.random.default_rng(0).bytes(512), "show-hex"),
        ("text".encode("utf-16"), "show-hex"),
    ],
)
def test_text_opens_as_text_and_binary_data_as_hex(data: bytes, chosen: str) -> None:
    radios = [attributes for attributes, _ in page_of(explanation(data)).all("input")]
    assert [attributes["id"] for attributes in radios if "checked" in attributes] == [chosen]


def test_the_switch_works_from_the_keyboard_and_without_scripts() -> None:
    page = page_of(explanation(b"import os"))
    radios = [attributes for attributes, _ in page.all("input") if attributes["name"] == "view"]
    assert [radio["type"] for radio in radios] == ["radio"] * 3
    assert [label["for"] for label, _ in page.all("label") if "for" in label] == [radio["id"] for radio in radios]
    style = page.text("style")
    for radio in radios:
        key = radio["id"].removeprefix("show-")
        assert f"#{radio['id']}:checked ~ .columns .pane-{key}" in style
        assert f'class="view view-{key}"' in page.html


def test_the_page_is_semantic() -> None:
    page = page_of(explanation(b"import os"))
    assert [attributes.get("lang") for attributes, _ in page.all("html")] == ["en"]
    assert len(page.all("h1")) == 1
    assert {attributes.get("scope") for attributes, _ in page.all("th")} == {"row", "col"}
    assert page.all("meta")[0][0] == {"charset": "utf-8"}


@pytest.mark.parametrize("content", [b"<", b"\n", b"\xff", b"& ", "ß".encode(), None])
def test_the_page_of_a_full_input_stays_small(content: bytes | None) -> None:
    generator = np.random.default_rng(1)
    data = generator.bytes(4096) if content is None else (content * 4096)[:4096]
    page = explanation_page(explanation(data, generator.standard_normal(4096).tolist()))
    assert len(page.encode()) < 1_100_000
