"""A short coloured view of an explanation for a terminal.

In: an `Explanation`. Out: a `rich.text.Text`: a head line, the rows of bytes around the strongest run, and the values
in words, so that nothing is lost without colours. Names replace characters that could control the terminal. The bytes
are black on their colour, which is white at zero, as on the page. With colours on a dark background, the strongest
colours would look the faintest.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from edgexf.report.characters import ascii_of, visible
from edgexf.report.colours import INK, colour, colour_level, hex_colour
from edgexf.report.explanation import Explanation
from edgexf.report.picture import PictureExplanation
from edgexf.report.relevance import (
    Piece,
    Relevance,
    answer_text,
    on_one_line,
    one_line,
    place_text,
    relevance_of,
    signed,
    target_text,
)
from edgexf.report.runs import Run, strongest_runs
from edgexf.report.segments import in_runs

GUTTER = 8  # cells for the offset and the gap behind it
HEX_CELLS = 4  # cells for a byte: two digits, a gap, the character
RUNS = 3
TAB = "⇥   "
BOLD, SOFT = Style(bold=True), Style(dim=True)

Row = tuple[int, int]  # the bytes [start, end) that the row shows


def explanation_text(explanation: Explanation, width: int = 80, lines: int = 16) -> Text:
    """The view, about `width` cells wide, with at most `lines` rows of bytes."""
    relevance, target = relevance_of(explanation), target_text(explanation.target)
    rows = text_rows(relevance, width) if relevance.is_text else hex_rows(relevance, width)
    text = head(explanation, target).append(bytes_text(relevance, rows, lines))
    runs = in_runs(explanation)
    if explanation.scores_are_attention:
        return text.append(runs_text(runs, 1, "most attended (orange)", width)).append(balance(explanation, relevance))
    text.append(runs_text(runs, 1, f"for {target} (orange)", width))
    text.append(runs_text(runs, -1, f"against {target} (blue)", width))
    return text.append(balance(explanation, relevance))


def head(explanation: Explanation | PictureExplanation, target: str) -> Text:
    """The head line: the answer, the input, the method and the explained value."""
    truncated = ", truncated" if explanation.truncated else ""
    place = " ".join(filter(None, (target, place_text(explanation))))
    text = answer(explanation).append(f"{visible(explanation.input)}{truncated}; ", SOFT)
    return text.append(f"{visible(explanation.method)} of {place}\n", SOFT)


def answer(explanation: Explanation | PictureExplanation) -> Text:
    """The label and its score; empty for a model that gives no label."""
    found = explanation.prediction
    return Text() if found is None else Text().append(visible(found.label), BOLD).append(f" {answer_text(found)}  ")


def balance(explanation: Explanation, relevance: Relevance) -> str:
    """The line that adds up: explained = sum + residual."""
    if explanation.scores_are_attention:
        return f"shares of attention, {explanation.total:.2f} in all; no parts of the explained value {signed(explanation.explained)}"
    token = "" if relevance.special_score is None else f" ({relevance.special} {signed(relevance.special_score)})"
    return f"explained {signed(explanation.explained)} = relevance {signed(explanation.total)}{token} + residual {signed(explanation.residual)}"


def runs_text(relevance: Relevance, sign: int, title: str, width: int) -> Text:
    """The strongest runs of one side, one on each line."""
    text = Text().append(f"{title}\n", BOLD)
    for run in strongest_runs(relevance.pieces, sign, RUNS):
        place = f"{run.start}" if relevance.is_text else f"0x{run.start:X}"
        start = f"  {signed(run.score):<10} at {place:<6} "
        text.append(start + excerpt(relevance, run, width - len(start)) + "\n")
    return text


def excerpt(relevance: Relevance, run: Run, room: int) -> str:
    """The beginning of a run on one line: characters of a text, bytes of any other input."""
    characters = "".join(one_line(run.pieces))
    words = Text(characters if relevance.is_text else relevance.data[run.start : run.end].hex(" ").upper())
    words.truncate(max(room - 2, 8), overflow="ellipsis")
    return f"“{words.plain}”" if relevance.is_text else words.plain


def text_rows(relevance: Relevance, width: int) -> list[Row]:
    """Rows of characters, broken behind newlines and before the edge."""
    rows, start, room = [], 0, width - GUTTER
    for piece in relevance.pieces:
        cells = cell_len(shown(piece))
        if cells > room and piece.start > start:
            rows.append((start, piece.start))
            start, room = piece.start, width - GUTTER
        room -= cells
        if piece.char == "\n":
            rows.append((start, piece.end))
            start, room = piece.end, width - GUTTER
    return [*rows, (start, len(relevance.data))] if start < len(relevance.data) else rows


def hex_rows(relevance: Relevance, width: int) -> list[Row]:
    """Rows of sixteen bytes if they fit, or of eight, or of four."""
    step = next((step for step in (16, 8) if GUTTER + 1 + step * HEX_CELLS <= width), 4)
    size = len(relevance.data)
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def bytes_text(relevance: Relevance, rows: Sequence[Row], lines: int) -> Text:
    """At most `lines` rows around the strongest run, and the numbers of rows above and below that are left out."""
    strongest = strongest_offset(relevance)
    middle = next((index for index, (_, end) in enumerate(rows) if strongest < end), 0)
    first = max(0, min(middle - lines // 2, len(rows) - lines))
    last = min(first + lines, len(rows))
    text = left_out(first, "above")
    for row in rows[first:last]:
        text.append(text_row(relevance, row) if relevance.is_text else hex_row(relevance, row)).append("\n")
    return text.append(left_out(len(rows) - last, "below"))


def strongest_offset(relevance: Relevance) -> int:
    """The offset of the strongest piece in the strongest run of either side; 0 if every score is 0."""
    runs = [*strongest_runs(relevance.pieces, 1, 1), *strongest_runs(relevance.pieces, -1, 1)]
    run = max(runs, key=lambda run: abs(run.score), default=None)
    return max(run.pieces, key=lambda piece: abs(piece.score)).start if run else 0


def left_out(count: int, side: str) -> Text:
    words = f"{'…':>{GUTTER - 2}}  {count} more {'row' if count == 1 else 'rows'} {side}\n"
    return Text().append(words if count else "", SOFT)


def text_row(relevance: Relevance, row: Row) -> Text:
    start, end = row
    text = Text().append(f"{start:>{GUTTER - 2}}  ", SOFT)
    for piece in relevance.pieces:
        if start <= piece.start < end:
            text.append(shown(piece), paint(piece.score, relevance.peak, piece.is_text))
    return text


def hex_row(relevance: Relevance, row: Row) -> Text:
    start, end = row
    text, readable = Text().append(f"{start:0{GUTTER - 2}X}  ", SOFT), Text(" ")
    for value, score in zip(relevance.data[start:end], relevance.byte_scores[start:end].tolist(), strict=True):
        style = paint(score, relevance.peak)
        text.append(f"{value:02X} ", style)
        readable.append(ascii_of(value), style)
    return text.append(readable)


def shown(piece: Piece) -> str:
    return TAB if piece.char == "\t" else on_one_line(piece)


def paint(score: float, peak: float, is_text: bool = True) -> Style:
    """The style of a score: its colour, and italic for text that is a name of the real character."""
    background = hex_colour(colour(colour_level(score, peak)))
    return Style(color=hex_colour(INK), bgcolor=background, italic=not is_text)
