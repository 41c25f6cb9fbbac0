"""Explanations made by hand, and a parser of the HTML page. The tests of the HTML and terminal views share them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from io import StringIO

import numpy as np
from hypothesis import strategies as st
from rich.console import Console

from edgexf.report.explanation import Explanation
from edgexf.report.html.explanation import explanation_page
from edgexf.report.prediction import Prediction
from edgexf.report.terminal.explanation import explanation_text

VOID = {"meta", "input"}
HOSTILE = "<script>alert('1')</script>&\"\u202e\x1b[31m\x00\udc80"
CLASS_SCORE = 0.75


def explanation(data: bytes, scores: Sequence[float] | None = None, name: str = "notes.py") -> Explanation:
    """Makes an explanation whose tokens are the class token and single bytes."""
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
        model_sha256="fedcba9876543210" * 4,
        graph_sha256="0123456789abcdef" * 4,
        ms=12.5,
        truncated=False,
    )


class Page(HTMLParser):
    """The elements of a page as (tag, attributes, text), with the indices of the elements inside each view."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.inside: dict[str, list[int]] = {f"view-{key}": [] for key in ("words", "tokens", "text", "hex")}
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
        """Returns the attributes and text of every `tag`, in the whole page or in one view."""
        wanted = range(len(self.elements)) if inside is None else self.inside[inside]
        found = [self.elements[index] for index in wanted]
        return [(attributes, "".join(text)) for name, attributes, text in found if name == tag]

    def choices(self, key: str) -> list[tuple[dict[str, str], dict[str, str], str]]:
        """Returns the selectable words or tokens: attributes of the button, attributes of its text, and the text."""
        buttons = [attributes for attributes, _ in self.all("input", f"view-{key}")]
        texts = [(attributes, text) for attributes, text in self.all("span", f"view-{key}") if "title" in attributes]
        return [(button, *text) for button, text in zip(buttons, texts, strict=True)]

    def text(self, tag: str) -> str:
        """Returns the text of the only `tag`."""
        [(_, text)] = self.all(tag)
        return text

    def hex_cells(self) -> list[tuple[dict[str, str], str]]:
        return [(attributes, text) for attributes, text in self.all("td", "view-hex") if "title" in attributes]

    def characters(self) -> list[tuple[dict[str, str], str]]:
        return self.all("span", "view-text")


def token_explanation(parts: Sequence[str], scores: Sequence[float] | None = None, special: bool = True) -> Explanation:
    """Makes an explanation of the joined parts. White space is no token, as with most tokenizers."""
    ends = np.cumsum([len(part.encode()) for part in parts]).tolist()
    rows = [(part, (end - len(part.encode()), end)) for part, end in zip(parts, ends, strict=True) if part.strip()]
    if special:
        rows = [("[CLS]", (0, 0)), *rows, ("[SEP]", (0, 0))]
    values = np.linspace(-1, 1, len(rows)) if scores is None else np.array(scores)
    return replace(
        explanation("".join(parts).encode(), name="review.txt"),
        tokens=tuple(token for token, _ in rows),
        offsets=tuple(offset for _, offset in rows),
        scores=values.astype(np.float32),
    )


def page_of(shown: Explanation) -> Page:
    return Page(explanation_page(shown))


def score_in(title: str) -> float:
    return float(title.rpartition("score ")[2])


def bytes_in(title: str) -> bytes:
    return bytes(int(value, 16) for value in re.findall(r"0x([0-9A-F]{2})\b", title.partition("byte")[2]))


def offset_in(title: str) -> int:
    return int(re.match(r"offset (\w+)", title)[1], 0)  # type: ignore[index]


def plain(shown: Explanation, **options: int) -> str:
    """Returns the terminal view as a terminal without colours prints it."""
    console = Console(file=StringIO(), width=200, color_system=None, force_terminal=False)
    console.print(explanation_text(shown, **options))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@cache
def palette() -> dict[str, tuple[int, int, int]]:
    """Returns the background colour of each colour class of the page."""
    style = page_of(explanation(b"x")).text("style")
    found = re.findall(r"\.(z|[np]\d+)\{background:#(..)(..)(..)\}", style)
    return {name: (int(red, 16), int(green, 16), int(blue, 16)) for name, red, green, blue in found}


def linear(rgb: Sequence[float]) -> np.ndarray:
    """Converts sRGB [3] to linear light between 0 and 1 (IEC 61966-2-1)."""
    shares = np.array(rgb) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the contrast ratio of two sRGB colours (WCAG 2.2)."""
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
def token_explanations(draw: st.DrawFn) -> Explanation:
    characters = st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \nß日👩")
    parts = draw(st.lists(st.text(characters, min_size=1, max_size=8), min_size=1, max_size=12))
    count = sum(bool(part.strip()) for part in parts) + 3
    parts.append("word")  # a token of several bytes: without one it looks like a byte model
    return token_explanation(parts, draw(st.lists(finite, min_size=count, max_size=count)))


@st.composite
def explanations(draw: st.DrawFn) -> Explanation:
    data = draw(some_bytes)
    return explanation(data, draw(st.lists(finite, min_size=len(data), max_size=len(data))))
