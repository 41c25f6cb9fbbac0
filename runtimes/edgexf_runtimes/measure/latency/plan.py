"""What a measurement does: which graphs, lengths and batches, how queries come, and how many.

In: the wishes of a caller. Out: a `Plan`, which travels to the processes that measure as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from edgexf.errors import UsageError
from edgexf.report.latency.measured.statistics import needed
from edgexf_runtimes.measure.latency.scenarios import SCENARIOS, SERVER, SINGLE, Bound, Enough

PROCESSES = (
    7  # with fewer than 5, two versions can't be told apart; see `edgexf.report.latency.measured.statistics.change`
)
QUERIES = 44  # for the 90th percentile
MOST = {"batches": 1 << 16, "clients": 256, "queries": 1_000_000, "processes": 1_000}


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it. Raises UsageError for a value out of range.

    Attributes:
        lengths: in bytes for a model of bytes, in tokens for others; None for those of `cases.LENGTHS` that fit.
        batches: rows of a run.
        methods: explanation methods beside ``predict``.
        dtypes: of the graphs; ``auto`` is the one that suits this device.
        scenario: one of `scenarios.SCENARIOS`.
        clients: of ``multi``.
        bound_ms: what the percentile of the times of ``server`` may be at most, in milliseconds; None for the others.
        percentile: of that bound, in per cent.
        queries: of each configuration, at least, in all processes together; of each trial of ``server``.
        seconds: of each configuration, at least, likewise.
        most_seconds: of each configuration, whatever is lacking, likewise.
        processes: fresh processes, which share the queries and seconds. The search of ``server`` takes one.
        operators: whether a profiled session says where the time goes, and products of matrices what this device can do.
        stages: whether the stages of a whole answer are timed too, where queries of one sample come one after another.
        inputs: the folder to which `user_input.keep` wrote the user's own input; None for random or golden ones. `measure`
            sets it.
    """

    lengths: Sequence[int] | None = None
    batches: Sequence[int] = (1,)
    methods: Sequence[str] = ()
    dtypes: Sequence[str] = ("auto",)
    scenario: str = SINGLE
    clients: int = 2
    bound_ms: float | None = None
    percentile: float = 99.0
    queries: int = QUERIES
    seconds: float = 1.0
    most_seconds: float = 30.0
    processes: int = PROCESSES
    operators: bool = False
    stages: bool = True
    inputs: str | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise UsageError(
                f"a scenario must be one of {', '.join(SCENARIOS)}, got {self.scenario!r}; choose one of them."
            )
        self.check_bound()
        counts = {
            "batches": self.batches,
            "clients": [self.clients],
            "queries": [self.queries],
            "processes": [self.processes],
        }
        for name, values in counts.items():
            if not values or not 1 <= min(values) <= max(values) <= MOST[name]:
                raise UsageError(
                    f"{name} must be 1 to {MOST[name]:,}, got {', '.join(map(str, values)) or 'none'}; choose others."
                )
        for name, value in (("seconds", self.seconds), ("most_seconds", self.most_seconds)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} must be a number of at least 0, got {value}; choose another.")
        if self.most_seconds < self.seconds:
            raise UsageError(
                f"most_seconds must be at least seconds, got {self.most_seconds:g} and {self.seconds:g}; choose more."
            )

    def check_bound(self) -> None:
        """Raises UsageError for a server without a bound, for a bound without a server, and for values out of range."""
        if (self.bound_ms is not None) != (self.scenario == SERVER):
            raise UsageError(
                f"a bound must be given for the scenario {SERVER}, and for no other, got {self.bound_ms} for {self.scenario}; write --scenario server --bound 50ms."
            )
        if self.bound_ms is not None and not 0 < self.bound_ms < math.inf:
            raise UsageError(f"a bound must be above 0 ms, got {self.bound_ms:g}; choose another.")
        if not 50 <= self.percentile <= 99.9:
            raise UsageError(
                f"percentile must be 50 to 99.9 per cent, got {self.percentile:g}; choose another, such as 99."
            )

    @property
    def bound(self) -> Bound | None:
        return None if self.bound_ms is None else Bound(self.bound_ms, self.percentile / 100)

    @property
    def rounds(self) -> int:
        """The fresh processes that measure."""
        return 1 if self.scenario == SERVER else self.processes

    @property
    def protocol(self) -> dict[str, float]:
        """How it is measured, for the report. Values that do not matter are left out."""
        found = {"queries": float(self.queries), "seconds": self.seconds, "most_seconds": self.most_seconds}
        searched = {} if self.bound_ms is None else {"bound_ms": self.bound_ms, "percentile": self.percentile}
        return {**found, "processes": float(self.rounds), **searched}

    def extended(self, more: int) -> Self:
        """With so many more processes, each of which keeps the share of queries and seconds that it has here."""
        processes = self.processes + more
        times = processes / self.processes
        return replace(
            self,
            processes=processes,
            queries=math.ceil(self.queries / self.processes) * processes,
            seconds=self.seconds * times,
            most_seconds=self.most_seconds * times,
        )

    @property
    def of_a_trial(self) -> Enough:
        """Of the search of ``server``: at least what the percentile needs."""
        return Enough(max(self.queries, needed(self.percentile / 100)), self.seconds, self.most_seconds)

    @property
    def of_a_process(self) -> Enough:
        """The share of each process."""
        return Enough(
            math.ceil(self.queries / self.processes),
            self.seconds / self.processes,
            self.most_seconds / self.processes,
        )

    @property
    def of_the_stages(self) -> Enough:
        """The share of each process, half as many as of its queries: each also makes the whole call."""
        return Enough(max(self.of_a_process.queries // 2, 1), 0.0, self.of_a_process.most_seconds)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`, for lists in place of tuples."""
        return cls(**json.loads(text))
