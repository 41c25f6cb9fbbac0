"""The page and the terminal view of an explanation: nothing is lost, nothing is interpreted, and colours are readable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from edgexf.display import LEVELS, maximal_segments, pieces_of, relevance_of, strongest_runs
from edgexf.page import explanation_page
from edgexf.report import Explanation, Prediction
from edgexf.terminal import explanation_text

VOID = {"meta", "input"}
HOSTILE = "<script>alert('1')</script>&\"\u202e\x1b[31m\x00\udc80"
CLASS_SCORE = 0.75


def explanation(data: bytes, scores: Sequence[float] | None = None, name: str = "notes.py") -> Explanation:
    """An explanation whose tokens are the class token and single bytes."""
    given_scores = np.linspace(-1, 1, len(data)) if scores is None else scores
    values = np.array([CLASS_SCORE, *given_scores], dtype=np.float32)
    total = float(values.sum(dtype=float))
    return Explanation(
        input=name,
        data=data,
        tokens=("[class]", *(f"{value:02x}" for value in data)),
        offsets=((0, 0), *((index, index + 1) for index in range(len(data)))),
        scores=values,
        target={"python": 1.0},
        explained=total + 0.125,
        residual=0.125,
        method="gradient",
        prediction=Prediction(name, "python", 0.97, (("python", 0.97), ("c", 0.03)), truncated=False, ms=1.0),
        model="linformer",
        graph_sha256="0123456789abcdef" * 4,
        ms=12.5,
    )


class Page(HTMLParser):
    """The page's elements as (tag, attributes, text), with text views and hex cells found by where they are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.inside: dict[str, list[int]] = {"view-text": [], "view-hex": []}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        index = len(self.elements) - 1
        for name, found in self.inside.items():
            if any(name in self.elements[parent][1].get("class", "").split() for parent in self.open):
                found.append(index)
        if tag not in VOID:
            self.open.append(index)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.elements[index][2].append(data)

    def all(self, tag: str, inside: str | None = None) -> list[tuple[dict[str, str], str]]:
        """Attributes and text of every `tag`, in the whole page or in one of the views."""
        wanted = range(len(self.elements)) if inside is None else self.inside[inside]
        found = [self.elements[index] for index in wanted]
        return [(attributes, "".join(text)) for name, attributes, text in found if name == tag]

    def text(self, tag: str) -> str:
        """The text of the only `tag`."""
        [(_, text)] = self.all(tag)
        return text

    def hex_cells(self) -> list[tuple[dict[str, str], str]]:
        return [(attributes, text) for attributes, text in self.all("td", "view-hex") if "title" in attributes]

    def characters(self) -> list[tuple[dict[str, str], str]]:
        return self.all("span", "view-text")


def page_of(shown: Explanation) -> Page:
    return Page(explanation_page(shown))


def score_in(title: str) -> float:
    return float(title.rpartition("score ")[2])


def bytes_in(title: str) -> bytes:
    return bytes(int(value, 16) for value in re.findall(r"0x([0-9A-F]{2})\b", title.partition("byte")[2]))


def offset_in(title: str) -> int:
    return int(re.match(r"offset (\w+)", title)[1], 0)  # type: ignore[index]


def plain(shown: Explanation, **options: int) -> str:
    """The terminal view as a terminal without colours prints it."""
    console = Console(file=StringIO(), width=200, color_system=None, force_terminal=False)
    console.print(explanation_text(shown, **options))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@cache
def palette() -> dict[str, tuple[int, int, int]]:
    """Each colour class of the page and its background."""
    style = page_of(explanation(b"x")).text("style")
    found = re.findall(r"\.(z|[np]\d+)\{background:#(..)(..)(..)\}", style)
    return {name: (int(red, 16), int(green, 16), int(blue, 16)) for name, red, green, blue in found}


def linear(rgb: Sequence[float]) -> np.ndarray:
    """sRGB [3] as shares of light (IEC 61966-2-1)."""
    shares = np.array(rgb) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """WCAG 2.2, contrast ratio."""
    weights = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(float(linear(rgb) @ weights) for rgb in (one, other))
    return (light + 0.05) / (dark + 0.05)


def shade_of(attributes: dict[str, str]) -> str:
    return attributes["class"].split()[0]


some_bytes = st.binary(min_size=1, max_size=80) | st.text(min_size=1, max_size=40).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
finite = st.floats(-1e3, 1e3, width=32)


@st.composite
def explanations(draw: st.DrawFn) -> Explanation:
    data = draw(some_bytes)
    return explanation(data, draw(st.lists(finite, min_size=len(data), max_size=len(data))))


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


# Nothing is interpreted


def hostile() -> Explanation:
    """Every text that can come from outside tries to be markup or to steer the display."""
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


# Colours


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


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as these eyes see it.
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
    [(_, legend)] = page.all("figure")
    for words in ("against python", "for python", "-2.000", "+2.000", "normalised"):
        assert words in legend


def test_scores_of_zero_are_white_and_strongest_for_nothing() -> None:
    shown = explanation(b"abc\xff", [0.0] * 4)
    page = page_of(shown)
    assert {shade_of(attributes) for attributes, _ in [*page.hex_cells(), *page.characters()]} == {"z"}
    assert [text for _, text in page.all("td")].count("none") == 2
    assert "abc" in plain(shown)


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
    """The cells of every row outside the hex view, but empty ones."""
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
    page = page_of(replace(shown, prediction=replace(shown.prediction, truncated=truncated)))
    assert words in page.text("header")


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
    assert ["89 50 \n·P", "0x10", "2", "+2.000"] in rows_of(page)


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
    radios = [attributes for attributes, _ in page.all("input")]
    assert [(radio["type"], radio["name"]) for radio in radios] == [("radio", "view")] * 2
    assert [label["for"] for label, _ in page.all("label")] == [radio["id"] for radio in radios]
    style = page.text("style")
    for radio in radios:
        assert f"#{radio['id']}:checked ~ .view-{radio['id'].removeprefix('show-')}" in style


def test_the_page_is_semantic() -> None:
    page = page_of(explanation(b"import os"))
    assert [attributes.get("lang") for attributes, _ in page.all("html")] == ["en"]
    assert len(page.all("h1")) == 1
    assert {attributes.get("scope") for attributes, _ in page.all("th")} == {"row", "col"}
    assert page.all("meta")[0][0] == {"charset": "utf-8"}


@pytest.mark.parametrize("content", [b"<", b"\n", b"\xff", "ß".encode(), None])
def test_the_page_of_a_full_input_stays_under_a_megabyte(content: bytes | None) -> None:
    generator = np.random.default_rng(1)
    data = generator.bytes(4096) if content is None else (content * 4096)[:4096]
    page = explanation_page(explanation(data, generator.standard_normal(4096).tolist()))
    assert len(page.encode()) < 1_000_000


# Runs


def best_segments(values: list[float]) -> list[tuple[int, int]]:
    """The definition (Ruzzo and Tompa 1999, section 2): the best segment, then the same on both sides of it."""
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


# The terminal


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
