"""The tables of a latency report, which the prompt, Markdown and the page show.

In: a `LatencyReport`. Out: titles, headers and cells as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgexf.report.latency.measured.breakdown import INDICATIVE, breakdown_table
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.loadgen import LOADGEN_HEADER
from edgexf.report.latency.measured.quality import QUALITY_HEADER
from edgexf.report.latency.measured.rates import RATES_HEADER
from edgexf.report.latency.measured.rows import SINGLE, Measured
from edgexf.report.latency.measured.stages import STAGES_HEADER, stages_title
from edgexf.report.latency.report import LatencyReport

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]

PROFILED = f"milliseconds of a profiled run; {INDICATIVE}"
LATENCY_HEADER = (
    "configuration",
    "runs",
    "mean ms",
    "sd",
    "p50",
    "p90",
    "p95",
    "p99",
    "tokens/s",
    "peak MiB",
)
ENERGY_HEADER = ("energy of", "J a query", "mJ a token")


def latency_cells(row: Measured) -> tuple[str, ...]:
    """The cells of a table row, in the order of `LATENCY_HEADER`."""
    found = row.summary
    return (
        row.of.name,
        f"{found.count:,}",
        f"{found.mean:.2f}",
        "-" if found.sd is None else f"{found.sd:.2f}",
        f"{found.median:.2f}",
        *(found.percentile(share).text() for share in (0.9, 0.95, 0.99)),
        f"{row.tokens_per_second:,.0f}",
        "-" if row.peak_mib.value is None else f"{row.peak_mib.value:.0f}",
    )


def energy_title(report: LatencyReport) -> str:
    """What the table of energy shows, with the counters that it is the sum of: they count every program."""
    counters = report.device.get("energy", Fact(None, "not in the report"))
    return f"energy of all that ran meanwhile, by {counters.text()}"


def energy_rows(report: LatencyReport) -> list[tuple[str, ...]]:
    """The rows of a table with the header `ENERGY_HEADER`, of what the counters of the device told."""
    return [energy_cells(row, row.joules.value) for row in report.rows if row.joules.value is not None]


def energy_cells(row: Measured, joules: float) -> tuple[str, ...]:
    return row.of.name, f"{joules:.3g}", f"{1e3 * joules / (row.of.batch * row.of.tokens):.3g}"


def tables(report: LatencyReport) -> list[Table]:
    """The title, the header and the rows of each table that is not empty. The first one needs no title."""
    found: list[Table] = [
        ("", LATENCY_HEADER, [latency_cells(row) for row in report.rows]),
        (energy_title(report), ENERGY_HEADER, energy_rows(report)),
        ("samples a second", RATES_HEADER, [rate.cells() for rate in report.rates]),
        ("MLPerf's LoadGen", LOADGEN_HEADER, [one.cells(report.rows) for one in report.loadgen]),
        ("quality", QUALITY_HEADER, [one.cells() for one in report.quality]),
        (stages_title(report.stages), STAGES_HEADER, [one.cells() for one in report.stages]),
        *breakdown_tables(report),
    ]
    return [table for table in found if table[2]]


def breakdown_tables(report: LatencyReport) -> list[Table]:
    """A table of each graph and dtype that has breakdowns."""
    groups = dict.fromkeys((one.graph, one.dtype) for one in report.breakdowns)
    medians = {row.of.place: row.summary.median for row in report.rows if row.of.scenario == SINGLE}
    found: list[Table] = []
    for graph, dtype in groups:
        some = [one for one in report.breakdowns if (one.graph, one.dtype) == (graph, dtype)]
        header, rows = breakdown_table(some, [medians.get(one.place) for one in some], report.products)
        found.append((f"{graph} {dtype}: {PROFILED}", header, rows))
    return found
