"""A coarse coloured view of an explained picture for a terminal.

In: a `PictureExplanation`. Out: a `rich.text.Text`: a head line, the cells of the picture in rows, and the values in
words. A cell has its colour and its sign, so that nothing is lost without colours; a faint cell has no sign.
"""

from __future__ import annotations

from rich.text import Text

from edgexf.report.picture import PictureExplanation
from edgexf.report.relevance import signed, target_text
from edgexf.report.terminal.explanation import BOLD, SOFT, head, paint

FAINT = 0.1  # of the largest |score|
WIDE = 2  # characters of a cell, which make it about square


def picture_text(explanation: PictureExplanation) -> Text:
    """The view: a row of the terminal for each row of cells."""
    target = target_text(explanation.target)
    text = head(explanation, target)
    for row in explanation.scores.tolist():
        for score in row:
            text.append(sign_of(score, explanation.peak), paint(score, explanation.peak))
        text.append("\n")
    side = explanation.cell
    if not explanation.scores_are_attention:
        text.append(f"+ for {target} (orange), - against {target} (blue)", BOLD)
    text.append(f"  cells of {side} x {side} pixels, full colour at {signed(explanation.peak).lstrip('+')}\n", SOFT)
    if explanation.scores_are_attention:
        return text.append(f"shares of attention, {explanation.total:.2f} in all")
    return text.append(
        f"explained {signed(explanation.explained)} = relevance {signed(explanation.total)} + residual {signed(explanation.residual)}"
    )


def sign_of(score: float, peak: float) -> str:
    if abs(score) <= FAINT * peak:
        return " " * WIDE
    return ("+" if score > 0 else "-").center(WIDE)
