"""The frame of every page, and its sections and tables.

In: HTML, or cells of text, which `table` escapes. Out: HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgexf.report.html.style import STYLE
from edgexf.report.html.views import SIDEWAYS, palette

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
OWN_PICTURES = "; img-src data:"  # those inside the page


def document(title: str, main: str, style: str = "", scheme: str = "light", pictures: bool = False) -> str:
    """A page. `style` stands behind the sheet of every page; `scheme` names the colours that it has: light, dark or both.
    Only with `pictures` the page may show pictures that it holds itself.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}{OWN_PICTURES if pictures else ""}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="{scheme}">\n'
        f"<title>{title}</title>\n<style>{STYLE}{palette()}{style}</style>\n</head>\n<body>\n<main>\n{main}\n</main>\n</body>\n</html>\n"
    )


def scrolled(name: str, table: str) -> str:
    """A table with a scroll bar if it is wider than the page; the keyboard can scroll it too."""
    return SIDEWAYS + f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def section(title: str, table: str, note: str = "") -> str:
    return f"<section><h2>{title}</h2>{scrolled(title, table)}{f'<p class={chr(34)}note{chr(34)}>{note}</p>' if note else ''}</section>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
