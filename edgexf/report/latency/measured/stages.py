"""Where the time of one whole answer goes, from a text to labels, or to the relevance of its words.

In: what `edgexf_runtimes.measure.latency.stages` measured, or its JSON. Out: a `Stages` of one graph at one length, and a
table of several. Law: ``Stages.from_dict(stages.to_dict()) == stages``.

    tokenization   from a text or bytes to token ids; `encode` in the table
    preparation    padding, masks and checks; of an explanation also what is explained
    run            the graph
    decoding       scores become labels; relevance becomes that of the words
    whole          the call of the session that does all of it, in turn with the stages, in the same processes

What a model does not have, or nobody could measure, has a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from edgexf.checks import require
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rows import MOST_MS, MOST_PROCESSES
from edgexf.report.latency.measured.statistics import percentiles
from edgexf.report.reading import check_keys, listed, number, of_kind

STAGES = ("tokenization", "preparation", "run", "decoding")
SUM, WHOLE, UNCOVERED = "sum", "whole", "uncovered"
STAGES_HEADER = ("answer", "encode", "prepare", "run", "decode", "sum", "whole", "rest")  # a terminal has few columns


@dataclass(frozen=True)
class Middle:
    """The median of times, and its interval of 99 %, in milliseconds; None where there are too few for one, or
    too few processes, see `edgexf.report.latency.measured.intervals`.
    """

    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Stages:
    """The times of the stages of an answer to one sample.

    Attributes:
        graph, dtype, length: what answered, as in a row.
        processes: how many samples each process measured.
        ms: for each of `STAGES` and for the `WHOLE` call: its times in milliseconds, in their order, or the reason.
    """

    graph: str
    dtype: str
    length: int
    processes: tuple[int, ...]
    ms: Mapping[str, Fact]

    @property
    def place(self) -> tuple[str, str, int, int]:
        """That of its row."""
        return self.graph, self.dtype, self.length, 1

    @property
    def name(self) -> str:
        return f"{self.graph} {self.dtype} {self.length:,}"

    @cached_property
    def summaries(self) -> dict[str, Middle | None]:
        """Of each stage, of the sum of those that were measured, of the whole call, and of what no stage covers of it: the
        differences between the whole call and the sum of its turn. None where there is a reason.
        """
        known = [fact.value for stage in STAGES if (fact := self.ms[stage]).value is not None]
        times = {stage: self.ms[stage].value for stage in (*STAGES, WHOLE)}
        times[SUM] = [sum(some) for some in zip(*known, strict=True)] or None
        pairs = zip(times[WHOLE] or (), times[SUM] or (), strict=False)  # one of them may be without times
        times[UNCOVERED] = [whole - covered for whole, covered in pairs] or None
        return {name: None if some is None else middle_of(some, self.processes) for name, some in times.items()}

    def to_dict(self) -> dict[str, Any]:
        facts = {name: Fact(fact.value and list(fact.value), fact.reason).to_dict() for name, fact in self.ms.items()}
        summaries = {name: None if one is None else asdict(one) for name, one in self.summaries.items()}
        return {
            "graph": self.graph,
            "dtype": self.dtype,
            "length": self.length,
            "processes": list(self.processes),
            "ms": facts,
            "summary": summaries,
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`. ValueError for other values."""
        check_keys(cls, values, {"summary"})
        graph, dtype = (of_kind(values, name, str) for name in ("graph", "dtype"))
        length, processes = of_kind(values, "length", int), tuple(listed(values["processes"], None, int))
        require(length >= 1 and min(processes, default=0) >= 1, "stages must have a length and samples", length)
        require(len(processes) <= MOST_PROCESSES, f"processes must be at most {MOST_PROCESSES:,}", len(processes))
        named = of_kind(values, "ms", dict)
        require(set(named) == {*STAGES, WHOLE}, f"stages must be {', '.join((*STAGES, WHOLE))}", sorted(named))
        ms = {name: times_of(named[name], sum(processes)) for name in (*STAGES, WHOLE)}
        return cls(graph, dtype, length, processes, ms)

    def cells(self) -> tuple[str, ...]:
        """The cells of a table row, in the order of `STAGES_HEADER`."""
        shown = (cell(self.summaries[name]) for name in (*STAGES, SUM, WHOLE, UNCOVERED))
        return self.name, *shown


def times_of(values: Any, count: int) -> Fact:
    """Times from JSON, `count` of them, or the reason why there are none."""
    fact = Fact.from_dict(values)
    if fact.value is None:
        return fact
    times = tuple(number(value) for value in listed(fact.value, count, int, float))
    kept = min(times) >= 0 and max(times) <= MOST_MS
    require(kept, f"times must be 0 to {MOST_MS:.0f} ms", (min(times), max(times)))
    return Fact(times)


def middle_of(times: Sequence[float], processes: Sequence[int]) -> Middle:
    found = next(one for one in percentiles(np.array(times), processes) if one.share == 0.5)
    return Middle(float(np.median(times)), found.low, found.high)


def cell(middle: Middle | None) -> str:
    """The median, with its interval where there is one."""
    if middle is None:
        return "-"
    low, high = middle.low, middle.high
    between = "" if low is None or high is None else f" [{rounded(low)}, {rounded(high)}]"
    return f"{middle.median:.3g}{between}"


def rounded(ms: float) -> str:
    return f"{ms:.0f}" if abs(ms) >= 10 else f"{ms:.2g}"


def lacking_of(several: Sequence[Stages]) -> list[str]:
    """Why some stages have no time: each with its reason, once."""
    found = (f"{name}: {fact.reason}" for one in several for name, fact in one.ms.items() if fact.value is None)
    return list(dict.fromkeys(found))


def stages_title(several: Sequence[Stages]) -> str:
    """What the table shows, and why some of its cells are empty."""
    reasons = lacking_of(several)
    said = f"; without {'; '.join(reasons)}" if reasons else ""
    about = "p50 in milliseconds, and its interval of 99 %; the rest is what no stage covers of the whole call"
    return f"stages of an answer: {about}{said}"
