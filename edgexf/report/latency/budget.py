"""Budgets of a device: what a figure may be at most, such as ``p95<=20ms@512``.

In: the text of a budget, and the figures that were measured. Out: `Outcome`, whether the budget is kept.

    [GRAPH.]QUANTITY<=LIMIT[@LENGTH]

| quantity | units | of |
|---|---|---|
| `mean` `p50` `p90` `p95` `p99` `p99.9` | us ms s | the time of a run at LENGTH |
| `energy` | mJ J | a run at LENGTH |
| `memory` | MB GB MiB GiB | the peak of the process at LENGTH |
| `size` | MB GB MiB GiB | the files that the graph needs |
| `cold` | us ms s | import, load and first run of the shortest input in a fresh process |

GRAPH is an explanation method, or ``predict``, the default. A figure that could not be measured keeps no budget: its limit
must not pass because nobody looked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgexf.errors import UsageError
from edgexf.report.latency.measured.rows import Configuration, Measured
from edgexf.report.latency.measured.statistics import PERCENTILES, needed
from edgexf.report.latency.report import LatencyReport

TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}  # in milliseconds
SIZES = {"MB": 1e6, "GB": 1e9, "MiB": 2.0**20, "GiB": 2.0**30}  # in bytes
NOTHING: Mapping[str, str] = {}
ENERGIES = {"mJ": 1e-3, "J": 1.0}  # in joules


@dataclass(frozen=True)
class Quantity:
    """What a budget may bound: its units, and whether it is of one length."""

    units: Mapping[str, float]
    has_length: bool


QUANTITIES = {
    "mean": Quantity(TIMES, True),
    **{f"p{share * 100:g}": Quantity(TIMES, True) for share in PERCENTILES},
    "energy": Quantity(ENERGIES, True),
    "memory": Quantity(SIZES, True),
    "size": Quantity(SIZES, False),
    "cold": Quantity(TIMES, False),
}
FORM = re.compile(
    r"(?:(?P<graph>[a-z][a-z0-9-]*)\.)?(?P<quantity>[a-z][a-z0-9.]*)<=(?P<limit>\d+(?:\.\d+)?)(?P<unit>[A-Za-z]+)(?:@(?P<length>\d+))?"
)


@dataclass(frozen=True)
class Budget:
    """A bound.

    Attributes:
        text: as it was written.
        graph: ``predict`` or an explanation method.
        quantity: a key of `QUANTITIES`.
        limit: in milliseconds, bytes or joules.
        unit: of `text`.
        length: None where the quantity is of no length.
    """

    text: str
    graph: str
    quantity: str
    limit: float
    unit: str
    length: int | None

    def within(self, value: float | None, reason: str = "") -> Outcome:
        """Compares a figure in milliseconds, bytes or joules. None is a figure that is lacking, for this reason."""
        return Outcome(self, value, value is not None and value <= self.limit, reason)

    def shown(self, value: float) -> str:
        return f"{value / QUANTITIES[self.quantity].units[self.unit]:.6g} {self.unit}"


@dataclass(frozen=True)
class Outcome:
    """Whether a budget is kept. `reason` says why a figure is lacking."""

    budget: Budget
    value: float | None
    kept: bool
    reason: str = ""

    def sentence(self) -> str:
        if self.value is None:
            return f"{self.budget.text}: not kept, because the figure is lacking ({self.reason})"
        return f"{self.budget.text}: {'kept' if self.kept else 'not kept'}, {self.budget.shown(self.value)}"


def parse_budget(text: str) -> Budget:
    """Reads a budget. Raises UsageError for any other text, with what was wrong about it."""
    found = FORM.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UsageError(
            f"a budget must look like p95<=20ms@512, memory<=200MiB@4096 or size<=10MB, got {text!r}; write it so."
        )
    name = found["quantity"]
    quantity = QUANTITIES.get(name)
    if quantity is None:
        raise UsageError(f"a budget must bound one of {', '.join(QUANTITIES)}, got {name!r}; choose one of them.")
    if found["unit"] not in quantity.units:
        raise UsageError(
            f"a budget of {name} must be in {', '.join(quantity.units)}, got {found['unit']!r} in {text!r}; choose one of them."
        )
    if quantity.has_length != (found["length"] is not None):
        rule = "must name its length" if quantity.has_length else "must name no length"
        remedy = f"write {text}@512" if quantity.has_length else "leave it out"
        raise UsageError(f"a budget of {name} {rule}, got {text!r}; {remedy}.")
    limit = float(found["limit"]) * quantity.units[found["unit"]]
    length = None if found["length"] is None else int(found["length"])
    return Budget(text, found["graph"] or "predict", name, limit, found["unit"], length)


def milliseconds(text: str) -> float:
    """Reads a time such as ``50ms``. Raises UsageError for any other text."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)(us|ms|s)", text.replace(" ", ""), re.ASCII)
    if found is None:
        raise UsageError(f"a time must be a number with {', '.join(TIMES)}, got {text!r}; write it like 50ms.")
    return float(found[1]) * TIMES[found[2]]


def outcomes(report: LatencyReport, budgets: Sequence[Budget]) -> list[Outcome]:
    """Compares the figures of a report with budgets. Where several rows have such a figure, as in several dtypes, the
    largest counts. Raises UsageError for a budget of a graph or length that was not measured; see `check_planned`.
    """
    return [budget.within(*figure(report, budget)) for budget in budgets]


def figure(report: LatencyReport, budget: Budget) -> tuple[float | None, str]:
    """The figure that a budget bounds, in milliseconds, bytes or joules, or None and the reason."""
    rows = [row for row in report.rows if is_of(budget, row.of.graph, row.of.length)]
    unknown = [rate for rate in report.rates if rate.samples_per_second.value is None]
    reasons = [rate.samples_per_second.reason for rate in unknown if is_of(budget, rate.graph, rate.length)]
    if not rows and reasons:  # a search for the highest rate leaves no row where it finds none
        return None, reasons[0]
    check_planned([budget], [row.of for row in report.rows])
    found = [of_row(report, row, budget.quantity) for row in rows]
    lacking = [reason for value, reason in found if value is None]
    return (None, lacking[0]) if lacking else (max(value for value, _ in found if value is not None), "")


def is_of(budget: Budget, graph: str, length: int) -> bool:
    return graph == budget.graph and budget.length in (None, length)


def check_planned(
    budgets: Iterable[Budget], measured: Sequence[Configuration], lacks: Mapping[str, str] = NOTHING
) -> None:
    """Raises UsageError for a budget of a graph or length that is not measured, and for one of a quantity that lacks, by the
    reasons in `lacks`.
    """
    for budget in budgets:
        if not any(is_of(budget, of.graph, of.length) for of in measured):
            known = ", ".join(dict.fromkeys(f"{of.graph} at {of.length}" for of in measured))
            raise UsageError(
                f"a budget must be of what was measured ({known}), got {budget.text!r}; measure it, or leave the budget out."
            )
        if budget.quantity in lacks:
            raise UsageError(
                f"a budget must be of a quantity that is measured here, got {budget.text!r}, which is not ({lacks[budget.quantity]}); leave it out."
            )


def of_row(report: LatencyReport, row: Measured, quantity: str) -> tuple[float | None, str]:
    if quantity == "mean":
        return row.summary.mean, ""
    if quantity == "energy":
        return row.joules.value, row.joules.reason
    if quantity == "memory":
        return None if row.peak_mib.value is None else row.peak_mib.value * 2**20, row.peak_mib.reason
    if quantity == "size":
        return float(sum(report.files[name] for name in report.graph_files[f"{row.of.graph} {row.of.dtype}"])), ""
    if quantity == "cold":
        starts = [one for one in report.starts if (one.graph, one.dtype) == (row.of.graph, row.of.dtype)]
        shortest = min((one.length for one in starts), default=0)
        times = [one.answer_ms for one in starts if one.length == shortest]
        return (float(np.median(times)), "") if times else (None, "no fresh process was started")
    one = next(one for one in row.summary.percentiles if one.name == quantity)
    return one.ms, "" if one.ms is not None else f"need at least {needed(one.share):,} queries"
