"""The part of the page on whole answers: from a text to labels or to the relevance of words, stage by stage.

In: reports. Out: a `Chart` of shares, and the rows of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edgexf.report.characters import visible
from edgexf.report.html.latency.bars import EACH, HEAD, MOST, named, without_heights
from edgexf.report.html.latency.charts import Chart, Entry, both, left_out
from edgexf.report.html.latency.plots import PAPER, SERIES
from edgexf.report.latency.measured.stages import STAGES, SUM, Stages
from edgexf.report.latency.report import LatencyReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def answers_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The share of each stage in an answer. None where no answer was measured whole."""
    every = [
        (f"{label}: {one.name}" if label else one.name, one)
        for report, label in zip(reports, labels, strict=True) for one in report.stages if one.summaries[SUM] is not None
    ]  # fmt: skip
    if not every:
        return None
    shown = {visible(f"{name}: {sum_of(one):.3g} ms"): medians_of(one) for name, one in every[:MOST]}
    legend = [Entry("■", place, stage) for place, stage in enumerate(STAGES)]
    note = f"Medians, as shares of their sum, which stands above each bar.{left_out(len(every), MOST, 'bars')}"
    return both("Stages of an answer", partial(draw_answers, shown), "answers", legend, note, HEAD + EACH * len(shown))


def medians_of(stages: Stages) -> dict[str, float]:
    """The median of each stage that was measured, in milliseconds."""
    return {name: one.median for name in STAGES if (one := stages.summaries[name]) is not None}


def sum_of(stages: Stages) -> float:
    return sum(medians_of(stages).values())


def draw_answers(bars: Mapping[str, Mapping[str, float]], figure: Figure) -> None:
    axes = figure.add_subplot()
    for place, (name, medians) in enumerate(bars.items()):
        start, whole = 0.0, sum(medians.values()) or 1.0
        for number, stage in enumerate(STAGES):
            share = 100 * medians.get(stage, 0.0) / whole
            axes.barh(place, share, 0.42, left=start, color=SERIES[number], edgecolor=PAPER, linewidth=0.8)
            start += share
        named(axes, place, name)
    without_heights(axes, len(bars))
    axes.set_xlim(0, 100.5)
    axes.set_xlabel("% of the stages")
