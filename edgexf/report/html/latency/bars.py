"""The charts of a latency report that have no length on an axis: cold starts, resident memory by stage, and changes.

In: reports, or what changed between two. Out: `Chart`s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from edgexf.report.characters import visible
from edgexf.report.html.latency.charts import Chart, Entry, both, from_zero, left_out
from edgexf.report.html.latency.plots import INK, LINE, MARKERS, PAPER, SERIES, SIGNS, SOFT, log_axis, log_ticks
from edgexf.report.latency.changes import Changes, Compared
from edgexf.report.latency.measured.breakdown import BETWEEN, INDICATIVE, Breakdown
from edgexf.report.latency.measured.rows import Started
from edgexf.report.latency.measured.statistics import MARGIN
from edgexf.report.latency.report import LatencyReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24  # bars of a chart
HEAD, EACH = 70, 40  # CSS pixels of a chart: without bars, and of each bar with its name above it
LONGEST = 48  # characters of a name above a bar, on a phone
FASTER, SLOWER = SERIES[0], SERIES[3]
Groups = Mapping[str, Sequence[Started]]


def groups_of(reports: Sequence[LatencyReport], labels: Sequence[str]) -> dict[str, list[Started]]:
    """Fresh processes by what they answered, under a name; those of all reports beside each other."""
    found: dict[tuple[str, str], list[Started]] = {}
    for report, label in zip(reports, labels, strict=True):
        for one in report.starts:
            found.setdefault((f"{one.graph} {one.dtype} {one.length:,}", label), []).append(one)
    order = list(dict.fromkeys(name for name, _ in found))
    several = sorted(found.items(), key=lambda item: order.index(item[0][0]))
    return {visible(f"{label}: {name}" if label else name): some for (name, label), some in several}


def stages_of(groups: Groups) -> list[str]:
    return list(dict.fromkeys(stage for some in groups.values() for one in some for stage in one.ms))


def middle_of(some: Sequence[Started], stage: str, what: str = "ms") -> float | None:
    """The median of a stage, in milliseconds or MiB; None where no process has it."""
    known = [getattr(one, what)[stage] for one in some if stage in getattr(one, what)]
    return median(known) if known else None


def cold_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The way from nothing to the first answer, by stage. None where no fresh process was started."""
    groups = groups_of(reports, labels)
    shown = dict(list(groups.items())[:MOST])
    stages = [stage for stage in stages_of(shown) if stage != "second"]
    if not stages:
        return None
    note = f"The median of each stage, and a ring for each process.{left_out(len(groups), MOST, 'bars')}"
    legend = [Entry("■", place % len(SERIES), visible(stage)) for place, stage in enumerate(stages)]
    draw = partial(draw_cold, shown, stages)
    return both("From nothing to the first answer", draw, "cold", legend, note, HEAD + EACH * len(shown))


def draw_cold(groups: Groups, stages: Sequence[str], figure: Figure) -> None:
    axes = figure.add_subplot()
    for place, (name, some) in enumerate(groups.items()):
        start = 0.0
        for number, stage in enumerate(stages):
            time = middle_of(some, stage) or 0.0
            axes.barh(place, time, 0.42, left=start, color=SERIES[number % len(SERIES)], edgecolor=PAPER, linewidth=0.8)
            start += time
        axes.plot([one.answer_ms for one in some], [place] * len(some), "o", ms=4, mfc="none", mec=INK, mew=0.8)
        named(axes, place, f"{name}: {start:,.0f} ms")
    without_heights(axes, len(groups))
    axes.set_xlim(0, None)
    axes.set_xlabel("ms")


def named(axes: Axes, place: int, text: str, above: float = 0.25) -> None:
    """Writes the name of a bar above it, by a part of its row: beside it, a phone has no room."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    axes.annotate(
        cut, (0, place - above), xycoords=("axes fraction", "data"), xytext=(2, 2), textcoords="offset points"
    )


def without_heights(axes: Axes, count: int) -> None:
    """Rows from the top to the bottom, without an axis beside them."""
    axes.set_ylim(count - 0.5, -0.75)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def time_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The shares of operators in a profiled run. None where no graph was profiled."""
    every = [(f"{label}: " if label else "", one) for report, label in zip(reports, labels, strict=True) for one in report.breakdowns]  # fmt: skip
    shown = {visible(f"{label}{one.graph} {one.dtype} {one.length:,}{' *' if one.indicative else ''}"): shares_of(one) for label, one in every[:MOST]}  # fmt: skip
    if not shown:
        return None
    largest = Counter[str]()
    for shares in shown.values():
        largest |= Counter(shares)
    names = [name for name, _ in largest.most_common() if name != BETWEEN][: len(SERIES)]
    legend = [Entry("■", place, visible(name)) for place, name in enumerate(names)]
    legend += [Entry("■", None, "other operators"), Entry("□", None, BETWEEN)]
    note = f"Of a profiled run. {INDICATIVE[0].upper()}{INDICATIVE[1:]}.{left_out(len(every), MOST, 'bars')}"
    return both("Time by operator", partial(draw_time, shown, names), "time", legend, note, HEAD + EACH * len(shown))


def shares_of(breakdown: Breakdown) -> dict[str, float]:
    """The shares of the run in per cent, by operator, with what lies between them."""
    return {share.name: 100 * share.of_run for share in breakdown.operators}


def draw_time(bars: Mapping[str, Mapping[str, float]], names: Sequence[str], figure: Figure) -> None:
    axes = figure.add_subplot()
    for place, (name, shares) in enumerate(bars.items()):
        others = sum(share for key, share in shares.items() if key not in (*names, BETWEEN))
        parts = [*(shares.get(key, 0.0) for key in names), others, max(shares.get(BETWEEN, 0.0), 0.0)]
        colours = [*SERIES[: len(names)], SOFT, PAPER]
        start = 0.0
        for share, colour in zip(parts, colours, strict=True):
            edge = SOFT if colour == PAPER else PAPER
            axes.barh(place, share, 0.42, left=start, color=colour, edgecolor=edge, linewidth=0.8)
            start += share
        named(axes, place, name)
    without_heights(axes, len(bars))
    axes.set_xlim(0, 100.5)
    axes.set_xlabel("% of the run")


def resident_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """Resident memory behind each stage of a cold start. None where this system does not tell it."""
    groups = {name: some for name, some in groups_of(reports, labels).items() if some[0].resident_mib}
    longest = {(some[0].graph, some[0].dtype, name.partition(": ")[0] if labels[0] else ""): name for name, some in sorted(groups.items(), key=lambda item: item[1][0].length)}  # fmt: skip
    shown = {name: some for name, some in groups.items() if name in longest.values()}
    stages = list(dict.fromkeys(stage for some in shown.values() for one in some for stage in one.resident_mib))
    if not stages:
        return None
    legend = [Entry(SIGNS[place // len(SERIES) % len(SIGNS)], place % len(SERIES), name) for place, name in enumerate(shown)]  # fmt: skip
    note = "The median of fresh processes, at the longest input."
    return both("Resident memory after each stage", partial(draw_resident, shown, stages), "resident", legend, note)


def draw_resident(groups: Groups, stages: Sequence[str], figure: Figure) -> None:
    axes = figure.add_subplot()
    for place, some in enumerate(groups.values()):
        found = [(at, middle_of(some, stage, "resident_mib")) for at, stage in enumerate(stages)]
        known = [(at, value) for at, value in found if value is not None]
        marker = MARKERS[place // len(SERIES) % len(MARKERS)]
        axes.plot(*zip(*known, strict=True), color=SERIES[place % len(SERIES)], marker=marker, markersize=5)
    axes.set_xticks(range(len(stages)), [visible(stage)[:12] for stage in stages])
    from_zero(axes, "MiB")


def change_chart(changes: Changes, title: str, key: str) -> Chart:
    """The ratio of each configuration with its interval."""
    note = (
        f"The ratio of the medians of processes, with its interval of {100 * changes.confidence:g}%. The grey band reaches {MARGIN:.0%} "
        f"to each side of no change.{left_out(len(changes.rows), MOST, 'configurations')}"
    )
    rows = changes.rows[:MOST]
    return both(title, partial(draw_changes, rows), key, (), note, HEAD + EACH * len(rows))


def draw_changes(rows: Sequence[Compared], figure: Figure) -> None:
    axes = figure.add_subplot()
    axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, facecolor=LINE, edgecolor="none", zorder=0)
    axes.axvline(1, color=SOFT, linewidth=1)
    for place, row in enumerate(rows):
        found = row.change
        colour = {"faster": FASTER, "slower": SLOWER}.get(found.verdict, SOFT)
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place] * 2, color=colour, linewidth=2)
        axes.plot([found.ratio], [place], "o", markersize=6, color=colour)
        named(axes, place, f"{visible(row.of.name)}: {found.text()}")
    known = [one for row in rows for one in (row.change.low, row.change.high, row.change.ratio) if one is not None]
    low, high = min(*known, 1 / (1 + MARGIN)) / 1.02, max(*known, 1 + MARGIN) * 1.02
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis, log_ticks(low, high))
    without_heights(axes, len(rows))
    axes.set_xlabel("new time over old time")
