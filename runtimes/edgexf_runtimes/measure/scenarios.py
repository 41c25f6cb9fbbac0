"""How queries come: one after another, from several clients, at random times, or all at once.

In: a function that answers one query, and a clock. Out: `Sampled`, the time of each query in milliseconds.

    single   the next query comes when the last one is answered
    multi    so many clients, each of which does the same
    server   queries come at random times (Poisson), whether or not earlier ones are answered
    offline  all queries are there at once, and are answered in batches

These are the scenarios of MLPerf Inference (Reddi et al. 2020, section III.C), but that its multi-stream is a query of
several samples. In ``server`` a time begins when the query was due, not when a worker took it: else a slow answer hides the
queries that waited behind it (coordinated omission).

Tests pass a clock of their own, in which time passes only where the answered function says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgexf.errors import UsageError
from edgexf.report.statistics import needed

Query = Callable[[], object]
Times = npt.NDArray[np.float64]

SINGLE, MULTI, SERVER, OFFLINE = SCENARIOS = ("single", "multi", "server", "offline")
SPIN = 2e-4  # seconds before a query is due in which a worker looks at the clock: a sleep ends up to so much too late
ALONE = 20  # queries one after another, before the search for the highest rate
STEPS = 10  # of that search: as often the interval is doubled, and halved
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


def offline(batches: Iterator[tuple[Query, int]], clock: Clock) -> tuple[int, float]:
    """Runs queries of so many samples each, one after another. Returns the samples and the seconds."""
    start, samples = clock.now(), 0
    for query, size in batches:
        query()
        samples += size
    return samples, clock.now() - start


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


@dataclass(frozen=True)
class HighestRate:
    """The highest rate at which a percentile of the times holds a bound.

    Attributes:
        rate: queries a second; None where not even one query at a time holds the bound.
        share: the percentile, such as 0.99.
        bound_ms: in milliseconds.
        trials: in the order in which they ran.
    """

    rate: float | None
    share: float
    bound_ms: float
    trials: tuple[Trial, ...]


def highest_rate(
    query: Query, bound_ms: float, share: float, workers: int, queries: int, clock: Clock, seed: int = 0
) -> HighestRate:
    """Finds the highest rate by halving an interval of rates.

    `queries` are those of each trial. Raises UsageError for fewer than the percentile needs.
    """
    if queries < needed(share):
        raise UsageError(
            f"a search for the highest rate must have at least {needed(share):,} queries for p{share * 100:g}, got {queries:,}; take more, or a lower percentile."
        )
    trials: list[Trial] = []

    def holds(rate: float) -> bool:
        ms = float(np.quantile(server(query, poisson(rate, queries, seed), workers, clock).ms, share))
        trials.append(Trial(rate, ms, ms <= bound_ms))
        return trials[-1].held

    alone = single(query, Enough(ALONE, 0.0, float("inf")), clock)
    low, high = 0.0, workers * alone.rate  # a guess: few queries tell it, and workers share a device
    for _ in range(STEPS):
        if not holds(high):
            break
        low, high = high, 2 * high
    for _ in range(STEPS):
        if high - low <= SETTLED * high:
            break
        rate = (low + high) / 2
        low, high = (rate, high) if holds(rate) else (low, rate)
    return HighestRate(low or None, share, bound_ms, tuple(trials))
