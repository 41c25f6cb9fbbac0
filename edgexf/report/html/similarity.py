"""The page of a similarity: two texts side by side in one self-contained HTML file.

In: a `Similarity`. Out: the page as text, under the rules of `edgexf.report.html.explanation`. Each text has the colours of
its own scores, full at its largest |score|.
"""

from __future__ import annotations

from edgexf.report.html.comparison import columns, overview
from edgexf.report.html.document import document
from edgexf.report.html.views import safe
from edgexf.report.relevance import signed
from edgexf.report.similarity import Similarity


def similarity_page(similarity: Similarity) -> str:
    """The page: the cosine, a row for each text and method, and the texts in colour."""
    first = similarity.explanations[0]
    head = (
        '<header><p class="kicker">Why two texts are alike</p>\n'
        f"<h1>{safe(first.model)}</h1>\n"
        f'<p class="lead">The cosine of both embeddings is <strong>{signed(similarity.cosine)}</strong>. '
        "The scores of a text are what its tokens add to it.</p></header>"
    )
    parts = [head, f'<div class="detail wide">{overview(similarity)}\n{columns(similarity)}</div>']
    return document(f"similarity by {safe(first.model)}", "\n".join(parts))
