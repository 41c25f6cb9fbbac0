"""The page of pictures that are explained: one self-contained HTML file.

In: explanations of one picture, by several methods or of several targets. Out: the page as text, under the rules of
`edgexf.report.html.explanation`; its pictures are PNGs inside the page.

The heat map lies over a grey copy of the picture: orange for the target, blue against it, the more opaque the larger the
|score|, so that the picture stays visible where nothing speaks for or against. Beside it stands the picture as the model
read it. A table holds the strongest cells, for readers who can't see the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from edgexf.report.colours import LEVELS, colour, colour_level
from edgexf.report.html.document import document
from edgexf.report.html.explanation import (
    answer_sentence,
    card,
    model_card,
    name_of,
    prediction_card,
    title_of,
    weights_line,
)
from edgexf.report.html.views import Pane, legend, safe, shade, unit_of
from edgexf.report.picture import PictureExplanation
from edgexf.report.png import Pixels, data_uri
from edgexf.report.relevance import SHARES_NOTE, signed, target_text

CELLS = 10  # rows in a table of the strongest cells
OPAQUE = 0.85  # of the strongest cell
SMALL = 200  # pixels: a smaller picture is shown with its pixels as squares
STYLE = """
.seen { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px }
.seen figure { margin: 0 } .stack { position: relative; line-height: 0; background: #fff; border: 1px solid var(--line) }
.stack img { width: 100% } .stack .map { position: absolute; inset: 0; height: 100%; image-rendering: pixelated }
.grey { filter: grayscale(1) contrast(.55) brightness(1.5) } .squares { image-rendering: pixelated }
@media print { .seen { grid-template-columns: 1fr 1fr } }
"""


def picture_page(explanations: Sequence[PictureExplanation]) -> str:
    """The page: the answer, and for each explanation the explained value, the map and the strongest cells."""
    first = explanations[0]
    main = [header(first), *(part(one) for one in explanations)]
    return document(title_of(first), "\n".join(main), STYLE, pictures=True)


def header(first: PictureExplanation) -> str:
    height, width = first.pixels.shape[:2]
    rest = ", the first picture of several in the file" if first.truncated else ""
    return (
        f'<header><p class="kicker">Relevance explanation</p>\n<h1>{name_of(first)}</h1>\n'
        f'<p class="lead">{answer_sentence(first)} Pixels read: {width} x {height}{rest}.</p></header>'
    )


def part(explanation: PictureExplanation) -> str:
    target = target_text(explanation.target)
    answer = explanation.prediction
    cards = [] if answer is None else [prediction_card(answer, explanation.truth)]
    cards += [value_card(explanation, target), model_card(explanation)]
    return (
        f'<div class="detail wide">{map_section(explanation, target)}</div>\n<div class="cards">{"".join(cards)}</div>\n'
        f'<div class="detail wide">{cells_section(explanation, target)}</div>'
    )


def value_card(explanation: PictureExplanation, target: str) -> str:
    """The sum that makes the explained value."""
    attends = explanation.scores_are_attention
    rows = [("Sum of shares" if attends else "Sum of relevance", explanation.total, "")]
    rows += [] if attends else [("Residual (not attributed)", explanation.residual, "")]
    rows += [("Explained value", explanation.explained, "sum")]
    cells = "".join(
        f'<tr class="{kind}"><th scope="row">{name}</th><td>{signed(value)}</td></tr>' for name, value, kind in rows
    )
    note = f'<p class="note">{SHARES_NOTE}</p>' if attends else ""
    table = f'<table><thead><tr><th scope="col">Part</th><th scope="col">Value</th></tr></thead><tbody>{cells}</tbody></table>'
    return card(f"Explained: {escape(target)}", f"{table}{weights_line(explanation)}{note}")


def map_section(explanation: PictureExplanation, target: str) -> str:
    """The picture below its map, the picture alone, and the scale of colours."""
    pixels, crisp = data_uri(explanation.pixels), " squares" if max(explanation.pixels.shape[:2]) < SMALL else ""
    side, words = explanation.cell, escape(target)
    over = (
        f'<div class="stack"><img class="grey{crisp}" src="{pixels}" alt="The picture in grey">'
        f'<img class="map" src="{data_uri(heat_map(explanation))}" alt="Relevance for {words} of each cell, as colours"></div>'
    )
    alone = f'<div class="stack"><img class="alone{crisp}" src="{pixels}" alt="The picture as the model read it"></div>'
    caption = (
        f"<figcaption>Scores are raw, {unit_of(explanation)}, of cells of {side} x {side} pixels. Only the colours are "
        f"normalised: full at the largest |score| of a cell ({signed(explanation.peak).lstrip('+')}).</figcaption>"
    )
    return (
        f"<section><h2>Relevance of every cell by {safe(explanation.method)}</h2>\n{legend(Pane('picture', explanation.peak, ''), target, caption)}"
        f'<div class="seen"><figure>{over}<figcaption>The map over the picture</figcaption></figure>'
        f"<figure>{alone}<figcaption>What the model read</figcaption></figure></div></section>"
    )


def heat_map(explanation: PictureExplanation) -> Pixels:
    """RGBA [height, width, 4]: the colour of the sign, as opaque as the share of the score in the largest one."""
    height, width = explanation.pixels.shape[:2]
    found = np.zeros((*explanation.scores.shape, 4), dtype=np.uint8)
    for place, score in np.ndenumerate(explanation.scores):
        level = colour_level(float(score), explanation.peak)
        found[place] = (*colour(LEVELS if level > 0 else -LEVELS), round(255 * OPAQUE * abs(level) / LEVELS))
    cells = found.repeat(explanation.cell, axis=0).repeat(explanation.cell, axis=1)
    return cells[:height, :width]


def cells_section(explanation: PictureExplanation, target: str) -> str:
    words = escape(target)
    titles = {1: "Most attended"} if explanation.scores_are_attention else {1: f"For {words}", -1: f"Against {words}"}
    tables = "".join(cells_table(explanation, sign, title) for sign, title in titles.items())
    return (
        f'<section><h2>Strongest cells</h2><div class="pair">{tables}</div>\n'
        '<p class="note">Across and down are the first and the last pixel of a cell, from the left and from the top.</p></section>'
    )


def strongest(explanation: PictureExplanation, sign: int, most: int) -> list[tuple[int, int, float]]:
    """The row, column and score of the strongest cells of a sign, the strongest first."""
    scores = sign * explanation.scores
    places = np.argsort(-scores, axis=None, kind="stable")[:most]
    found = [divmod(int(place), scores.shape[1]) for place in places]
    return [(row, column, float(explanation.scores[row, column])) for row, column in found if scores[row, column] > 0]


def cells_table(explanation: PictureExplanation, sign: int, title: str) -> str:
    side, (height, width) = explanation.cell, explanation.pixels.shape[:2]
    rows = "".join(
        f'<tr><th scope="row"><span class="{shade(score, explanation.peak)}">{ends(column, side, width)}</span></th>'
        f"<td>{ends(row, side, height)}</td><td>{signed(score)}</td></tr>"
        for row, column, score in strongest(explanation, sign, CELLS)
    )
    rows = rows or '<tr><td colspan="3">none</td></tr>'
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Across", "Down", "Score"))
    return f'<table class="runs"><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def ends(place: int, side: int, whole: int) -> str:
    """The first and the last pixel of a cell along one axis."""
    return f"{place * side} to {min((place + 1) * side, whole) - 1}"
