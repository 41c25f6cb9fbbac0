"""Rates: how many samples a second a device answers, with the trials that found it.

In: what the scenarios ``server`` and ``offline`` measured, or its JSON. Out: a `Rate`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.reading import MOST, check_keys, listed, number, of_kind

RATES_HEADER = ("rate of", "workers", "samples/s", "bound", "trials", "lowest that did not hold")


@dataclass(frozen=True)
class Trial:
    """One rate that was tried.

    Attributes:
        rate: queries a second that came, on average.
        ms: the percentile of their times, in milliseconds.
        held: whether it is within the bound.
    """

    rate: float
    ms: float
    held: bool

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        rate, ms = number(values["rate"]), number(values["ms"])
        require(rate > 0 and ms > 0, "a trial must have a rate and a time above 0", values)
        return cls(rate, ms, of_kind(values, "held", bool))


@dataclass(frozen=True)
class Rate:
    """The rate of a graph at a length.

    Attributes:
        graph, dtype, length, batch: what ran; a query has `batch` samples.
        scenario: ``server`` or ``offline``.
        workers: the threads that answered side by side.
        samples_per_second: of ``server`` the highest that held the bound, or the reason why none is known.
        bound_ms: what the percentile of the times may be at most, in milliseconds; None for ``offline``.
        share: that percentile, such as 0.99; None for ``offline``.
        trials: of ``server``, in the order in which they ran.
    """

    graph: str
    dtype: str
    length: int
    batch: int
    scenario: str
    workers: int
    samples_per_second: Fact
    bound_ms: float | None = None
    share: float | None = None
    trials: tuple[Trial, ...] = ()

    @property
    def failed(self) -> float | None:
        """The lowest rate that did not hold the bound, in samples a second."""
        return min((self.batch * trial.rate for trial in self.trials if not trial.held), default=None)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "samples_per_second": self.samples_per_second.to_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        graph, dtype, scenario = (of_kind(values, name, str) for name in ("graph", "dtype", "scenario"))
        counts = {name: of_kind(values, name, int) for name in ("length", "batch", "workers")}
        whole = 1 <= min(counts.values()) <= max(counts.values()) <= MOST
        require(whole, f"counts of a rate must be 1 to {MOST}", counts)
        trials = tuple(map(Trial.from_dict, listed(values["trials"], None)))
        bound, share = (None if values[name] is None else number(values[name]) for name in ("bound_ms", "share"))
        require((bound is None) == (share is None), "a bound must have its percentile", (bound, share))
        rate = Fact.of_number(values["samples_per_second"])
        return cls(
            graph,
            dtype,
            scenario=scenario,
            samples_per_second=rate,
            bound_ms=bound,
            share=share,
            trials=trials,
            **counts,
        )

    def cells(self) -> tuple[str, ...]:
        """The cells of a table row, in the order of `RATES_HEADER`."""
        bound = "-" if self.bound_ms is None or self.share is None else f"p{100 * self.share:g} <= {self.bound_ms:g} ms"
        name = f"{self.scenario} {self.graph} {self.dtype} {self.length:,}" + (
            f" batch {self.batch}" if self.batch > 1 else ""
        )
        rate, failed = self.samples_per_second, self.failed
        shown = rate.reason if rate.value is None else readable(rate.value)
        return (
            name,
            str(self.workers),
            shown,
            bound,
            str(len(self.trials) or "-"),
            "-" if failed is None else readable(failed),
        )


def readable(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"
