"""The charts of a latency report.

In: one report, or several over each other. Out: `Chart`s: the plot for a desktop and for a phone, and the words about it.

A line has the same colour and marker in each chart. Of several reports, all but the last are drawn hollow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from edgexf.names import PREDICT
from edgexf.report.changes import Changes
from edgexf.report.characters import visible
from edgexf.report.html.plots import (
    INK,
    LINE,
    MARKERS,
    NARROW,
    PAPER,
    SERIES,
    SOFT,
    WIDE,
    drawn,
    log_axis,
    log_ticks,
)
from edgexf.report.latency import Configuration, LatencyReport, Measured, Started
from edgexf.report.statistics import CONFIDENCE, MARGIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNS = "●■▲◆▼", "○□△◇▽"
MOST_LINES = 24  # in one plot
MOST_BARS = 24
Floors = Sequence[Mapping[Configuration, float]]


@dataclass(frozen=True)
class Entry:
    """A line of a legend: its sign, the number of its colour, and its name."""

    sign: str
    colour: int
    name: str


@dataclass(frozen=True)
class Chart:
    """A plot on the page.

    Attributes:
        title: above the plot.
        wide, narrow: the SVG for a desktop and for a phone; `narrow` is empty where `wide` fits a phone.
        legend: names of colours.
        note: below the plot.
    """

    title: str
    wide: str
    narrow: str = ""
    legend: tuple[Entry, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Line:
    """The configurations of a report that differ in length alone, in the order of their lengths."""

    name: str
    place: int
    hollow: bool
    rows: list[Measured] = field(default_factory=list)
    number: int = 0  # of the report

    @property
    def colour(self) -> str:
        return SERIES[self.place % len(SERIES)]

    @property
    def entry(self) -> Entry:
        sign = SIGNS[self.hollow][self.place // len(SERIES) % len(MARKERS)]
        return Entry(sign, self.place % len(SERIES), self.name)

    def style(self) -> dict[str, Any]:
        return {
            "color": self.colour,
            "marker": MARKERS[self.place // len(SERIES) % len(MARKERS)],
            "markersize": 6,
            "markerfacecolor": PAPER if self.hollow else self.colour,
            "linewidth": 1.2 if self.hollow else 2.0,
        }


def lines_of(reports: Sequence[LatencyReport], labels: Sequence[str]) -> list[Line]:
    """The lines of all reports; a kind of configuration has one place, and thereby one colour, in all of them."""
    kinds = list(dict.fromkeys(row.of.kind for report in reports for row in report.rows))
    found: dict[tuple[int, str], Line] = {}
    for number, (report, label) in enumerate(zip(reports, labels, strict=True)):
        for row in report.rows:
            kind = row.of.kind
            name = f"{label}: {kind}" if label else kind
            made = Line(visible(name), kinds.index(kind), number < len(reports) - 1, number=number)
            found.setdefault((number, kind), made).rows.append(row)
    for line in found.values():
        line.rows.sort(key=lambda row: row.of.length)
    return list(found.values())


def both(title: str, draw: Callable[[Figure], object], key: str, legend: Sequence[Entry], note: str, height: int = 300) -> Chart:  # fmt: skip
    wide, narrow = (drawn(draw, title, key, width, height) for width in (WIDE, NARROW))
    return Chart(title, wide, narrow, tuple(legend), note)


def left_out(have: int, most: int, what: str) -> str:
    return "" if have <= most else f" Only the first {most} of {have:,} {what} are drawn; the table has all."


def counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def latency_chart(reports: Sequence[LatencyReport], labels: Sequence[str], floors: Floors = ()) -> Chart:
    """Latency against length, both in logarithms. `floors` holds the floor of configurations in ms, for each report."""
    lines = lines_of(reports, labels)
    shown = lines[:MOST_LINES]
    note = "The median of a query; the stroke above it reaches to the 90th percentile, where there are enough samples."
    if any(floors):
        note += " Dashed: the floor, what the necessary operations would take at the matrix rate of this device."
    note += left_out(len(lines), MOST_LINES, "lines")
    return both("Latency against length", partial(draw_latency, shown, floors), "latency", [line.entry for line in shown], note, 340)  # fmt: skip


def draw_latency(lines: Sequence[Line], floors: Floors, figure: Figure) -> None:
    axes = figure.add_subplot()
    for line in lines:
        middles = [row.summary.median for row in line.rows]
        axes.plot(lengths(line.rows), middles, **line.style())
        tails = [(row, row.summary.percentile(0.9).ms) for row in line.rows]
        for row, tail in tails:
            if tail is not None:
                axes.plot([row.of.length] * 2, [row.summary.median, tail], color=line.colour, linewidth=1.2, marker="_", markevery=[1])  # fmt: skip
        known = floors[line.number] if floors else {}
        least = [(row.of.length, known[row.of]) for row in line.rows if row.of in known]
        if least:
            axes.plot(*zip(*least, strict=True), color=line.colour, linewidth=1.2, linestyle=(0, (4, 3)))
    scale_lengths(axes, [row for line in lines for row in line.rows])
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    log_axis(axes.yaxis, log_ticks(low, high))
    axes.set_ylabel("ms")


def lengths(rows: Sequence[Measured]) -> list[int]:
    return [row.of.length for row in rows]


def scale_lengths(axes: Axes, rows: Sequence[Measured]) -> None:
    """An axis of lengths in logarithms, with a tick at each that was measured, as far as there is room."""
    found = sorted({row.of.length for row in rows})
    axes.set_xscale("log")
    axes.set_xlim(found[0] / 1.2, found[-1] * 1.2)
    log_axis(axes.xaxis, [float(length) for length in found[:: -(-len(found) // 6)]])
    axes.set_xlabel("length")


def memory_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The peak of memory against length. None where no process told it."""
    known = [(line, [row for row in line.rows if row.peak_mib.value is not None]) for line in lines_of(reports, labels)]
    known = [(line, rows) for line, rows in known if rows]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for line, rows in known[:MOST_LINES]:
            axes.plot(lengths(rows), [row.peak_mib.value for row in rows], **line.style())
        scale_lengths(axes, [row for _, rows in known[:MOST_LINES] for row in rows])
        axes.set_ylim(0, None)
        axes.set_ylabel("MiB")

    note = "The peak of resident memory of a fresh process that does only this." + left_out(len(known), MOST_LINES, "lines")  # fmt: skip
    return both("Peak of memory against length", draw, "memory", [line.entry for line, _ in known[:MOST_LINES]], note)


@dataclass(frozen=True)
class Cost:
    """An explanation beside the answer of the same length: their medians in milliseconds."""

    row: Measured
    predict_ms: float

    @property
    def times(self) -> float:
        return self.row.summary.median / self.predict_ms


def costs_of(report: LatencyReport) -> list[Cost]:
    """The explanations of a report whose answer was measured in the same way."""
    answers = {same_but_graph(row): row.summary.median for row in report.rows if row.of.graph == PREDICT}
    explained = [row for row in report.rows if row.of.graph != PREDICT and same_but_graph(row) in answers]
    return [Cost(row, answers[same_but_graph(row)]) for row in explained]


def same_but_graph(row: Measured) -> tuple[object, ...]:
    return tuple(value for name, value in vars(row.of).items() if name != "graph")


def cost_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """How many answers an explanation takes, against length. None where no explanation was measured beside an answer."""
    times = {id(cost.row): cost.times for report in reports for cost in costs_of(report)}
    lines = [(line, [row for row in line.rows if id(row) in times]) for line in lines_of(reports, labels)]
    lines = [(line, rows) for line, rows in lines if rows]
    if not lines:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for line, rows in lines[:MOST_LINES]:
            axes.plot(lengths(rows), [times[id(row)] for row in rows], **line.style())
        scale_lengths(axes, [row for _, rows in lines[:MOST_LINES] for row in rows])
        axes.set_ylim(0, None)
        axes.set_ylabel("answers")

    note = "The median of an explanation over that of an answer at the same length." + left_out(len(lines), MOST_LINES, "lines")  # fmt: skip
    return both("Cost of an explanation", draw, "cost", [line.entry for line, _ in lines[:MOST_LINES]], note)


def groups_of(reports: Sequence[LatencyReport], labels: Sequence[str]) -> dict[str, list[Started]]:
    """Fresh processes by what they answered, under a name."""
    found: dict[str, list[Started]] = {}
    for report, label in zip(reports, labels, strict=True):
        for one in report.starts:
            name = f"{one.graph} {one.dtype} {one.length:,}"
            found.setdefault(visible(f"{label}: {name}" if label else name), []).append(one)
    return found


def stages_of(groups: dict[str, list[Started]]) -> list[str]:
    return list(dict.fromkeys(stage for some in groups.values() for one in some for stage in one.ms))


def middle_of(some: Sequence[Started], stage: str, what: str = "ms") -> float | None:
    known = [getattr(one, what)[stage] for one in some if stage in getattr(one, what)]
    return median(known) if known else None


def cold_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The way from nothing to the first answer, by stage. None where no fresh process was started."""
    groups = groups_of(reports, labels)
    shown = dict(list(groups.items())[:MOST_BARS])
    stages = [stage for stage in stages_of(shown) if stage != "second"]
    if not stages:
        return None
    note = "The median of each stage; a ring for each process." + left_out(len(groups), MOST_BARS, "bars")
    legend = [Entry("■", place % len(SERIES), visible(stage)) for place, stage in enumerate(stages)]
    return both("From nothing to the first answer", partial(draw_cold, shown, stages), "cold", legend, note, 70 + 40 * len(shown))  # fmt: skip


def draw_cold(groups: dict[str, list[Started]], stages: Sequence[str], figure: Figure) -> None:
    axes = figure.add_subplot()
    for place, (name, some) in enumerate(groups.items()):
        start = 0.0
        for number, stage in enumerate(stages):
            time = middle_of(some, stage) or 0.0
            axes.barh(place, time, 0.42, left=start, color=SERIES[number % len(SERIES)], edgecolor=PAPER, linewidth=0.8)
            start += time
        answers = [one.answer_ms for one in some]
        axes.plot(answers, [place] * len(answers), linestyle="none", marker="o", markersize=4, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.8)  # fmt: skip
        label_bar(axes, place, f"{name}: {start:,.0f} ms")
    finish_bars(axes, len(groups), "ms")


def label_bar(axes: Axes, place: int, text: str) -> None:
    """The name of a bar stands above it: beside it, a phone has no room."""
    axes.annotate(shortened(text), (0, place - 0.27), xytext=(2, 2), textcoords="offset points", fontsize=11, annotation_clip=False)  # fmt: skip


def shortened(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def finish_bars(axes: Axes, count: int, unit: str) -> None:
    axes.set_ylim(count - 0.5, -0.75)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, None)
    axes.set_xlabel(unit)
    axes.spines["left"].set_visible(False)


def resident_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """Resident memory behind each stage of a cold start. None where this system does not tell it."""
    groups = {name: some for name, some in groups_of(reports, labels).items() if some[0].resident_mib}
    shown = dict(list(groups.items())[:MOST_BARS])
    stages = list(dict.fromkeys(stage for some in shown.values() for one in some for stage in one.resident_mib))
    if not stages:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, some in enumerate(shown.values()):
            known = [(at, middle_of(some, stage, "resident_mib")) for at, stage in enumerate(stages)]
            told = [(at, value) for at, value in known if value is not None]
            axes.plot(*zip(*told, strict=True), color=SERIES[place % len(SERIES)], marker=MARKERS[place // len(SERIES)], markersize=5)  # fmt: skip
        axes.set_xticks(range(len(stages)), [shortened(visible(stage), 12) for stage in stages])
        axes.set_ylim(0, None)
        axes.set_ylabel("MiB")

    legend = [Entry(SIGNS[0][place // len(SERIES)], place % len(SERIES), name) for place, name in enumerate(shown)]
    note = "The median of fresh processes." + left_out(len(groups), MOST_BARS, "lines")
    return both("Resident memory after each stage", draw, "resident", legend, note)


def change_chart(changes: Changes, key: str) -> Chart:
    """The ratio of each configuration with its interval."""
    rows = changes.rows[:MOST_BARS]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, facecolor=LINE, edgecolor="none", zorder=0)
        axes.axvline(1, color=SOFT, linewidth=1)
        for place, row in enumerate(rows):
            found = row.change
            colour = {"faster": SERIES[1], "slower": SERIES[3]}.get(found.verdict, SOFT)
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place] * 2, color=colour, linewidth=2)
            axes.plot([found.ratio], [place], marker="o", markersize=6, color=colour)
            axes.annotate(shortened(f"{visible(row.of.name)}: {found.text()}"), (0, place - 0.2), xycoords=("axes fraction", "data"), xytext=(2, 2), textcoords="offset points")  # fmt: skip
        values = [value for row in rows for value in (row.change.low, row.change.high, row.change.ratio, 1.06, 0.94) if value is not None]  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 1.02, max(values) * 1.02)
        log_axis(axes.xaxis, log_ticks(min(values) / 1.02, max(values) * 1.02))
        axes.set_ylim(len(rows) - 0.5, -0.75)
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("time of the new one over that of the old one")

    note = (
        f"The ratio of the medians of processes, with its interval of {CONFIDENCE:.0%}. Within the grey band, {MARGIN:.0%} "
        f"to each side, a change is none.{left_out(len(changes.rows), MOST_BARS, 'configurations')}"
    )
    return both("New against old", draw, key, (), note, 70 + 40 * len(rows))
