"""The terminal view of a similarity: the cosine, and both texts below each other.

In: a `Similarity`. Out: a renderable of rich: a head line, then the view of each explanation.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from edgexf.report.relevance import signed
from edgexf.report.similarity import Similarity
from edgexf.report.terminal.explanation import BOLD, explanation_text


def similarity_text(similarity: Similarity, width: int = 80) -> RenderableType:
    """The view, about `width` cells wide."""
    blocks: list[RenderableType] = [Text(f"cosine {signed(similarity.cosine)}", BOLD)]
    for label, one in zip(similarity.labels, similarity.explanations, strict=True):
        blocks += [Text(f"\n{label}", BOLD), explanation_text(one, width)]
    return Group(*blocks)
