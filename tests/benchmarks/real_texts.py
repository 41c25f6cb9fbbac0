"""Real texts of this machine: paragraphs from the descriptions of installed packages.

In: a number. Out: so many paragraphs of prose in a fixed order, with some in other scripts and with emoji between them.
"""

from __future__ import annotations

import re
from importlib.metadata import distributions

WORDS = (12, 120)  # of a paragraph, least and most
ODD = (
    "The café in Zürich serves Käse, says Zoë \N{HOT BEVERAGE}\N{VARIATION SELECTOR-16} and 東京 agrees.",
    "Привет мир: Anna wohnt in München \N{GRINNING FACE}, Bob in New\N{NO-BREAK SPACE}York.",
    "zero\N{ZERO WIDTH SPACE}width and a family \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL} in one line.",
)


def paragraphs() -> list[str]:
    """The paragraphs of all descriptions, each once, sorted by package."""
    found: dict[str, None] = {}
    for package in sorted(distributions(), key=lambda one: str(one.metadata["Name"]).lower()):
        text = str(package.metadata.get_payload() or package.metadata.get("Description") or "")
        for part in re.split(r"\n\s*\n", text):
            prose = " ".join(part.split())
            if WORDS[0] <= len(prose.split()) <= WORDS[1] and prose[0].isalpha() and "|" not in prose:
                found[prose] = None
    return list(found)


def texts(count: int) -> list[str]:
    """`count` texts, `ODD` ones first. Raises ValueError if this machine has fewer."""
    known = [*ODD, *paragraphs()]
    if len(known) < count:
        raise ValueError(f"there must be {count} texts in installed packages, got {len(known)}; ask for fewer.")
    step = len(known) // count
    return [*ODD, *known[len(ODD) :: step]][:count]


def documents(count: int, parts: int) -> list[str]:
    """`count` long texts of so many paragraphs each."""
    known = paragraphs()
    return [" ".join(known[(number * parts + part) % len(known)] for part in range(parts)) for number in range(count)]
