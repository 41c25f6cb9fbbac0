"""Whether a measurement may be relied upon: VALID, or INVALID with the reasons.

In: a latency report. Out: a `Verdict`. An invalid measurement is no failure of the bundle: a device that other programs share
gives one, and `edgexf bench` ends with exit code 0.

The rules are those of MLPerf's LoadGen (a least number of queries *and* a least duration, by its own policies), of pyperf (a
standard deviation over 10 % of the mean is unstable) and of this toolkit (drift, a warm-up without end, other
processes, a lower clock).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rows import Measured
from edgexf.report.latency.report import LatencyReport

VALID, INVALID = "VALID", "INVALID"
MOST_SPREAD = 0.1  # standard deviation over mean
MOST_DRIFT = 0.05  # of the last third against the first
MOST_OTHERS = 0.1  # share of the processors that other processes took
LEAST_CLOCK = 0.9  # of the processors' clock at the end against the beginning


@dataclass(frozen=True)
class Verdict:
    """`reasons` is empty for a valid measurement."""

    reasons: tuple[str, ...]

    @property
    def valid(self) -> bool:
        return not self.reasons

    def text(self) -> str:
        return VALID if self.valid else INVALID


def verdict(report: LatencyReport) -> Verdict:
    return Verdict((*of_device(report), *(reason for row in report.rows for reason in of_row(row, report))))


def of_device(report: LatencyReport) -> Iterator[str]:
    if report.partial:
        yield report.ended_early
    others = report.after.get("others", Fact(None, "not measured"))
    if others.value is not None and others.value > MOST_OTHERS:
        yield f"other processes took {others.value:.0%} of the processors (at most {MOST_OTHERS:.0%})"
    clocks = [facts.get("mhz", Fact(None, "not measured")).value for facts in (report.before, report.after)]
    if None not in clocks and clocks[1] < LEAST_CLOCK * clocks[0]:
        yield f"the clock fell from {clocks[0]:.0f} to {clocks[1]:.0f} MHz"


def of_row(row: Measured, report: LatencyReport) -> Iterator[str]:
    found, protocol = row.summary, report.protocol
    if found.count < protocol["queries"]:
        yield f"{row.of.name}: {found.count:,} queries, need at least {protocol['queries']:,.0f}"
    if row.seconds < protocol["seconds"]:
        yield f"{row.of.name}: {row.seconds:.1f} s, need at least {protocol['seconds']:g}"
    if row.unsettled:
        yield f"{row.of.name}: the warm-up ended before its queries were steady, in {row.unsettled} of {len(row.processes)} processes"
    if row.of.scenario == "server":
        return  # a queue makes its times spread and drift
    if found.sd is not None and found.sd > MOST_SPREAD * found.mean:
        yield f"{row.of.name}: the standard deviation is {found.sd / found.mean:.0%} of the mean (at most {MOST_SPREAD:.0%})"
    if found.drift is not None and abs(found.drift - 1) > MOST_DRIFT:
        yield f"{row.of.name}: the last third took {found.drift:.2f} times as long as the first"
