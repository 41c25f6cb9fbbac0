"""Results as plain values, and the views in which people read them.

    answers                                 answers in the shapes of pipelines, with how they came about
    prediction, explanation, quantization   computed and measured values, with their JSON and Markdown
    scored                                  what explanations of texts and of pictures have in common
    latency/                                a latency report, and what it says
    verdicts                                quantization in the words of a user
    picture, png                            the explanation of a picture, and how it is stored
    comparison, ranks                       several explanations of one input
    similarity                              explanations of two texts that are alike
    words, segments, relevance, runs        an explanation by words, tokens and bytes, and its strongest runs
    reading                                 checks of values that were read from JSON
    characters, colours, markdown           text and colours that every view shares
    html/, terminal/                        the pages and the coloured terminal views

Data passes from the values at the top to the views at the bottom. Nothing here needs more than numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgexf.report.comparison import Comparison as Comparison
    from edgexf.report.explanation import Explanation as Explanation
    from edgexf.report.latency.report import REPORT_SCHEMA as REPORT_SCHEMA
    from edgexf.report.latency.report import LatencyReport as LatencyReport
    from edgexf.report.latency.tables import LATENCY_HEADER as LATENCY_HEADER
    from edgexf.report.latency.tables import latency_cells as latency_cells
    from edgexf.report.markdown import markdown_table as markdown_table
    from edgexf.report.picture import PictureExplanation as PictureExplanation
    from edgexf.report.prediction import Features as Features
    from edgexf.report.prediction import Prediction as Prediction
    from edgexf.report.prediction import score_text as score_text

# Imported at their first use: the runtime needs few of them, and an application waits for its imports.
PUBLIC = {
    "LATENCY_HEADER": "latency.tables",
    "REPORT_SCHEMA": "latency",
    "Comparison": "comparison",
    "Explanation": "explanation",
    "Features": "prediction",
    "LatencyReport": "latency",
    "PictureExplanation": "picture",
    "Prediction": "prediction",
    "latency_cells": "latency.tables",
    "markdown_table": "markdown",
    "score_text": "prediction",
}
__all__ = [
    "LATENCY_HEADER",
    "REPORT_SCHEMA",
    "Comparison",
    "Explanation",
    "Features",
    "LatencyReport",
    "PictureExplanation",
    "Prediction",
    "latency_cells",
    "markdown_table",
    "score_text",
]


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(f"edgexf.report.{PUBLIC[name]}"), name)
    raise AttributeError(f"module 'edgexf.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
