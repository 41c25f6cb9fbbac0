"""What a measurement does: which graphs, lengths and batches, how queries come, and how many.

In: the wishes of a caller. Out: a `Plan`, which travels to the processes that measure as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from edgexf.errors import UsageError
from edgexf_runtimes.measure.scenarios import MULTI, SINGLE, Enough

PROCESSES = 7  # with fewer than 5, two versions can't be told apart; see `edgexf.report.statistics.change`
QUERIES = 44  # for the 90th percentile
KNOWN = (SINGLE, MULTI)


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it. Raises UsageError for a value out of range.

    Attributes:
        lengths: in bytes for a model of bytes, in tokens for others; None for those of `cases.LENGTHS` that fit.
        batches: rows of a run.
        methods: explanation methods beside ``predict``.
        dtypes: of the graphs; ``auto`` is the one that suits this device.
        scenario: ``single`` or ``multi``.
        clients: of ``multi``.
        queries: of each configuration, at least, in all processes together.
        seconds: of each configuration, at least, likewise.
        most_seconds: of each configuration, whatever is lacking.
        processes: fresh processes, which share the queries and seconds.
        operators: whether a profiled session says where the time goes, and products of matrices what this device can do.
    """

    lengths: Sequence[int] | None = None
    batches: Sequence[int] = (1,)
    methods: Sequence[str] = ()
    dtypes: Sequence[str] = ("auto",)
    scenario: str = SINGLE
    clients: int = 2
    queries: int = QUERIES
    seconds: float = 1.0
    most_seconds: float = 30.0
    processes: int = PROCESSES
    operators: bool = False

    def __post_init__(self) -> None:
        if self.scenario not in KNOWN:
            raise UsageError(
                f"a scenario must be one of {', '.join(KNOWN)}, got {self.scenario!r}; choose one of them."
            )
        counts = {
            "batches": self.batches,
            "clients": [self.clients],
            "queries": [self.queries],
            "processes": [self.processes],
        }
        for name, values in counts.items():
            if not values or min(values) < 1:
                raise UsageError(
                    f"{name} must be at least 1, got {', '.join(map(str, values)) or 'none'}; choose more."
                )
        for name, value in (("seconds", self.seconds), ("most_seconds", self.most_seconds)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} must be a number of at least 0, got {value}; choose another.")

    @property
    def of_a_process(self) -> Enough:
        """The share of each process."""
        return Enough(
            math.ceil(self.queries / self.processes),
            self.seconds / self.processes,
            self.most_seconds / self.processes,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`, for lists in place of tuples."""
        return cls(**json.loads(text))
