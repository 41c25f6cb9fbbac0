"""The samples of each configuration: strips in the order of measurement, with the bands of outliers.

In: one report, or several. Out: a `Chart` for each configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edgexf.report.characters import visible
from edgexf.report.html.latency.charts import Chart, Line, counted, lines_of
from edgexf.report.html.latency.plots import INK, MILD, NARROW, SEVERE, SOFT, dots, drawn
from edgexf.report.latency.measured.rows import Measured
from edgexf.report.latency.measured.statistics import MILD as MILD_FENCE
from edgexf.report.latency.measured.statistics import SEVERE as SEVERE_FENCE
from edgexf.report.latency.report import LatencyReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 36  # on a page
MOST_DOTS = 1_000  # of one configuration
STRETCH = 8.0  # interquartile ranges above the third quartile, behind which a sample is drawn at the edge


def distributions(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Iterator[Chart]:
    """The samples of each configuration, in the order of measurement."""
    lines = lines_of(reports, labels)
    panels = [(line, row) for line in lines for row in line.rows][:MOST_PANELS]
    for number, (line, row) in enumerate(panels):
        label = line.name.partition(": ")[0] + ": " if labels[0] else ""
        yield distribution(line, row, f"{label}{visible(row.of.name)}", f"samples-{number}")


def distribution(line: Line, row: Measured, title: str, key: str) -> Chart:
    found, times = row.summary, np.array(row.ms)
    first, third = np.quantile(times, [0.25, 0.75])
    top = third + STRETCH * (third - first)
    beyond = int((times > top).sum()) if third > first else 0
    shown = thinned(times, first, third)
    words = [f"{counted(found.count, 'sample', 'samples')} of {counted(len(row.processes), 'process', 'processes')}"]
    outliers = found.mild + found.severe
    words.append(f"{outliers:,} outliers, {found.severe:,} of them severe" if outliers else "no outliers")
    if beyond:
        words.append(f"{beyond:,} beyond the picture, up to {times.max():,.4g} ms")
    if len(shown) < len(times):
        words.append(f"{len(shown):,} samples are drawn")
    plot = drawn(partial(draw_distribution, line, row, shown, top if beyond else None), f"Samples of {title}", key, NARROW, 220)  # fmt: skip
    return Chart(title, plot, note="; ".join(words) + ".")


def thinned(times: Any, first: float, third: float) -> Any:
    """The places of the samples to draw: all outliers that there is room for, and others at even distances."""
    if len(times) <= MOST_DOTS:
        return np.arange(len(times))
    distance = np.maximum(first - times, times - third)
    outlying = distance > MILD_FENCE * (third - first)
    far, near = np.flatnonzero(outlying), np.flatnonzero(~outlying)
    return np.sort(np.concatenate([evenly(far, MOST_DOTS // 2), evenly(near, MOST_DOTS // 2)]))


def evenly(places: Any, most: int) -> Any:
    return places[:: max(-(-len(places) // most), 1)]


def draw_distribution(line: Line, row: Measured, shown: Any, top: float | None, figure: Figure) -> None:
    axes = figure.add_subplot()
    times = np.array(row.ms)
    low, high = float(times.min()), float(times.max()) if top is None else top
    room = 0.06 * (high - low) or 0.05 * high
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(-0.02 * len(times) - 0.5, 1.02 * len(times))
    shade_fences(axes, times)
    inside = shown[times[shown] <= high]
    dots(axes, inside, times[inside], line.colour)
    outside = shown[times[shown] > high]
    axes.plot(outside, np.full(len(outside), high), linestyle="none", marker="^", markersize=5, color=line.colour)
    ends = [0, *accumulate(row.processes)]
    for number, ((start, end), middle) in enumerate(zip(pairwise(ends), row.medians, strict=True)):
        if number:
            axes.axvline(start - 0.5, color=SOFT, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.plot([start - 0.5, end - 0.5], [middle] * 2, color=INK, linewidth=1.6, solid_capstyle="butt")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("sample")
    axes.set_ylabel("ms")


def shade_fences(axes: Axes, times: Any) -> None:
    """Bands of the mild and the severe outliers by Tukey's fences, where they are within the picture."""
    first, third = np.quantile(times, [0.25, 0.75])
    low, high = axes.get_ylim()
    for sign, quartile, edge in ((1, third, high), (-1, first, low)):
        mild, severe = (quartile + sign * fence * (third - first) for fence in (MILD_FENCE, SEVERE_FENCE))
        for start, end, colour in ((mild, severe, MILD), (severe, edge, SEVERE)):
            a, b = sorted((min(max(start, low), high), min(max(end, low), high)))
            if sign * (end - start) > 0 and b > a:
                axes.axhspan(a, b, facecolor=colour, edgecolor="none", zorder=0)
