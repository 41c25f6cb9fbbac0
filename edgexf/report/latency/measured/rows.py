"""The rows of a latency report as plain values, with their JSON.

    Configuration   what was measured
    Measured        the samples of a configuration
    Started         a fresh process, from nothing to its second answer

Each is the inverse of its JSON: ``Measured.from_dict(row.to_dict()) == row``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import accumulate
from statistics import median
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.statistics import Summary, summarize
from edgexf.report.reading import MOST, check_keys, listed, number, of_kind

SINGLE = "single"  # the usual scenario: one query after another
MOST_MS = 366 * 86_400e3  # a year
LEAST_SECONDS = 1e-9  # of a whole measurement: a rate over less is no finite number
MOST_PROCESSES = 1_000  # of a row, or of stages: their pairwise ratios are a million


@dataclass(frozen=True)
class Configuration:
    """What was measured.

    Attributes:
        graph: ``predict``, or an explanation method.
        dtype: of the graph.
        length: of the input, in bytes for a model of bytes, in tokens for other models.
        tokens: of one row, special tokens included.
        batch: the rows of a run.
        scenario: ``single``, ``multi``, ``server`` or ``offline``; see `edgexf_runtimes.measure.latency.scenarios`.
        clients: of ``multi``; the workers of ``server`` and ``offline``.
        providers: where the graph ran, as short names with options.
        profile: what the session was tuned for.
        threads: of the session.
    """

    graph: str
    dtype: str
    length: int
    tokens: int
    batch: int = 1
    scenario: str = SINGLE
    clients: int = 1
    providers: str = "cpu"
    profile: str = "balanced"
    threads: int = 1

    @property
    def place(self) -> tuple[str, str, int, int]:
        """What runs, in whatever scenario: the `place` of its breakdown."""
        return self.graph, self.dtype, self.length, self.batch

    @property
    def name(self) -> str:
        """Such as ``predict fp32 512``, with what is not usual behind it."""
        return self.told(f"{self.length:,}")

    @property
    def kind(self) -> str:
        """The name without the length: configurations of one kind are a line over lengths."""
        return self.told()

    def told(self, *length: str) -> str:
        usual = {"batch": 1, "scenario": SINGLE, "clients": 1, "providers": "cpu", "profile": "balanced"}
        further = [f"{name} {getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return " ".join([self.graph, self.dtype, *length, *further])

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        for item in fields(cls):
            kind = {"str": str, "int": int}[str(item.type)]
            value = of_kind(values, item.name, kind)
            require(kind is str or 1 <= value <= MOST, f"{item.name} must be 1 to {MOST}", value)
        return cls(**values)


@dataclass(frozen=True)
class Measured:
    """The samples of a configuration.

    Attributes:
        of: what was measured.
        ms: the time of each query in milliseconds, in the order in which they came.
        processes: how many of them each process measured, in this order.
        seconds: from the first query to the last answer, of all processes together.
        warm_up: the queries before, which are not among the samples.
        joules: of one query, or the reason why nobody knows.
        peak_mib: the peak of resident memory of a process that does only this, in MiB, or the reason.
        unsettled: the processes whose warm-up ended before its queries were steady.
    """

    of: Configuration
    ms: tuple[float, ...]
    processes: tuple[int, ...]
    seconds: float
    warm_up: int
    joules: Fact
    peak_mib: Fact
    unsettled: int = 0

    @cached_property
    def summary(self) -> Summary:
        return summarize(self.ms, self.processes)

    @property
    def medians(self) -> list[float]:
        """The median time of each process, in milliseconds."""
        ends = list(accumulate(self.processes))
        return [median(self.ms[end - count : end]) for count, end in zip(self.processes, ends, strict=True)]

    @property
    def tokens_per_second(self) -> float:
        """Of the median query; of the whole time, where queries ran side by side."""
        if self.of.scenario == SINGLE:
            return self.of.batch * self.of.tokens / (self.summary.median / 1e3)
        return self.of.batch * self.of.tokens * len(self.ms) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        return {
            "of": asdict(self.of),
            "ms": list(self.ms),
            "processes": list(self.processes),
            "seconds": self.seconds,
            "warm_up": self.warm_up,
            "joules": self.joules.to_dict(),
            "peak_mib": self.peak_mib.to_dict(),
            "unsettled": self.unsettled,
            "summary": {**asdict(self.summary), "tokens_per_second": self.tokens_per_second},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values, {"summary"})
        times = [number(value) for value in listed(values["ms"], None, int, float)]
        require(bool(times) and all(map(is_time, times)), "ms must be times above 0, at least one", "")
        counts = tuple(listed(values["processes"], None, int))
        require(min(counts, default=0) > 0 and sum(counts) == len(times), "processes must share the times", counts)
        require(len(counts) <= MOST_PROCESSES, f"processes must be at most {MOST_PROCESSES:,}", len(counts))
        seconds, warm_up = number(values["seconds"]), of_kind(values, "warm_up", int)
        kept = seconds >= LEAST_SECONDS and warm_up >= 0
        require(kept, f"seconds must be at least {LEAST_SECONDS:g}, and warm_up at least 0", (seconds, warm_up))
        unsettled = of_kind(values, "unsettled", int)
        require(0 <= unsettled <= len(counts), "unsettled must be among the processes", unsettled)
        joules, peak_mib = (not_negative(values[name]) for name in ("joules", "peak_mib"))
        for name, fact in (("joules", joules), ("peak_mib", peak_mib)):
            require(fact.value is None or fact.value <= MOST, f"{name} must be at most {MOST}", fact.value)
        of = Configuration.from_dict(values["of"])
        return cls(of, tuple(times), counts, seconds, warm_up, joules, peak_mib, unsettled)


@dataclass(frozen=True)
class Started:
    """A fresh process, from nothing to its second answer; see `edgexf_runtimes.measure.processes.cold`.

    Attributes:
        graph, dtype, length: what it answered.
        ms: milliseconds of each stage, by name, in their order.
        resident_mib: resident memory after each stage that can tell it, in MiB.
    """

    graph: str
    dtype: str
    length: int
    ms: Mapping[str, float]
    resident_mib: Mapping[str, float]

    @property
    def answer_ms(self) -> float:
        """From the start of the process to the first answer."""
        return sum(time for stage, time in self.ms.items() if stage != "second")

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        named = {
            name: {str(stage): finite(value) for stage, value in of_kind(values, name, dict).items()}
            for name in ("ms", "resident_mib")
        }
        for name, most in (("ms", MOST_MS), ("resident_mib", MOST)):
            kept = max(named[name].values(), default=0) <= most
            require(kept, f"{name} of a start must be at most {most:.0f}", named[name])
        graph, dtype = (of_kind(values, name, str) for name in ("graph", "dtype"))
        length = of_kind(values, "length", int)
        require(1 <= length <= MOST, f"length must be 1 to {MOST}", length)
        return cls(graph, dtype, length, **named)


def is_time(ms: float) -> bool:
    """Whether it is between a nanosecond, which no clock is finer than, and a year."""
    return 1e-6 <= ms <= MOST_MS


def finite(value: Any) -> float:
    """A number that is not negative. Python's reader takes 1e999 for infinity."""
    found = number(value)
    require(0 <= found < float("inf"), "a number must be at least 0 and finite", value)
    return found


def not_negative(values: Any) -> Fact:
    fact = Fact.of_number(values)
    return fact if fact.value is None else Fact(finite(fact.value))
