"""The charts of a latency report.

In: one report, or several over each other. Out: `Chart`s: the plot for a desktop and for a phone, and the words about it.

A line has the same colour and marker in each chart. Of several reports, all but the last are drawn hollow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from edgexf.names import PREDICT
from edgexf.report.characters import visible
from edgexf.report.html.latency.plots import (
    HOLLOW,
    MARKERS,
    NARROW,
    PAPER,
    SERIES,
    SIGNS,
    WIDE,
    drawn,
    log_axis,
    log_ticks,
)
from edgexf.report.latency.measured.rows import SINGLE, Configuration, Measured
from edgexf.report.latency.report import LatencyReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 24  # in one plot
Floors = Sequence[Mapping[Configuration, float]]


@dataclass(frozen=True)
class Entry:
    """A line of a legend: its sign, the number of its colour (None for that of text), and its name."""

    sign: str
    colour: int | None
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
    def shape(self) -> int:
        """The number of the marker: another one for each report, and where the colours are used up."""
        return (self.place // len(SERIES) + self.number) % len(MARKERS)

    @property
    def entry(self) -> Entry:
        sign = (HOLLOW if self.hollow else SIGNS)[self.shape]
        return Entry(sign, self.place % len(SERIES), self.name)

    def style(self) -> dict[str, Any]:
        return {
            "color": self.colour,
            "marker": MARKERS[self.shape],
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


def latency_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart:
    """Latency against length, both in logarithms, with the floor where a report knows it."""
    floors = [floors_of(report) for report in reports]
    lines = lines_of(reports, labels)
    shown = lines[:MOST_LINES]
    note = "The median of a query; the stroke above it reaches to the 90th percentile, where there are enough samples."
    if any(floors):
        note += " Dashed: the floor, what the necessary operations would take at the matrix rate of this device."
    if any(report.breakdowns and any(row.of.scenario != SINGLE for row in report.rows) for report in reports):
        note += " Only the scenario single has a floor beside it: in the others queries wait for each other, which no floor counts."
    note += left_out(len(lines), MOST_LINES, "lines")
    return both("Latency against length", partial(draw_latency, shown, floors), "latency", [line.entry for line in shown], note, 340)  # fmt: skip


def floors_of(report: LatencyReport) -> dict[Configuration, float]:
    """The milliseconds under which the device can't go, of each configuration of the scenario single for which they are known.

    Queries of the other scenarios wait for each other, which no floor counts.
    """
    found = {one.place: one.floor_ms(report.products).value for one in report.breakdowns}
    alone = [row.of for row in report.rows if row.of.scenario == SINGLE]
    return {of: found[of.place] for of in alone if found.get(of.place) is not None}


def draw_latency(lines: Sequence[Line], floors: Floors, figure: Figure) -> None:
    axes = figure.add_subplot()
    for line in lines:
        middles = [row.summary.median for row in line.rows]
        axes.plot(lengths(line.rows), middles, **line.style())
        tails = [(row, row.summary.percentile(0.9).ms) for row in line.rows]
        for row, tail in tails:
            if tail is not None:
                axes.plot([row.of.length] * 2, [row.summary.median, tail], color=line.colour, linewidth=1.2, marker="_", markevery=[1])  # fmt: skip
        known = floors[line.number]
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


def throughput_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart:
    """Tokens a second against length."""
    lines = lines_of(reports, labels)
    shown = [(line, line.rows) for line in lines[:MOST_LINES]]
    note = "Of the median query; of the whole time, where queries ran side by side." + left_out(
        len(lines), MOST_LINES, "lines"
    )
    draw = partial(draw_lines, shown, lambda row: row.tokens_per_second, "tokens/s")
    return both("Throughput against length", draw, "throughput", [line.entry for line, _ in shown], note, 340)


def draw_lines(
    lines: Sequence[tuple[Line, Sequence[Measured]]], value: Callable[[Measured], float], unit: str, figure: Figure
) -> None:
    """Lines over lengths, from 0."""
    axes = figure.add_subplot()
    for line, rows in lines:
        axes.plot(lengths(rows), [value(row) for row in rows], **line.style())
    scale_lengths(axes, [row for _, rows in lines for row in rows])
    from_zero(axes, unit)


def from_zero(axes: Axes, unit: str) -> None:
    axes.set_ylim(0, 1.06 * axes.dataLim.ymax or 1.0)
    axes.yaxis.set_major_formatter(lambda height, _: f"{height:,.6g}")
    axes.set_ylabel(unit)


def memory_chart(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Chart | None:
    """The peak of memory against length. None where no process told it."""
    known = [(line, [row for row in line.rows if row.peak_mib.value is not None]) for line in lines_of(reports, labels)]
    known = [(line, rows) for line, rows in known if rows]
    if not known:
        return None

    draw = partial(draw_lines, known[:MOST_LINES], lambda row: row.peak_mib.value, "MiB")
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

    draw = partial(draw_lines, lines[:MOST_LINES], lambda row: times[id(row)], "answers")
    note = "The median of an explanation over that of an answer at the same length." + left_out(len(lines), MOST_LINES, "lines")  # fmt: skip
    return both("Cost of an explanation", draw, "cost", [line.entry for line, _ in lines[:MOST_LINES]], note)
