"""Results as plain values, and the views in which people read them.

    prediction, explanation, latency, quantization   computed and measured values, with their JSON and Markdown
    verdicts                                         quantization in the words of a user
    comparison, ranks                                several explanations of one input
    words, segments, relevance, runs                 an explanation by words, tokens and bytes, and its strongest runs
    reading                                          checks of values that were read from JSON
    characters, colours, markdown                    text and colours that every view shares
    html/, terminal/                                 the pages and the coloured terminal views

Data passes from the values at the top to the views at the bottom. Nothing here needs more than numpy.
"""

from edgexf.report.comparison import Comparison
from edgexf.report.explanation import Explanation
from edgexf.report.latency import LATENCY_HEADER, REPORT_SCHEMA, LatencyReport, LengthLatency, latency_cells
from edgexf.report.markdown import markdown_table
from edgexf.report.prediction import Features, Prediction, score_text

__all__ = [
    "LATENCY_HEADER",
    "REPORT_SCHEMA",
    "Comparison",
    "Explanation",
    "Features",
    "LatencyReport",
    "LengthLatency",
    "Prediction",
    "latency_cells",
    "markdown_table",
    "score_text",
]
