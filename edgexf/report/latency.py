"""A latency report as plain values, with its JSON and Markdown.

In: the figures that `edgexf bench` measured. Out: a `LatencyReport`, with a row for each graph and length.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgexf.report.markdown import markdown_table

REPORT_SCHEMA = 1  # of a latency report; `edgexf.report.explanation` has the version of an explanation


@dataclass(frozen=True)
class LengthLatency:
    """The latency of a graph at one length.

    Attributes:
        length: the input length, in bytes for a model of bytes, in tokens for other models.
        runs: the number of timed runs.
        p50_ms: the median time of a run, in milliseconds.
        p90_ms: the 90th percentile, in milliseconds; None after too few runs.
        tokens_per_second: of the median run.
        peak_mib: the peak memory of the process, in MiB.
        graph: ``predict``, or an explanation method.
    """

    length: int
    runs: int
    p50_ms: float
    p90_ms: float | None
    tokens_per_second: float
    peak_mib: float
    graph: str = "predict"


@dataclass(frozen=True)
class LatencyReport:
    """The figures that `edgexf bench` measured.

    Attributes:
        model: the name of the bundle, with its dtype unless that is fp32.
        threads: the number of threads of a session.
        machine: facts about the device.
        load_ms: the median time to create a session in a fresh process, in milliseconds.
        load_runs: the number of fresh processes.
        rows: the latencies.
    """

    model: str
    threads: int
    machine: dict[str, str]
    load_ms: float
    load_runs: int
    rows: tuple[LengthLatency, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": REPORT_SCHEMA, **asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self) -> str:
        """A Markdown table with a row for each graph and length."""
        rows = [latency_cells(row) for row in self.rows]
        return markdown_table(LATENCY_HEADER, rows)


LATENCY_HEADER = ("graph", "length", "runs", "p50 ms", "p90 ms", "tokens/s", "peak MiB")


def latency_cells(row: LengthLatency) -> tuple[str, ...]:
    """The cells of a table row, in the order of `LATENCY_HEADER`."""
    p90 = "-" if row.p90_ms is None else f"{row.p90_ms:.2f}"
    return (
        row.graph,
        f"{row.length:,}",
        str(row.runs),
        f"{row.p50_ms:.2f}",
        p90,
        f"{row.tokens_per_second:,.0f}",
        f"{row.peak_mib:.0f}",
    )
