"""The page of a latency report: one self-contained HTML file, under the rules of `edgexf.report.html.explanation`.

In: a `LatencyReport`, budgets, and other reports to show over it. Out: the page as text. The verdict stands first, then
what was measured, then figures and charts, then the raw data behind a link. A new part of the page is a function that
makes a `Section`, and a line in `sections_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgexf.extras import require_packages
from edgexf.report.characters import visible
from edgexf.report.html.document import document
from edgexf.report.html.latency import bars, charts, samples, words
from edgexf.report.html.latency.answers import answers_chart
from edgexf.report.html.latency.bars import groups_of, middle_of, stages_of
from edgexf.report.html.latency.charts import Chart, costs_of
from edgexf.report.html.latency.head import cards_of, labels_of, titles_of, verdicts_of
from edgexf.report.html.latency.layers import layer_charts, placement_rows
from edgexf.report.html.latency.raw import Link, links_of
from edgexf.report.html.latency.template import STYLE, TEMPLATE
from edgexf.report.latency.budget import Outcome
from edgexf.report.latency.changes import Changes
from edgexf.report.latency.matrix import NOTE, Matrix
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.loadgen import LOADGEN_HEADER
from edgexf.report.latency.measured.quality import QUALITY_HEADER
from edgexf.report.latency.measured.rates import RATES_HEADER
from edgexf.report.latency.measured.stages import STAGES_HEADER, lacking_of
from edgexf.report.latency.report import LatencyReport
from edgexf.report.latency.tables import (
    ENERGY_HEADER,
    LATENCY_HEADER,
    PROFILED,
    breakdown_tables,
    energy_rows,
    energy_title,
    latency_cells,
)

if TYPE_CHECKING:
    from jinja2 import Template

WHEN = ("before", "after")
# What `edgexf_runtimes.measure.device.environment` tells of a moment: its name on the page, and its unit.
SHARE = "of 1"
UNBROKEN = "\N{NON-BREAKING HYPHEN}"  # a browser breaks a line behind any other
MOMENTS = {
    "load": ("load average of a minute", "processes"),
    "pressure": ("waiting for a processor", "%"),
    "busy": ("all processors busy", "s"),
    "own": ("processor time of the measurement", "s"),
    "mhz": ("clock", "MHz"),
    "celsius": ("temperature", "°C"),
    "others": ("share of the processors that others took", SHARE),
}


@dataclass(frozen=True)
class Table:
    """Cells of text. `words` is set for a table of sentences, whose cells wrap, and `folded` for one of several short parts a
    cell.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    words: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: its anchor.
        charts, tables, links: what it shows.
        lacking: why it shows nothing.
        note: below all.
        small: whether its charts are small, for many of them beside each other.
        beside: whether a desktop shows its only table at the side of its only chart.
        grid: whether a desktop shows its tables beside each other.
    """

    key: str
    title: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    links: tuple[Link, ...] = ()
    lacking: str = ""
    note: str = ""
    small: bool = False
    beside: bool = False
    grid: bool = False


def check_packages() -> None:
    """Raises MissingExtraError, which names the extra, where the page can't be drawn."""
    require_packages("report", "jinja2", "matplotlib")


def latency_page(
    reports: Sequence[LatencyReport], found: Sequence[Changes] | Matrix = (), kept: Sequence[Outcome] = ()
) -> str:
    """The page of one report with its budgets, or of several with what changed between the first and each other, or of several
    devices with their matrix.

    Raises MissingExtraError without the packages of the extra ``report``.
    """
    check_packages()
    labels = labels_of(reports, found)
    kicker, title = titles_of(reports, found)
    main = template().render(
        kicker=kicker,
        title=title,
        verdicts=verdicts_of(reports, labels, found, kept),
        cards=[card for report, label in zip(reports, labels, strict=True) for card in cards_of(report, label)],
        sections=sections_of(reports, labels, found),
    )
    return document(escaped(f"{title}: latency"), main, STYLE, "light dark")


def template() -> Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=shown)
    environment.filters["drawing"] = Markup
    return environment.from_string(TEMPLATE)


def shown(value: Any) -> Any:
    """Text from outside with names in place of characters that are invisible; a drawing has none."""
    return visible(value) if type(value) is str else value


def escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))


def sections_of(
    reports: Sequence[LatencyReport], labels: Sequence[str], found: Sequence[Changes] | Matrix
) -> list[Section]:
    """The parts of the page, in their order."""
    several = zip(reports, labels, strict=True)
    configurations = Section(
        "configurations", "Configurations", tables=tuple(rows_table(*one) for one in several), note=words.CONFIGURATIONS
    )
    charted = [
        Section(
            "latency", "Latency", (charts.latency_chart(reports, labels), charts.throughput_chart(reports, labels))
        ),
        *answers_sections(reports, labels),
        time_section(reports, labels),
        cold_section(reports, labels),
        memory_section(reports, labels),
        cost_section(reports, labels),
        distribution_section(reports, labels),
    ] if any(report.rows for report in reports) else []  # fmt: skip
    return [
        *compared_sections(found, labels),
        configurations if charted else replace(configurations, tables=(), note="", lacking="No latency was measured."),
        *energy_sections(reports, labels),
        *further_tables("rates", "Samples a second", RATES_HEADER, reports, labels, words.RATES),
        *loadgen_sections(reports, labels),
        *further_tables("quality", "Quality", QUALITY_HEADER, reports, labels, words.QUALITY),
        *charted,
        environment_section(reports, labels),
        raw_section(reports, labels),
    ]


def rows_table(report: LatencyReport, label: str) -> Table:
    return Table(LATENCY_HEADER, [latency_cells(row) for row in report.rows], label)


def compared_sections(found: Sequence[Changes] | Matrix, labels: Sequence[str]) -> list[Section]:
    """What several reports say together, where there are several."""
    if isinstance(found, Matrix):
        rows = [[name, *(cell.replace("-", UNBROKEN) for cell in cells)] for name, *cells in found.cells()]
        return [Section("matrix", "Devices", tables=(Table(found.header, rows, folded=True),), note=NOTE)]
    return [change_section(found, labels)] if found else []


def change_section(changes: Sequence[Changes], labels: Sequence[str]) -> Section:
    names = [label.capitalize() for label in labels[1:]]
    drawings = tuple(
        bars.change_chart(one, f"{name} over old", f"change-{name}") for one, name in zip(changes, names, strict=True)
    )
    tables = tuple(Table(one.header, [row.cells() for row in one.rows], f"{one.old} to {one.new}") for one in changes)
    return Section("changes", "What changed", drawings, tables)


def further_tables(
    key: str,
    title: str,
    header: Sequence[str],
    reports: Sequence[LatencyReport],
    labels: Sequence[str],
    note: str,
) -> list[Section]:
    """A section of the records of a report that have cells, where there are any."""
    found = [(label, getattr(report, key)) for report, label in zip(reports, labels, strict=True)]
    tables = tuple(Table(header, [one.cells() for one in some], label) for label, some in found if some)
    return [Section(key, title, tables=tables, note=note)] if tables else []


def energy_sections(reports: Sequence[LatencyReport], labels: Sequence[str]) -> list[Section]:
    """The joules of a query, where a device told them."""
    tables = tuple(
        Table(ENERGY_HEADER, rows, with_label(label, energy_title(report)))
        for report, label in zip(reports, labels, strict=True) if (rows := energy_rows(report))
    )  # fmt: skip
    return [Section("energy", "Energy", tables=tables)] if tables else []


def loadgen_sections(reports: Sequence[LatencyReport], labels: Sequence[str]) -> list[Section]:
    """What MLPerf's LoadGen says, where it was asked."""
    tables = tuple(
        Table(LOADGEN_HEADER, [one.cells(report.rows) for one in report.loadgen], label, words=True)
        for report, label in zip(reports, labels, strict=True) if report.loadgen
    )  # fmt: skip
    return [Section("loadgen", "MLPerf's LoadGen", tables=tables, note=words.LOADGEN)] if tables else []


def answers_sections(reports: Sequence[LatencyReport], labels: Sequence[str]) -> list[Section]:
    """Where the time of a whole answer goes, where one was measured."""
    chart = answers_chart(reports, labels)
    if chart is None:
        return []
    tables = tuple(
        Table(STAGES_HEADER, [one.cells() for one in report.stages], label)
        for report, label in zip(reports, labels, strict=True) if report.stages
    )  # fmt: skip
    reasons = dict.fromkeys(why for report in reports for why in lacking_of(report.stages))
    note = words.ANSWERS + (f" Without a time: {'; '.join(reasons)}." if reasons else "")
    return [Section("answers", "From an input to an answer", (chart,), tables, note=note)]


def time_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    """Where the time of a run goes: by operator, by layer of the user's model, and by provider."""
    chart = bars.time_chart(reports, labels)
    if chart is None:
        said = "No graph was profiled; edgexf bench --operators does it."
        return Section("time", "Where the time goes", lacking=said)
    found = [
        Table(header, rows, with_label(label, title.removesuffix(f": {PROFILED}")))
        for report, label in zip(reports, labels, strict=True) for title, header, rows in breakdown_tables(report)
    ]  # fmt: skip
    header, rows = placement_rows(reports, labels)
    where = f"Every node ran on {header[1]}."
    if len(header) > 2:
        found.append(Table(header, rows, "Providers"))
        where = "Data moves where a node's provider is another one than that of its inputs."
    drawings = (chart, *layer_charts(reports, labels))
    return Section("time", "Where the time goes", drawings, tuple(found), note=f"{words.TIME} {where}", grid=True)


def with_label(label: str, title: str) -> str:
    return f"{label}: {title}" if label else title


def cold_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    chart = bars.cold_chart(reports, labels)
    if chart is None:
        return Section("cold", "Cold start", lacking="No fresh process was started.")
    groups = groups_of(reports, labels)
    stages = stages_of(groups)
    rows = []
    for name, some in groups.items():
        times = [middle_of(some, stage) for stage in stages]
        rows.append([name, str(len(some)), *("-" if time is None else f"{time:,.1f}" for time in times)])
    table = Table(["configuration", "processes", *stages], rows)
    return Section("cold", "Cold start", (chart,), (table,), note=words.COLD, beside=True)


def memory_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    found = (charts.memory_chart(reports, labels), bars.resident_chart(reports, labels))
    drawings = tuple(chart for chart in found if chart is not None)
    reasons = dict.fromkeys(row.peak_mib.reason for report in reports for row in report.rows if row.peak_mib.reason)
    lacking = f"The peak of memory is unknown: {'; '.join(reasons)}." if reasons and found[0] is None else ""
    return Section("memory", "Memory", drawings, lacking=lacking)


def cost_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    chart = charts.cost_chart(reports, labels)
    if chart is None:
        said = "No explanation was measured beside an answer; edgexf bench --method measures one."
        return Section("cost", "Explanation", lacking=said)
    rows = [
        [with_label(label, cost.row.of.name), f"{cost.row.summary.median:,.2f}", f"{cost.predict_ms:,.2f}", f"{cost.times:.2f}"]
        for report, label in zip(reports, labels, strict=True) for cost in costs_of(report)
    ]  # fmt: skip
    table = Table(("explanation", "p50 ms", "answer's p50 ms", "answers"), rows)
    return Section("cost", "Explanation", (chart,), (table,), note=words.COST, beside=True)


def distribution_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    count = sum(len(report.rows) for report in reports)
    note = words.SAMPLES + charts.left_out(count, samples.MOST_PANELS, "configurations")
    return Section("samples", "Samples", tuple(samples.distributions(reports, labels)), note=note, small=True)


def environment_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    """What stays of the device, and what changed while it was measured, with the reasons for what is unknown."""
    several = list(zip(reports, labels, strict=True))
    moments = [(f"{label} {when}".strip(), getattr(report, when)) for report, label in several for when in WHEN]
    tables = [
        facts_table("Device", [(label or "value", report.device) for report, label in several]),
        facts_table("Before and after the measurement", moments),
    ]
    for report, label in several:
        files = [[name, f"{size:,}"] for name, size in report.files.items()]
        tables.append(Table(("file", "bytes"), files, f"Files of the bundle{f', {label}' if label else ''}"))
        if report.options:
            tables.append(options_table(report.options, label))
    return Section("environment", "Environment", tables=tuple(tables))


def options_table(options: Mapping[str, Mapping[str, str]], label: str) -> Table:
    """Every option of the sessions under each other, with a column for each graph."""
    keys = dict.fromkeys(key for some in options.values() for key in some)
    rows = [[key, *(some.get(key, "-") for some in options.values())] for key in keys]
    return Table(["option", *options], rows, f"Options of the sessions{f', {label}' if label else ''}")


def facts_table(title: str, columns: Sequence[tuple[str, Mapping[str, Fact]]]) -> Table:
    """Facts under each other, with a column for each report or moment."""
    rows = []
    for key in dict.fromkeys(key for _, facts in columns for key in facts):
        name, unit = MOMENTS.get(key, (key, ""))
        rows.append([name, *(fact_text(facts[key], unit) if key in facts else "-" for _, facts in columns)])
    return Table(["fact", *(name for name, _ in columns)], rows, title, words=True)


def fact_text(fact: Fact, unit: str) -> str:
    return f"{fact.value:.0%}" if unit == SHARE and fact.value is not None else fact.text(unit)


def raw_section(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Section:
    links, said = [], []
    for report, label in zip(reports, labels, strict=True):
        found, lacking = links_of(report, label)
        links += found
        said += lacking
    return Section("raw", "Raw data", links=tuple(links), lacking=" ".join(said), note=words.RAW)
