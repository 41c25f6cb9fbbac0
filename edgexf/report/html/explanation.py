"""The page of an explanation: one self-contained HTML file.

In: an `Explanation`. Out: the page as text. The page needs no network, no script and no other file; its
Content-Security-Policy forbids them all. All text from outside is escaped. Names replace characters that are invisible
or could control the display, so the page shows the real bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from edgexf.report.characters import ascii_of
from edgexf.report.explanation import Explanation
from edgexf.report.html.document import document
from edgexf.report.html.views import caption_of, chosen_of, panes_of, safe, shade, switch
from edgexf.report.picture import PictureExplanation
from edgexf.report.prediction import Prediction
from edgexf.report.relevance import (
    SHARES_NOTE,
    Relevance,
    answer_text,
    one_line,
    place_text,
    relevance_of,
    signed,
    target_text,
)
from edgexf.report.runs import Run, strongest_runs
from edgexf.report.segments import in_runs, reads_bytes

Explained = Explanation | PictureExplanation

RUNS = 10  # rows in a table of the strongest runs
WEIGHTS = 20  # the most labels of a target that the page lists
EXCERPT, HEX_EXCERPT = 40, 6  # the most characters or bytes of a run that a table shows


def explanation_page(explanation: Explanation) -> str:
    """The page: the answer, the explained value, the coloured input, and tables of the strongest runs."""
    relevance, target = relevance_of(explanation), target_text(explanation.target)
    cards = [value_card(explanation, relevance, target), model_card(explanation)]
    if explanation.prediction is not None:
        cards.insert(0, prediction_card(explanation.prediction, explanation.truth))
    main = [
        header(explanation, relevance),
        f'<div class="cards">{"".join(cards)}</div>',
        f'<div class="detail">{input_section(explanation, target)}\n{runs_section(explanation, target)}</div>',
    ]
    return document(title_of(explanation), "\n".join(main))


def title_of(explanation: Explained) -> str:
    answer = explanation.prediction
    return f"{safe(explanation.input)}: {safe(explanation.method if answer is None else answer.label)}"


def header(explanation: Explanation, relevance: Relevance, kicker: str = "Relevance explanation") -> str:
    extent = "the beginning of a longer input" if explanation.truncated else "the whole input"
    return (
        f'<header><p class="kicker">{kicker}</p>\n<h1>{name_of(explanation)}</h1>\n'
        f'<p class="lead">{answer_sentence(explanation)} Bytes read: {len(relevance.data):,}, {extent}.</p></header>'
    )


def name_of(explanation: Explained) -> str:
    return "standard input" if explanation.input == "-" else safe(explanation.input)


def answer_sentence(explanation: Explained) -> str:
    """The answer of the model; for a model without labels, the explained value."""
    answer, place = explanation.prediction, place_text(explanation)
    if answer is None:
        return f"The explained value is <strong>{signed(explanation.explained)}</strong>.{truth_sentence(explanation)}"
    kind = "probability" if answer.probabilities else "score"
    where = f" {escape(place)}" if place else ""
    return f"The model answers <strong>{safe(answer.label)}</strong>{where} with {kind} {answer_text(answer)}.{truth_sentence(explanation)}"


def truth_sentence(explanation: Explained) -> str:
    """The true label; empty if it is not known."""
    return f" The true label is <strong>{safe(explanation.truth)}</strong>." if explanation.truth else ""


def card(title: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2>{content}</section>\n'


def prediction_card(answer: Prediction, truth: str) -> str:
    rows = "".join(score_row(label, score, answer.probabilities) for label, score in answer.top)
    kind = "Probability" if answer.probabilities else "Score"
    head = f'<tr><th scope="col">Label</th><td></td><th scope="col">{kind}</th></tr>'
    right = "right" if answer.label == truth else "wrong"
    note = f"<p>True label: {safe(truth)}; the answer is {right}.</p>" if truth else ""
    return card("Prediction", f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{note}")


def score_row(label: str, score: float, probability: bool) -> str:
    """A label and its score, with a bar if the score is a probability."""
    bar = f'<div style="width:{score:.2%}"></div>' if probability else ""
    value = f"{score:.2%}" if probability else signed(score)
    return f'<tr><th scope="row">{safe(label)}</th><td class="bar">{bar}</td><td>{value}</td></tr>'


def value_card(explanation: Explanation, relevance: Relevance, target: str) -> str:
    """The sum that makes the explained value: bytes or text, special tokens, and residual."""
    rows = [
        ("Bytes" if reads_bytes(explanation) else "Text", float(relevance.byte_scores.sum()), ""),
        (relevance.special.capitalize(), relevance.special_score, ""),
        ("Sum of shares" if explanation.scores_are_attention else "Sum of relevance", explanation.total, "sum"),
        ("Residual (not attributed)", None if explanation.scores_are_attention else explanation.residual, ""),
        ("Explained value", explanation.explained, "sum"),
    ]
    cells = "".join(
        f'<tr class="{kind}"><th scope="row">{name}</th><td>{signed(value)}</td></tr>'
        for name, value, kind in rows
        if value is not None
    )
    unit = "Value" if explanation.prediction is None else "Logits"
    head = f'<tr><th scope="col">Part</th><th scope="col">{unit}</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{cells}</tbody></table>"
    note = f'<p class="note">{SHARES_NOTE}</p>' if explanation.scores_are_attention else ""
    return card(f"Explained: {escape(target)}", f"{table}{weights_line(explanation)}{note}")


def weights_line(explanation: Explained) -> str:
    """The label and the weight of every target, at most the first `WEIGHTS`."""
    if not explanation.target:
        return ""
    weights = ", ".join(f"{safe(label)} {weight:+g}" for label, weight in list(explanation.target.items())[:WEIGHTS])
    rest = f" and {len(explanation.target) - WEIGHTS:,} more" if len(explanation.target) > WEIGHTS else ""
    return f"<p>Target (label, weight): {weights}{rest}</p>"


def model_card(explanation: Explained) -> str:
    facts = [
        ("Model", safe(explanation.model)),
        ("Method", safe(explanation.method)),
        ("Baseline", safe(explanation.baseline)),
        ("Explained", escape(place_text(explanation))),
        *((safe(name.capitalize()), safe(setting_text(value))) for name, value in explanation.settings.items()),
        ("Bundle sha256", f"<code>{safe(explanation.model_sha256)}</code>"),
        ("Graph sha256", digest(explanation.graph_sha256)),
        ("Machine", safe(explanation.machine)),
        ("Date", safe(explanation.date)),
        ("Time", f"{explanation.ms:,.1f} ms"),
        ("Input truncated", "yes" if explanation.truncated else "no"),
    ]
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts if value)
    return card("Provenance", f"<dl>{rows}</dl>")


def setting_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def digest(value: str) -> str:
    return f'<code title="{safe(value)}">{safe(value[:12])}…</code>'


def input_section(explanation: Explanation, target: str) -> str:
    """The input in every view, and the switch between the views."""
    panes = panes_of(explanation)
    boxes = "\n".join(pane.html(target, caption_of(explanation, pane)) for pane in panes)
    what = "byte" if reads_bytes(explanation) else "token"
    return (
        f'<section><h2>Relevance of every {what}</h2>\n<fieldset><legend class="unseen">View of the input</legend>'
        f'{switch(panes, chosen_of(explanation))}\n<div class="columns">{boxes}</div></fieldset></section>'
    )


def runs_section(explanation: Explanation, target: str) -> str:
    relevance, what = in_runs(explanation), "characters" if reads_bytes(explanation) else "words"
    titles = {1: f"For {escape(target)}", -1: f"Against {escape(target)}"}
    if explanation.scores_are_attention:
        titles = {1: "Most attended"}
    runs = {sign: strongest_runs(relevance.pieces, sign, RUNS) for sign in titles}
    peak = max((abs(run.score) for found in runs.values() for run in found), default=0.0)
    tables = "".join(runs_table(relevance, runs[sign], title, peak) for sign, title in titles.items())
    return (
        f'<section><h2>Strongest runs</h2>\n<div class="pair">{tables}</div>\n'
        f'<p class="note">A run is a stretch of neighbouring {what} that score above half the root mean square of all scores, '
        "taken together; its score is their sum, and its colour is that of this sum, full at the strongest run. Offset and "
        "length are in bytes.</p></section>"
    )


def text_run(relevance: Relevance, run: Run, peak: float) -> str:
    """The first cells of a row: text, line and offset."""
    text = "".join(one_line(run.pieces))
    line = relevance.data[: run.start].count(b"\n") + 1
    return f"{painted(shortened(text, EXCERPT), run, peak)}</th><td>{line}</td><td>{run.start}</td>"


def hex_run(relevance: Relevance, run: Run, peak: float) -> str:
    """The first cells of a row: hexadecimal digits above readable characters, and the offset."""
    values = relevance.data[run.start : min(run.end, run.start + HEX_EXCERPT)]
    more = "…" if run.start + HEX_EXCERPT < run.end else ""
    digits, readable = values.hex(" ").upper(), "".join(map(ascii_of, values))
    return f"{painted(digits + more, run, peak)}\n{painted(readable, run, peak)}</th><td>0x{run.start:X}</td>"


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def painted(text: str, run: Run, peak: float) -> str:
    """The text of a run in the colour of the run's score, so that the colours of a table have the order of its scores."""
    return f'<span class="{shade(run.score, peak)}">{escape(text)}</span>'


def runs_table(relevance: Relevance, runs: Sequence[Run], title: str, peak: float) -> str:
    """The table of runs, whose colour is full at a run of the score `peak`."""
    names, cells_of = (("Text", "Line", "Offset"), text_run) if relevance.is_text else (("Bytes", "Offset"), hex_run)
    head = "".join(f'<th scope="col">{name}</th>' for name in (*names, "Length", "Score"))
    rows = "".join(
        f'<tr><th scope="row">{cells_of(relevance, run, peak)}<td>{run.end - run.start}</td><td>{signed(run.score)}</td></tr>'
        for run in runs
    )
    rows = rows or '<tr><td colspan="5">none</td></tr>'
    return f'<table class="runs"><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
