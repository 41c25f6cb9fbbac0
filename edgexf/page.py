"""One self-contained HTML page for an explanation.

In: an `Explanation`. Out: the page as text. It needs no network, no script and no other file; its
Content-Security-Policy forbids them all. Everything that came from outside is escaped, and characters
that would be invisible or would steer the display are written by name, so the page shows what the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import groupby

from edgexf.display import (
    INK,
    LEVELS,
    Piece,
    Relevance,
    Run,
    ascii_of,
    colour,
    colour_level,
    described,
    hex_colour,
    lines_of,
    relevance_of,
    signed,
    strongest_runs,
    target_text,
    visible,
    words_of,
)
from edgexf.report import Explanation

ROW = 16  # bytes in a row of the hex view
RUNS = 10  # rows in a table of the strongest runs
EXCERPT, HEX_EXCERPT = 40, 6  # characters or bytes of a run
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def explanation_page(explanation: Explanation) -> str:
    """The page: answer, explained value, every byte in its colour, and the strongest runs in words."""
    relevance, target = relevance_of(explanation), target_text(explanation.target)
    main = [
        header(explanation, relevance),
        f'<div class="cards">{prediction_card(explanation)}{value_card(explanation, relevance, target)}{model_card(explanation)}</div>',
        f'<div class="detail">{bytes_section(relevance, target)}\n{runs_section(relevance, target)}</div>',
    ]
    return document(f"{safe(explanation.input)}: {safe(explanation.prediction.label)}", "\n".join(main))


def document(title: str, main: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light">\n'
        f"<title>{title}</title>\n<style>{STYLE}{palette()}</style>\n</head>\n<body>\n<main>\n{main}\n</main>\n</body>\n</html>\n"
    )


def safe(value: str) -> str:
    """Text from outside as HTML."""
    return escape(visible(value))


def header(explanation: Explanation, relevance: Relevance) -> str:
    answer = explanation.prediction
    name = "standard input" if explanation.input == "-" else safe(explanation.input)
    extent = "the beginning of a longer input" if answer.truncated else "the whole input"
    return (
        f'<header><p class="kicker">Relevance explanation</p>\n<h1>{name}</h1>\n'
        f'<p class="lead">The model answers <strong>{safe(answer.label)}</strong> with probability {answer.score:.2%}. '
        f"Bytes read: {len(relevance.data):,}, {extent}.</p></header>"
    )


def card(title: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2>{content}</section>\n'


def prediction_card(explanation: Explanation) -> str:
    rows = "".join(
        f'<tr><th scope="row">{safe(label)}</th><td class="bar"><div style="width:{share:.2%}"></div></td><td>{share:.2%}</td></tr>'
        for label, share in explanation.prediction.top
    )
    head = '<tr><th scope="col">Label</th><td></td><th scope="col">Probability</th></tr>'
    return card("Prediction", f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>")


def value_card(explanation: Explanation, relevance: Relevance, target: str) -> str:
    """The sum that the explanation is: bytes, special tokens and residual make the explained value."""
    rows = [
        ("Bytes", float(relevance.byte_scores.sum()), ""),
        (relevance.special.capitalize(), relevance.special_score, ""),
        ("Sum of relevance", float(explanation.scores.sum(dtype=float)), "sum"),
        ("Residual (not attributed)", explanation.residual, ""),
        ("Explained value", explanation.explained, "sum"),
    ]
    cells = "".join(
        f'<tr class="{kind}"><th scope="row">{name}</th><td>{signed(value)}</td></tr>'
        for name, value, kind in rows
        if value is not None
    )
    weights = ", ".join(f"{safe(label)} {weight:+g}" for label, weight in explanation.target.items())
    head = '<tr><th scope="col">Part</th><th scope="col">Logits</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{cells}</tbody></table>"
    return card(f"Explained: {escape(target)}", f"{table}<p>Target (label, weight): {weights}</p>")


def model_card(explanation: Explanation) -> str:
    digest = explanation.graph_sha256
    facts = [
        ("Model", safe(explanation.model)),
        ("Method", safe(explanation.method)),
        ("Graph sha256", f'<code title="{safe(digest)}">{safe(digest[:12])}…</code>'),
        ("Time", f"{explanation.ms:.1f} ms"),
        ("Input truncated", "yes" if explanation.prediction.truncated else "no"),
    ]
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return card("Provenance", f"<dl>{rows}</dl>")


def bytes_section(relevance: Relevance, target: str) -> str:
    """Both views and their switch; without style sheets both are simply shown."""
    views = {"text": text_view(relevance), "hex": hex_view(relevance)}
    chosen = "text" if relevance.is_text else "hex"
    switch = "".join(radio(key, key == chosen) for key in views)
    boxes = "\n".join(
        f'<div class="view view-{key}" role="region" aria-label="Bytes as {key}" tabindex="0">{view}</div>'
        for key, view in views.items()
    )
    return (
        f"<section><h2>Relevance of every byte</h2>\n{legend(relevance, target)}\n"
        f'<fieldset><legend class="unseen">View of the bytes</legend>{switch}\n{boxes}</fieldset></section>'
    )


def radio(key: str, checked: bool) -> str:
    state = " checked" if checked else ""
    return f'<input type="radio" name="view" id="show-{key}"{state}><label for="show-{key}">{key.title()}</label>'


def legend(relevance: Relevance, target: str) -> str:
    bar = "".join(f'<span class="{shade(level, LEVELS)}"></span>' for level in range(-LEVELS, LEVELS + 1))
    peak = signed(relevance.peak).lstrip("+")
    ends = f"<span>{signed(-relevance.peak)}</span><span>0</span><span>{signed(relevance.peak)}</span>"
    return (
        f'<figure class="legend"><div class="sides"><span>against {escape(target)}</span><span>for {escape(target)}</span></div>'
        f'<div class="scale" aria-hidden="true">{bar}</div><div class="sides">{ends}</div>'
        f"<figcaption>Scores are raw, in logits. Only the colours are normalised: linear in the score, full at the largest "
        f"|score| shown ({peak}). Point at a byte for its offset, value and score.</figcaption></figure>"
    )


def shade(score: float, peak: float) -> str:
    """A score's CSS class: n20 to n1 against, z, p1 to p20 for."""
    level = colour_level(score, peak)
    return "z" if level == 0 else f"{'n' if level < 0 else 'p'}{abs(level)}"


def palette() -> str:
    """A rule for every class of `shade`."""
    levels = range(-LEVELS, LEVELS + 1)
    return "".join(f".{shade(level, LEVELS)}{{background:{hex_colour(colour(level))}}}" for level in levels)


def text_view(relevance: Relevance) -> str:
    """Lines of characters; a line keeps its newline, whose mark is drawn by the style sheet."""
    lines = ("".join(character(piece, relevance.peak) for piece in line) for line in lines_of(relevance.pieces))
    return "".join(f'<div class="line">{line}</div>' for line in lines)


def character(piece: Piece, peak: float) -> str:
    """A character in its colour, as itself or as a chip with its name."""
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
    """Offset, a cell for each byte, and the readable characters."""
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
    """Words in their colours, neighbours of one colour together."""
    shades = [(shade(score, peak), word) for word, score in zip(words, scores, strict=True)]
    groups = ((mark, "".join(word for _, word in group)) for mark, group in groupby(shades, key=lambda pair: pair[0]))
    return "".join(f'<span class="{mark}">{escape(shown)}</span>' for mark, shown in groups)


def runs_section(relevance: Relevance, target: str) -> str:
    tables = runs_table(relevance, 1, f"For {escape(target)}") + runs_table(relevance, -1, f"Against {escape(target)}")
    return (
        f'<section><h2>Strongest runs</h2>\n<div class="pair">{tables}</div>\n'
        '<p class="note">A run is a stretch of neighbouring characters that score above half the root mean square of all scores, '
        "taken together; its score is their sum. Offset and length are in bytes.</p></section>"
    )


def text_run(relevance: Relevance, run: Run) -> str:
    """Text and line as the first cells of a row."""
    pieces = run.pieces[:EXCERPT]
    shown = coloured(words_of(pieces), (piece.score for piece in pieces), relevance.peak)
    line = relevance.data[: run.start].count(b"\n") + 1
    return f"{shown}{'…' if len(run.pieces) > EXCERPT else ''}</th><td>{line}</td><td>{run.start}</td>"


def hex_run(relevance: Relevance, run: Run) -> str:
    """Hexadecimal digits above readable characters, and the offset."""
    end = min(run.end, run.start + HEX_EXCERPT)
    values, scores = relevance.data[run.start : end], relevance.byte_scores[run.start : end].tolist()
    digits = coloured((f"{value:02X} " for value in values), scores, relevance.peak)
    readable = coloured((ascii_of(value) for value in values), scores, relevance.peak)
    return f"{digits}{'…' if end < run.end else ''}\n{readable}</th><td>0x{run.start:X}</td>"


def runs_table(relevance: Relevance, sign: int, title: str) -> str:
    names, cells_of = (("Text", "Line", "Offset"), text_run) if relevance.is_text else (("Bytes", "Offset"), hex_run)
    head = "".join(f'<th scope="col">{name}</th>' for name in (*names, "Length", "Score"))
    rows = "".join(
        f'<tr><th scope="row">{cells_of(relevance, run)}<td>{run.end - run.start}</td><td>{signed(run.score)}</td></tr>'
        for run in strongest_runs(relevance.pieces, sign, RUNS)
    )
    rows = rows or '<tr><td colspan="5">none</td></tr>'
    return f'<table class="runs"><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


STYLE = """
:root { color-scheme: light; --ink: #1d2530; --soft: #55606e; --line: #d9dee5; --accent: #1f5f99;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
* { box-sizing: border-box }
body { margin: 0; background: #f5f6f8; color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 48px }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 0 0 10px; font-size: 16px; overflow-wrap: anywhere }
p { margin: 8px 0 0 } .kicker { margin: 0; font-size: 12px; letter-spacing: .08em; text-transform: uppercase }
.kicker, .note, figcaption, .card p, dt, thead th { color: var(--soft) }
.note, figcaption, .card p { font-size: 13px }
section { min-width: 0; padding: 16px 18px; background: #fff; border: 1px solid var(--line); border-radius: 8px }
.cards, .detail { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 16px; margin-top: 16px }
.detail { grid-template-columns: minmax(0, 1fr); align-items: start }
table { border-spacing: 0; font-variant-numeric: tabular-nums }
thead th { font-size: 12px } .card table, .runs { width: 100% }
.card th, .card td, .runs th, .runs td { padding: 3px 0 3px 12px; text-align: right; font-weight: 400; vertical-align: top }
.card th:first-child, .runs th:first-child { padding-left: 0; text-align: left; overflow-wrap: anywhere }
.card .sum > * { border-top: 1px solid var(--line); font-weight: 600 }
.bar { width: 40% } .bar div { height: 10px; margin-top: 6px; min-width: 1px; background: var(--accent); border-radius: 2px }
dl { margin: 0 } dl div { display: flex; gap: 12px; justify-content: space-between; padding: 3px 0 }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
code, .view, .runs tbody th { font-family: var(--mono); font-size: 13px }
.legend { margin: 0 0 14px; max-width: 640px }
.sides, .scale { display: flex; justify-content: space-between; gap: 0 16px; font-size: 13px; font-variant-numeric: tabular-nums }
.scale { height: 14px; gap: 0; margin: 3px 0; border: 1px solid var(--line) } .scale span { flex: 1 }
fieldset { margin: 0; padding: 0; border: 0; min-width: 0 } input { position: absolute; opacity: 0 }
label { display: inline-block; padding: 4px 18px; border: 1px solid var(--line); cursor: pointer; font-size: 14px }
label + input + label { border-left: 0 } input:checked + label { background: var(--accent); border-color: var(--accent); color: #fff }
input:focus-visible + label, .view:focus-visible { outline: 3px solid #7a5195; outline-offset: 2px }
.view { display: none; max-height: 80vh; margin-top: 12px; padding: 10px 0; overflow: auto; line-height: 1.55; color: INK;
  border: 1px solid var(--line); border-radius: 6px }
#show-text:checked ~ .view-text, #show-hex:checked ~ .view-hex { display: block }
.line { position: relative; padding: 0 12px 0 58px; white-space: pre-wrap; overflow-wrap: anywhere; counter-increment: line }
.line::before { position: absolute; left: 0; width: 44px; content: counter(line); color: var(--soft); text-align: right; font-size: 12px }
.nl::before { content: "↵"; opacity: .4 }
.chip { margin: 0 1px; padding: 0 2px; border-radius: 3px; font-size: 10px; box-shadow: inset 0 0 0 1px rgb(0 0 0 / .3) }
.view-hex table { margin: 0 12px } .view-hex td, .view-hex th { min-width: 26px; padding: 1px 5px; font-weight: 400; white-space: pre }
.view-hex th:first-child { padding: 1px 14px 1px 0; color: var(--soft); text-align: left }
.view-hex tr > :nth-child(9) { border-right: 8px solid #fff }
.view-hex tr > :last-child { padding-left: 18px; text-align: left }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px 36px }
.runs { align-self: start; font-size: 13px } .runs caption { text-align: left; font-weight: 600; font-size: 15px; padding-bottom: 4px }
.runs tbody > * > * { border-top: 1px solid var(--line) } .runs tbody th { white-space: pre-wrap } .runs span { color: INK }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
@media screen and (min-width: 1080px) { .detail { grid-template-columns: minmax(0, 1fr) 380px } }
@media (max-width: 600px) {
  main { padding: 16px 10px 32px } section { padding: 12px }
  .line { padding: 0 6px 0 40px } .line::before { width: 32px }
}
@media print {
  * { print-color-adjust: exact } tr, .line { break-inside: avoid }
  .view { max-height: none; overflow: visible }
}
""".replace("INK", hex_colour(INK))
