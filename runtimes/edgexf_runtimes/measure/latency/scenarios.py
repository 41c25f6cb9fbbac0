"""How queries come: one after another, from several clients, at random times, or all at once.

In: a function that answers one query, and a clock. Out: `Sampled`, the time of each query in milliseconds.

    single   the next query comes when the last one is answered
    multi    so many clients, each of which does the same
    server   queries come at random times (Poisson), whether or not earlier ones are answered
    offline  all queries are there at once, and are answered in batches: the workers are never idle

These are the scenarios of MLPerf Inference (Reddi et al. 2020, section III.C), but that its multi-stream is a query of
several samples. In ``server`` a time begins when the query was due, not when a worker took it: else a slow answer hides the
queries that waited behind it (coordinated omission).

Tests pass a clock of their own, in which time passes only where the answered function says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgexf.errors import UsageError
from edgexf.report.latency.measured.rates import Trial
from edgexf.report.latency.measured.statistics import needed

Query = Callable[[], object]
Times = npt.NDArray[np.float64]

SINGLE, MULTI, SERVER, OFFLINE = SCENARIOS = ("single", "multi", "server", "offline")
SPIN = 2e-4  # seconds before a query is due in which a worker looks at the clock: a sleep ends up to so much too late
STEPS = 10  # of that search: as often the interval is doubled, and halved
STEADY = 0.95  # the time of the last third over that of the third before, from which a warm-up is over
SETTLED = 0.02  # the share by which the interval of the rate is narrow enough


class Clock(Protocol):
    """Seconds from any beginning."""

    def now(self) -> float: ...

    def until(self, moment: float) -> None:
        """Returns at `moment`, or at once if it is over."""


class SystemClock:
    """The clock of the system."""

    def now(self) -> float:
        return time.perf_counter()

    def until(self, moment: float) -> None:
        left = moment - time.perf_counter()
        if left > SPIN:
            time.sleep(left - SPIN)
        while time.perf_counter() < moment:
            pass


@dataclass(frozen=True)
class Enough:
    """When to stop: after so many queries *and* so many seconds, or after `most_seconds` in any case."""

    queries: int
    seconds: float
    most_seconds: float

    def reached(self, queries: int, seconds: float) -> bool:
        return (queries >= self.queries and seconds >= self.seconds) or seconds >= self.most_seconds


@dataclass(frozen=True, eq=False)
class Sampled:
    """The times of queries, in the order in which they came.

    Attributes:
        ms: the time of each query in milliseconds, float64 [queries].
        seconds: from the first query to the last answer.
    """

    ms: Times
    seconds: float

    @property
    def rate(self) -> float:
        """Queries a second."""
        return len(self.ms) / self.seconds


def single(query: Query, enough: Enough, clock: Clock) -> Sampled:
    found: list[float] = []
    start = began = clock.now()
    while not found or not enough.reached(len(found), began - start):
        query()
        ended = clock.now()
        found.append(ended - began)
        began = ended
    return Sampled(1e3 * np.array(found), began - start)


@dataclass(frozen=True)
class Warmed:
    """What came before the samples: how many queries, and whether they had stopped to become faster."""

    queries: int
    settled: bool


def warm_up(query: Query, enough: Enough, clock: Clock) -> Warmed:
    """Queries one after another, until there are enough *and* they no longer become faster, or after `most_seconds`."""
    found: list[float] = []
    start = began = clock.now()
    while True:
        query()
        ended = clock.now()
        found.append(ended - began)
        began = ended
        over = began - start >= enough.most_seconds
        if over or (enough.reached(len(found), began - start) and settled(found)):
            return Warmed(len(found), settled(found))


def settled(times: Sequence[float]) -> bool:
    """Whether the last third is not faster than the one before it. Only that tells a warm-up: a device that becomes slower
    is no longer cold, and says so by its drift.
    """
    third = len(times) // 3
    return third > 0 and float(np.median(times[-third:])) >= STEADY * float(np.median(times[-2 * third : -third]))


def multi(query: Query, clients: int, enough: Enough, clock: Clock) -> Sampled:
    """`clients` threads. Each stops when all of them together have had enough."""
    found: list[tuple[float, float]] = []
    start = clock.now()

    def client() -> None:
        while True:
            began = clock.now()
            if found and enough.reached(len(found), began - start):
                return
            query()
            found.append((began, clock.now()))

    together(client, clients)
    began, ended = np.array(sorted(found)).T
    return Sampled(1e3 * (ended - began), float(ended.max()) - start)


def server(query: Query, arrivals: Times, workers: int, clock: Clock) -> Sampled:
    """Answers queries that are due at `arrivals`, seconds from now, [queries], ascending. The first free one of `workers`
    threads takes the next query.
    """
    places, lock, start = iter(range(len(arrivals))), threading.Lock(), clock.now()
    ended = np.empty(len(arrivals))

    def worker() -> None:
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            clock.until(start + arrivals[place])
            query()
            ended[place] = clock.now() - start

    together(worker, workers)
    return Sampled(1e3 * (ended - arrivals), float(ended.max()))


def offline(query: Query, workers: int, enough: Enough, clock: Clock) -> Sampled:
    """`workers` threads, each of which answers one batch after another; `query` answers a whole one."""
    return single(query, enough, clock) if workers == 1 else multi(query, workers, enough, clock)


def together(work: Callable[[], None], threads: int) -> None:
    """Runs `work` in so many threads, this one alone for one, and raises the first error."""
    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="edgexf client") as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def poisson(rate: float, queries: int, seed: int) -> Times:
    """The moments at which `queries` queries come, `rate` a second on average, in seconds, [queries]. Another rate
    stretches the same pattern.
    """
    return np.cumsum(np.random.default_rng(seed).exponential(size=queries)) / rate


@dataclass(frozen=True)
class Bound:
    """What a percentile of the times may be at most.

    Attributes:
        ms: in milliseconds.
        share: the percentile, such as 0.99.
    """

    ms: float
    share: float

    def found(self, sampled: Sampled) -> float:
        return float(np.quantile(sampled.ms, self.share))


@dataclass(frozen=True)
class HighestRate:
    """The highest rate at which a percentile of the times holds a bound.

    Attributes:
        rate: queries a second; None where none is known.
        reason: why none is known; empty otherwise.
        trials: in the order in which they ran.
        best: the times at `rate`; None without.
    """

    rate: float | None
    reason: str
    trials: tuple[Trial, ...]
    best: Sampled | None


def highest_rate(query: Query, bound: Bound, workers: int, enough: Enough, clock: Clock, seed: int = 0) -> HighestRate:
    """Finds the highest rate by halving an interval of rates.

    `enough` is of each trial; one that would take more than its `most_seconds` does not begin. Queries one after another
    come first, because no rate holds a bound that they don't. Raises UsageError for fewer queries than the percentile needs.
    """
    least = needed(bound.share)
    if enough.queries < least:
        raise UsageError(
            f"a search for the highest rate must have at least {least:,} queries for p{bound.share * 100:g}, got {enough.queries:,}; take more, or a lower percentile."
        )
    alone = single(query, Enough(least, 0.0, enough.most_seconds), clock)
    if len(alone.ms) < least:
        return unknown(f"{least:,} queries one after another took more than {enough.most_seconds:g} s")
    if bound.found(alone) > bound.ms:
        return unknown(f"queries one after another take {bound.found(alone):.4g} ms")
    return Search(query, bound, workers, enough, clock, seed).run(workers * alone.rate)


def unknown(reason: str, trials: tuple[Trial, ...] = ()) -> HighestRate:
    return HighestRate(None, reason, trials, None)


class Search:
    """A search for the highest rate. The arguments are those of `highest_rate`.

    Attributes:
        trials: so far.
        low, high: a rate that held, 0 before there is one, and one that did not.
        best: the times at `low`.
    """

    def __init__(self, query: Query, bound: Bound, workers: int, enough: Enough, clock: Clock, seed: int) -> None:
        self.query, self.bound, self.workers, self.enough, self.clock, self.seed = (
            query, bound, workers, enough, clock, seed,
        )  # fmt: skip
        self.trials: list[Trial] = []
        self.low, self.high = 0.0, 0.0
        self.best: Sampled | None = None

    def run(self, guess: float) -> HighestRate:
        """`guess` is a rate near the highest: few queries tell it, and workers share a device."""
        self.high = guess
        for _ in range(STEPS):
            if not self.in_time(self.high) or not self.holds(self.high):
                break
            self.high *= 2
        for _ in range(STEPS):
            rate = (self.low + self.high) / 2
            if self.high - self.low <= SETTLED * self.high or not self.in_time(rate):
                break
            if not self.holds(rate):
                self.high = rate
        if self.best is None:
            lowest = min((trial.rate for trial in self.trials), default=guess)
            return unknown(f"not even {lowest:.4g} a second held, and fewer take too long to try", tuple(self.trials))
        return HighestRate(self.low, "", tuple(self.trials), self.best)

    def queries(self, rate: float) -> int:
        return max(self.enough.queries, ceil(rate * self.enough.seconds))

    def in_time(self, rate: float) -> bool:
        return self.queries(rate) / rate <= self.enough.most_seconds

    def holds(self, rate: float) -> bool:
        found = server(self.query, poisson(rate, self.queries(rate), self.seed), self.workers, self.clock)
        trial = Trial(rate, self.bound.found(found), self.bound.found(found) <= self.bound.ms)
        self.trials.append(trial)
        if trial.held:
            self.low, self.best = rate, found
        return trial.held
