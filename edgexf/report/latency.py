"""Latency reports as plain values, and their JSON and Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgexf.report.markdown import markdown_table

REPORT_SCHEMA = 1  # of a latency report; that of an explanation is in `edgexf.report.explanation`


@dataclass(frozen=True)
class LengthLatency:
    """Latency of a `graph` at one length: milliseconds, tokens a second of the median run, and the process's MiB of memory
    at its peak.

    `p90_ms` is None when there were too few runs for it.
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
    """What `edgexf bench` measured; `load_ms` is the median of creating a session in a fresh process."""

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
        """A table, a row a length."""
        rows = [latency_cells(row) for row in self.rows]
        return markdown_table(LATENCY_HEADER, rows)


LATENCY_HEADER = ("graph", "length", "runs", "p50 ms", "p90 ms", "tokens/s", "peak MiB")


def latency_cells(row: LengthLatency) -> tuple[str, ...]:
    """A row's cells as `LATENCY_HEADER` names them."""
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
