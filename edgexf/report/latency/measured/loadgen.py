"""What MLPerf's LoadGen says of a configuration, beside what `edgexf bench` measured.

In: what `edgexf_runtimes.measure.latency.loadgen` read in LoadGen's log, or its JSON. Out: a `Driven`, and the cells of a table.
Law: ``Driven.from_dict(driven.to_dict()) == driven``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.latency.measured.rates import readable
from edgexf.report.latency.measured.rows import Configuration, Measured, finite, is_time
from edgexf.report.reading import check_keys, listed, of_kind

LOADGEN_HEADER = ("LoadGen", "queries", "p50", "p90", "p99", "p50 / ours", "samples/s", "result")
SHOWN = ("50", "90", "99")


@dataclass(frozen=True)
class Driven:
    """A configuration that LoadGen drove, in one process.

    Attributes:
        of: what ran.
        queries: how many.
        ms: percentiles of their times in milliseconds, by percentile, such as ``99.9``; empty for ``offline``, whose
            queries all wait from the beginning.
        samples_per_second: over the whole time.
        valid: LoadGen's verdict.
        reasons: why it is not valid, in LoadGen's words.
        version: of LoadGen.
    """

    of: Configuration
    queries: int
    ms: Mapping[str, float]
    samples_per_second: float
    valid: bool
    reasons: tuple[str, ...]
    version: str

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ms": dict(self.ms), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        ms = {str(share): finite(time) for share, time in of_kind(values, "ms", dict).items()}
        require(all(map(is_time, ms.values())), "percentiles must be times above 0", ms)
        queries, valid, version = (
            of_kind(values, *one) for one in (("queries", int), ("valid", bool), ("version", str))
        )
        require(queries >= 1, "LoadGen must have had a query", queries)
        reasons = tuple(listed(values["reasons"], None, str))
        require(valid != bool(reasons), "what is not valid must have reasons", reasons)
        rate = finite(values["samples_per_second"])
        return cls(Configuration.from_dict(values["of"]), queries, ms, rate, valid, reasons, version)

    def cells(self, rows: Sequence[Measured]) -> tuple[str, ...]:
        """The cells of a table row, in the order of `LOADGEN_HEADER`. `rows` are those of the report."""
        times = (f"{self.ms[share]:.2f}" if share in self.ms else "-" for share in SHOWN)
        ours = next((row.summary.median for row in rows if row.of == self.of), None)
        ratio = "-" if ours is None or "50" not in self.ms else f"{self.ms['50'] / ours:.3f}"
        result = "VALID" if self.valid else f"INVALID: {'; '.join(self.reasons)}"
        return (self.of.name, f"{self.queries:,}", *times, ratio, readable(self.samples_per_second), result)
