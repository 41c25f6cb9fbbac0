"""The page of a comparison: several explanations of one input side by side in one self-contained HTML file.

In: a `Comparison`. Out: the page as text, under the rules of `edgexf.report.html.explanation`. The colours of a column
are full at the largest |score| of that column, because the raw scores of two methods have different scales. Every
number is raw. The table of the strongest words has all scores of a word in one row, which two texts side by side can't
show.
"""

from __future__ import annotations

from html import escape

from edgexf.report.comparison import Agreement, Comparison, agreement_text
from edgexf.report.explanation import Explanation
from edgexf.report.html.document import document, section
from edgexf.report.html.explanation import header, name_of
from edgexf.report.html.views import chosen_of, excerpt, panes_of, safe, shade, switch
from edgexf.report.relevance import SHARES_NOTE, answer_text, place_text, relevance_of, signed, target_text
from edgexf.report.segments import strongest_units
from edgexf.report.similarity import Similarity


def comparison_page(comparison: Comparison) -> str:
    """The page: a row for each explanation, the agreement, the strongest words, and the input for each explanation."""
    first, count = comparison.explanations[0], len(comparison.explanations)
    main = [
        header(first, relevance_of(first), f"{count} explanations side by side"),
        f'<div class="detail wide">{overview(comparison)}\n{agreement_section(comparison)}\n{units_section(comparison)}\n{columns(comparison)}</div>',
    ]
    return document(f"{name_of(first)}: {count} explanations", "\n".join(main))


def overview(comparison: Comparison | Similarity) -> str:
    """A row for each explanation: its method, its target, and the values that add up."""
    names = ["Method", "Target", "Baseline", "Explained", "Sum", "Residual", "Time, ms"]
    names += ["Model", "Answer"] if comparison.several_models else []
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", *names))
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>{"".join(f"<td>{cell}</td>" for cell in cells(one, comparison.several_models))}</tr>'
        for label, one in zip(comparison.labels, comparison.explanations, strict=True)
    )
    note = "Explained = sum + residual, each in the unit of the explained value: logits, for a model with labels."
    note += "".join(f" {fact}." for fact in origin(comparison.explanations[0]) if fact)
    note += f" {SHARES_NOTE}" if any(one.scores_are_attention for one in comparison.explanations) else ""
    return section("Side by side", f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", note)


def origin(explanation: Explanation) -> list[str]:
    """Where and when an explanation was made, as HTML."""
    found = [f"Bundle sha256 {safe(explanation.model_sha256)}"]
    return [*found, safe(explanation.machine), safe(explanation.date)]


def cells(explanation: Explanation, several_models: bool) -> list[str]:
    target = " ".join(filter(None, (target_text(explanation.target), place_text(explanation))))
    answer = explanation.prediction
    residual = "-" if explanation.scores_are_attention else signed(explanation.residual)
    values = (signed(explanation.explained), signed(explanation.total), residual)
    found = [safe(explanation.method), escape(target), safe(explanation.baseline) or "-", *values]
    found.append(f"{explanation.ms:,.1f}")
    if several_models:
        found += [safe(explanation.model), "-" if answer is None else f"{safe(answer.label)} {answer_text(answer)}"]
    return found


def agreement_section(comparison: Comparison) -> str:
    """The agreement of every pair, as a table that is the same on both sides of its diagonal."""
    labels = [escape(label) for label in comparison.labels]
    found = {(one.first, one.second): one for one in comparison.agreements}
    head = "".join(f'<th scope="col">{label}</th>' for label in ("", *labels))
    rows = "".join(
        f'<tr><th scope="row">{label}</th>{"".join(agreement_cell(found.get((min(row, column), max(row, column)))) for column in range(len(labels)))}</tr>'
        for row, label in enumerate(labels)
    )
    note = (
        "Spearman's rank correlation of the tokens' scores, and how many of the ten tokens with the largest |score| are the same. "
        "The colour is that of the correlation, from -1 to +1. Methods that agree may be wrong together."
    )
    return section("Agreement", f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", note)


def agreement_cell(agreement: Agreement | None) -> str:
    if agreement is None:
        return '<td class="z"></td>'
    return f'<td class="{shade(agreement.correlation or 0.0, 1.0)}">{agreement_text(agreement)}</td>'


def units_section(comparison: Comparison) -> str:
    """The strongest words of each explanation in input order, with the scores by all explanations."""
    what, units = strongest_units(comparison.explanations)
    peaks = [max((abs(unit.scores[column]) for unit in units), default=0.0) for column in range(len(comparison.labels))]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in (what.capitalize(), "Offset", *comparison.labels))
    rows = "".join(
        f'<tr><th scope="row">{excerpt(unit.text)}</th><td>{unit.start}</td>'
        + "".join(
            f'<td class="{shade(score, peak)}">{signed(score)}</td>'
            for score, peak in zip(unit.scores, peaks, strict=True)
        )
        + "</tr>"
        for unit in units
    )
    rows = rows or f'<tr><td colspan="{len(peaks) + 2}">none</td></tr>'
    note = f"The {what}s with the largest |score| by each explanation, in the order of the input."
    return section(f"Strongest {what}s", f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", note)


def columns(comparison: Comparison | Similarity) -> str:
    """The input once for each explanation, with one switch of views for all."""
    chosen = chosen_of(comparison.explanations[0])
    unused = {"text": "hex", "hex": "text"}.get(chosen)  # beside another column, one view of single bytes is enough
    panes = [
        [pane for pane in panes_of(one, str(place)) if pane.key != unused]
        for place, one in enumerate(comparison.explanations)
    ]
    body = "\n".join(
        f"<article><h3>{escape(label)}</h3>{''.join(pane.html(target_text(one.target), '') for pane in own)}</article>"
        for label, one, own in zip(comparison.labels, comparison.explanations, panes, strict=True)
    )
    return (
        '<section><h2>The input by each</h2>\n<p class="note">Scores are raw. Only the colours are normalised: in each column '
        "linear in the score, full at the largest |score| of that column. Choose a word or a token, by pointer, touch or arrow "
        "keys, for its values; point at a character or a byte.</p>\n"
        '<fieldset><legend class="unseen">View of the input</legend>'
        f'{switch(panes[0], chosen)}\n<div class="columns">{body}</div></fieldset></section>'
    )
