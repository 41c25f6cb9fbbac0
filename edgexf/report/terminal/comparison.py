"""The terminal view of a comparison: the values of each explanation, the agreement, and the strongest words.

In: a `Comparison`. Out: a renderable of rich: a head line, a table with a row for each explanation, the agreement of
each pair, and the strongest words of each explanation in columns. Columns that don't fit side by side follow below. A
word is black on its colour, as in `edgexf.report.terminal.explanation`. Its score stands beside it, so nothing is lost
without colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgexf.report.characters import visible
from edgexf.report.comparison import Agreement, Comparison, agreement_text
from edgexf.report.explanation import Explanation
from edgexf.report.relevance import place_text, signed, target_text
from edgexf.report.segments import STRONGEST, Segment, peak_of, scored_units, strongest_places
from edgexf.report.terminal.explanation import BOLD, SOFT, answer, paint

WORD_CELLS, SCORE_CELLS = 14, 10
COLUMN_CELLS = WORD_CELLS + SCORE_CELLS + 2  # the column of one explanation


def comparison_text(comparison: Comparison, width: int = 80) -> RenderableType:
    """The view, about `width` cells wide."""
    first = comparison.explanations[0]
    truncated = ", truncated" if first.truncated else ""
    head = Text() if comparison.several_models else answer(first)
    head.append(f"{visible(first.input)}{truncated}", SOFT)
    at_once = max(1, width // COLUMN_CELLS)
    places = range(len(comparison.labels))
    blocks = [words_table(comparison, places[start : start + at_once]) for start in places[::at_once]]
    return Group(head, overview(comparison), agreement_table(comparison), *blocks)


def table(*names: str) -> Table:
    """An empty table with these columns: the first holds the name of the row, the others hold numbers."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        found.add_column(Text(name), justify="left" if place == 0 else "right", overflow="fold")
    return found


def overview(comparison: Comparison) -> Table:
    """A row for each explanation: explained = sum + residual."""
    found = table("explanation", "target", "explained", "sum", "residual", "ms")
    for label, one in zip(comparison.labels, comparison.explanations, strict=True):
        values = signed(one.explained), signed(one.total), "-" if one.scores_are_attention else signed(one.residual)
        target = " ".join(filter(None, (target_text(one.target), place_text(one))))
        found.add_row(*map(Text, (label, target, *values, f"{one.ms:,.1f}")))
    return found


def agreement_table(comparison: Comparison) -> Table:
    """The agreement, with a row for each pair."""
    found = table("agreement: rank correlation, of the strongest tokens the same", "")
    for one in comparison.agreements:
        found.add_row(*map(Text, (pair_name(comparison.labels, one), agreement_text(one))))
    return found


def pair_name(labels: Sequence[str], agreement: Agreement) -> str:
    return f"{labels[agreement.first]} / {labels[agreement.second]}"


def words_table(comparison: Comparison, places: Sequence[int]) -> Table:
    """A column for each of the explanations at `places`: its strongest words, strongest first."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place in places:
        found.add_column(
            Text(comparison.labels[place], BOLD), width=COLUMN_CELLS - 2, overflow="ellipsis", no_wrap=True
        )
    columns = [list(words(comparison.explanations[place])) for place in places]
    for row in range(max(map(len, columns))):
        found.add_row(*(column[row] if row < len(column) else Text() for column in columns))
    return found


def words(explanation: Explanation) -> Iterator[Text]:
    """The strongest words, one on each line; the strongest tokens of an input without words."""
    _, units = scored_units(explanation)
    peak = peak_of(units)
    for place in strongest_places(units, STRONGEST):
        yield word(units[place], peak)


def word(unit: Segment, peak: float) -> Text:
    score = unit.score or 0.0
    shown = Text(visible(unit.text))
    shown.truncate(WORD_CELLS, overflow="ellipsis")
    gap = " " * (WORD_CELLS - shown.cell_len)
    return Text().append(shown.plain, paint(score, peak)).append(f"{gap}{signed(score):>{SCORE_CELLS}}")
