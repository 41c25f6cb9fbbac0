"""The views of an input on a page: its words, tokens, characters or bytes, each in the colour of its score.

In: an `Explanation`. Out: the HTML of its panes, a pane with a legend for each way to cut the input, and of the switch
between the panes. A model of bytes has panes of words, characters and bytes; a model of tokens, of words and tokens.

Readers must reach the values without a mouse. Three ways were weighed. A tab stop for each token puts 4,097 tab stops
between a reader and the rest of the page. A tooltip alone does not work with keyboards, touch and screen readers.
Therefore each word and each token is a radio button of one group. The group is one tab stop, arrow keys go from word
to word, a tap chooses a word too, a screen reader reads the word and its score, and the style sheet shows the values of
the chosen word below, all without a script. Characters and bytes have tooltips; the words hold their sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from edgexf.report.characters import ascii_of, encoded, is_plain, visible
from edgexf.report.colours import LEVELS, colour, colour_level, hex_colour
from edgexf.report.explanation import Explanation
from edgexf.report.picture import PictureExplanation
from edgexf.report.relevance import Piece, Relevance, described, lines_of, relevance_of, signed
from edgexf.report.segments import Segment, peak_of, reads_bytes, special_tokens, token_segments, word_segments

EXCERPT = 60  # the most characters of a word in the text about it
ROW = 16  # bytes in a row of the hex view
NAMED_BYTES = 8  # the most unreadable characters between words that a page names; of more it shows the size
NAMED_SPECIAL = 8  # the most special tokens that a note lists
TITLES = {"words": "Words", "tokens": "Tokens", "text": "Text", "hex": "Hex"}
THINGS = {"words": "word", "tokens": "token", "text": "character", "hex": "byte"}
SIDEWAYS = '<p class="note sideways">What is wider than the screen scrolls sideways.</p>'


@dataclass(frozen=True)
class Pane:
    """A way to show the input.

    Attributes:
        key: ``words``, ``tokens``, ``text`` or ``hex``.
        peak: the largest |score|, which has the full colour.
        view: the HTML of the view.
        note: the HTML of a note below the view.
    """

    key: str
    peak: float
    view: str
    note: str = ""

    def html(self, target: str, caption: str = "") -> str:
        return f'<div class="pane pane-{self.key}">{legend(self, target, caption)}\n<div class="box">{self.view}</div>{self.note}</div>'


def panes_of(explanation: Explanation, group: str = "") -> list[Pane]:
    """Every pane of one explanation. `group` separates its radio buttons from other explanations on the page."""
    words = words_pane(explanation, group)
    if not reads_bytes(explanation):
        return [words, tokens_pane(explanation, group)]
    relevance = relevance_of(explanation)
    return [
        words,
        Pane("text", relevance.peak, region("text", text_view(relevance))),
        Pane("hex", relevance.peak, SIDEWAYS + region("hex", hex_view(relevance))),
    ]


def chosen_of(explanation: Explanation) -> str:
    """The key of the view that a page shows first."""
    if not reads_bytes(explanation):
        return "tokens"
    return "text" if relevance_of(explanation).is_text else "hex"


def switch(panes: Sequence[Pane], chosen: str) -> str:
    """The radio buttons that choose a view. Without a style sheet, all views are visible."""
    return "".join(
        f'<input type="radio" class="switch" name="view" id="show-{pane.key}"{" checked" if pane.key == chosen else ""}>'
        f'<label for="show-{pane.key}">{TITLES[pane.key]}</label>'
        for pane in panes
    )


def safe(value: str) -> str:
    """Text from outside as HTML, escaped, with names in place of characters that are invisible."""
    return escape(visible(value))


def region(key: str, view: str) -> str:
    """A view that the keyboard can scroll."""
    return f'<div class="view view-{key}" role="region" aria-label="Input as {key}" tabindex="0">{view}</div>'


def unit_of(explanation: Explanation | PictureExplanation) -> str:
    return "in logits" if explanation.prediction is not None else "in units of the explained value"


def legend(pane: Pane, target: str, caption: str) -> str:
    """The scale of colours from the largest |score| against the target to the largest for it, and a caption."""
    bar = "".join(f'<span class="{shade(level, LEVELS)}"></span>' for level in range(-LEVELS, LEVELS + 1))
    ends = f"<span>{signed(-pane.peak)}</span><span>0</span><span>{signed(pane.peak)}</span>"
    return (
        f'<figure class="legend"><div class="sides"><span>against {escape(target)}</span><span>for {escape(target)}</span></div>'
        f'<div class="scale" aria-hidden="true">{bar}</div><div class="sides">{ends}</div>{caption}</figure>'
    )


def caption_of(explanation: Explanation, pane: Pane) -> str:
    """The meaning of the colours, and how to reach the values."""
    thing = THINGS[pane.key]
    how = (
        f"Choose a {thing}, by pointer, touch or arrow keys, for its values."
        if thing in ("word", "token")
        else f"Point at a {thing} for its offset, value and score."
    )
    return (
        f"<figcaption>Scores are raw, {unit_of(explanation)}. Only the colours are normalised: linear in the score, full at "
        f"the largest |score| of a {thing} ({signed(pane.peak).lstrip('+')}). {how}</figcaption>"
    )


def shade(score: float, peak: float) -> str:
    """The CSS class of a score: n20 to n1 against the target, z for zero, p1 to p20 for the target."""
    level = colour_level(score, peak)
    return "z" if level == 0 else f"{'n' if level < 0 else 'p'}{abs(level)}"


def palette() -> str:
    """A CSS rule for every class of `shade`."""
    levels = range(-LEVELS, LEVELS + 1)
    return "".join(f".{shade(level, LEVELS)}{{background:{hex_colour(colour(level))}}}" for level in levels)


def words_pane(explanation: Explanation, group: str) -> Pane:
    segments = word_segments(explanation)
    outside = explanation.total - sum(word.score for word in explanation.words)
    note = f"What belongs to no word, such as white space and special tokens, adds {signed(outside)}."
    return Pane("words", peak_of(segments), segments_view("words", segments, group), f'<p class="note">{note}</p>')


def tokens_pane(explanation: Explanation, group: str) -> Pane:
    segments, special = token_segments(explanation), special_tokens(explanation)
    listed = ", ".join(f"{safe(token)} {signed(score)}" for token, score in special[:NAMED_SPECIAL])
    rest = f" and {len(special) - NAMED_SPECIAL} more" if len(special) > NAMED_SPECIAL else ""
    note = f'<p class="note">Tokens that stand for no text: {listed}{rest}.</p>' if special else ""
    return Pane("tokens", peak_of(segments), segments_view("tokens", segments, group), note)


def segments_view(key: str, segments: Sequence[Segment], group: str) -> str:
    """The input with a radio button for each word or token."""
    peak = peak_of(segments)
    shown = "".join(
        gap(segment.text) if segment.score is None else choice(segment, segment.score, peak, key[0] + group)
        for segment in segments
    )
    return f'<div class="view view-{key}" role="radiogroup" aria-label="Relevance of the {key}">{shown or "none"}</div>'


def choice(segment: Segment, score: float, peak: float, group: str) -> str:
    """A word or a token: its radio button, and its text with its values."""
    text = excerpt(segment.text)
    name = f"{text} {signed(score)}"
    tokens = f" ({', '.join(safe(token) for token in segment.names)})" if segment.names else ""
    last = f" to {segment.end - 1}" if segment.end > segment.start + 1 else ""
    title = f"“{text}”{tokens} offset {segment.start}{last}, score {signed(score)}"
    return (
        f'<label><input type="radio" name="{group}" aria-label="{name}">'
        f'<span class="{shade(score, peak)}" title="{title}" aria-hidden="true">{readable(segment.text)}</span></label>'
    )


def excerpt(text: str) -> str:
    """The beginning of a word as HTML; the whole word if it is short."""
    return safe(text) if len(text) <= EXCERPT else f"{safe(text[:EXCERPT])}…"


def gap(text: str) -> str:
    """The input between two words or tokens: white space unchanged, unreadable bytes by name, or the size of many."""
    unreadable = sum(not is_plain(char) for char in text)
    if unreadable > NAMED_BYTES:
        return f' <span class="chip">{len(encoded(text)):,} bytes</span> '
    return readable(text)


def readable(text: str) -> str:
    """Text as HTML, with chips in place of invisible characters."""
    parts = ((plain, "".join(chars)) for plain, chars in groupby(text, key=is_plain))
    return "".join(escape(part) if plain else f'<span class="chip">{safe(part)}</span>' for plain, part in parts)


def text_view(relevance: Relevance) -> str:
    """Lines of characters. A line keeps its newline; the style sheet draws a mark for it."""
    lines = ("".join(character(piece, relevance.peak) for piece in line) for line in lines_of(relevance.pieces))
    return "".join(f'<div class="line">{line}</div>' for line in lines)


def character(piece: Piece, peak: float) -> str:
    """A character in its colour: unchanged, or as a chip with its name."""
    kind = " nl" if piece.char == "\n" else "" if piece.is_text else " chip"
    shown = escape(piece.char if piece.is_text else piece.shown)
    return f'<span class="{shade(piece.score, peak)}{kind}" title="{described(piece)}">{shown}</span>'


def hex_view(relevance: Relevance) -> str:
    columns = "".join(f'<th scope="col">{column:X}</th>' for column in range(ROW))
    head = f'<tr><th scope="col">Offset</th>{columns}<th scope="col">ASCII</th></tr>'
    rows = "\n".join(hex_row(relevance, start) for start in range(0, len(relevance.data), ROW))
    caption = '<caption class="unseen">The bytes in hexadecimal, sixteen a row; offsets are hexadecimal too</caption>'
    return f"<table>{caption}<thead>{head}</thead>\n<tbody>{rows}</tbody></table>"


def hex_row(relevance: Relevance, start: int) -> str:
    """A row: the offset, a cell for each byte, and the readable characters."""
    values, scores = relevance.data[start : start + ROW], relevance.byte_scores[start : start + ROW].tolist()
    peak = relevance.peak
    cells = "".join(
        f'<td class="{shade(score, peak)}" title="offset 0x{offset:X}, byte 0x{value:02X}, score {signed(score)}">{value:02X}</td>'
        for offset, (value, score) in enumerate(zip(values, scores, strict=True), start)
    )
    rest = f'<td colspan="{ROW - len(values)}"></td>' if len(values) < ROW else ""
    readable = coloured((ascii_of(value) for value in values), scores, peak)
    return f'<tr><th scope="row">{start:04X}</th>{cells}{rest}<td class="ascii">{readable}</td></tr>'


def coloured(words: Iterable[str], scores: Iterable[float], peak: float) -> str:
    """Words in their colours; neighbours of one colour share an element."""
    shades = [(shade(score, peak), word) for word, score in zip(words, scores, strict=True)]
    groups = ((mark, "".join(word for _, word in group)) for mark, group in groupby(shades, key=lambda pair: pair[0]))
    return "".join(f'<span class="{mark}">{escape(shown)}</span>' for mark, shown in groups)
