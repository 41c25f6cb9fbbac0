"""The page of a quantization report: one self-contained HTML file, under the rules of `edgexf.report.html.explanation`.

In: the name of a bundle, and outcomes. Out: the page as text: the modes side by side, and for each mode the verdict
with its reasons, the errors by length, the curve of size against drop, and what became of every weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgexf.report.html.document import document, section, table
from edgexf.report.quantization import HEADER, LEGEND, Outcome, cells, curve_table, error_table, explain_table, notes

LAYERS = (
    "weight",
    "shape",
    "products",
    "lookups",
    "reads of the whole weight",
    "error against stored numbers",
    "not quantized because it",
)


def quantization_page(name: str, outcomes: Sequence[Outcome]) -> str:
    """The page of the outcomes of one bundle."""
    kept = [outcome for outcome in outcomes if outcome.verdict != "refused"]
    said = f"{kept[0].mode} was {kept[0].verdict}" if kept else "nothing was kept"
    parts = [
        f'<header><p class="kicker">Quantization report</p><h1>{escape(name)}: {said}</h1></header>',
        '<div class="detail wide">',
        section("Modes", table(HEADER, [cells(outcome) for outcome in outcomes]), escape(LEGEND)),
        *(mode_section(outcome) for outcome in outcomes),
        "</div>",
    ]
    return document(f"{escape(name)}: quantization", "\n".join(parts))


def mode_section(outcome: Outcome) -> str:
    """Everything that was measured of a mode."""
    said = "".join(f"<li>{escape(note)}</li>" for note in notes(outcome))
    tables = [section(f"{outcome.mode}: errors by length", table(*error_table(outcome)))]
    if outcome.explain:
        tables.append(section(f"{outcome.mode}: explanations against fp32's", table(*explain_table(outcome))))
    if outcome.curve:
        tables.append(section(f"{outcome.mode}: size against drop", table(*curve_table(outcome))))
    if outcome.layers:
        rows = [
            (
                one.name,
                " x ".join(map(str, one.shape)),
                str(one.products),
                str(one.rows),
                str(one.reads),
                "-" if one.error is None else f"{one.error:.0e}",
                one.skipped or "-",
            )
            for one in outcome.layers
        ]
        tables.append(section(f"{outcome.mode}: weights", table(LAYERS, rows)))
    return f"<section><h2>{escape(outcome.mode)}: {escape(outcome.verdict)}</h2><ul>{said}</ul></section>" + "".join(
        tables
    )
