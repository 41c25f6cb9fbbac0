"""Scenarios against queues whose times are known, in a clock that only the answered query moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import log

import numpy as np
import pytest

from edgexf.errors import UsageError
from edgexf.report.latency.measured.statistics import summarize
from edgexf_runtimes.measure.latency.scenarios import (
    Bound,
    Enough,
    SystemClock,
    Warmed,
    highest_rate,
    multi,
    offline,
    poisson,
    server,
    single,
    warm_up,
)


class Moved:
    """A clock that waits in no time. Its queries take what `service` says, in seconds."""

    def __init__(self, service: Callable[[], float]) -> None:
        self.time, self.service = 100.0, service

    def now(self) -> float:
        return self.time

    def until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def query(self) -> None:
        self.time += self.service()


def exponential(mean: float, seed: int = 0) -> Callable[[], float]:
    generator = np.random.default_rng(seed)
    return lambda: float(generator.exponential(mean))


def test_single_times_each_query_until_it_is_enough() -> None:
    clock = Moved(lambda: 0.01)
    by_count = single(clock.query, Enough(50, 0.1, 60), clock)
    by_time = single(clock.query, Enough(5, 2, 60), clock)
    cut = single(clock.query, Enough(5_000, 2, 3), clock)
    assert [len(found.ms) for found in (by_count, by_time, cut)] == [
        50,
        pytest.approx(200, abs=1),
        pytest.approx(300, abs=1),
    ]
    assert by_count.ms == pytest.approx(10)
    assert by_count.rate == pytest.approx(100)


def test_a_warm_up_ends_when_queries_no_longer_become_faster() -> None:
    """30 slow queries, then fast ones: the middle third is no longer slow from 60 on."""
    times = iter([0.02] * 30)
    clock = Moved(lambda: next(times, 0.01))
    found = warm_up(clock.query, Enough(50, 0.1, 60), clock)
    assert found.settled
    assert 58 <= found.queries <= 62
    steady = Moved(lambda: 0.01)
    assert warm_up(steady.query, Enough(3, 0.1, 5), steady) == Warmed(10, True)
    once = Moved(lambda: 8.0)  # a query longer than the whole warm-up
    assert warm_up(once.query, Enough(3, 0.1, 5), once) == Warmed(1, False)
    falling = Moved(lambda: 1 / (falling.time - 99))
    assert warm_up(falling.query, Enough(3, 0.1, 5), falling).settled is False


def test_a_device_that_becomes_slower_has_warmed_up() -> None:
    clock = Moved(lambda: 0.01 * (clock.time - 99))
    assert warm_up(clock.query, Enough(3, 0.1, 5), clock).settled


def test_percentiles_of_an_injected_distribution_are_right() -> None:
    """10 ms, and 40 ms in 7 of 100 queries."""
    generator = np.random.default_rng(0)
    clock = Moved(lambda: 0.04 if generator.random() < 0.07 else 0.01)
    found = summarize(single(clock.query, Enough(5_000, 0, 1e9), clock).ms)
    assert [found.percentile(share).ms for share in (0.5, 0.9, 0.95, 0.99)] == pytest.approx([10, 10, 40, 40])


def test_a_drifting_device_is_seen() -> None:
    clock = Moved(lambda: 0.01 * (1 + (clock.time - 100) / 100))
    assert summarize(single(clock.query, Enough(2_000, 0, 1e9), clock).ms).drift == pytest.approx(1.14, abs=0.02)


def test_clients_share_the_queries() -> None:
    running, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2)

    def query() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(60)
        with lock:
            running -= 1

    found = multi(query, 2, Enough(2, 0, 0), SystemClock())
    assert most == 2
    assert len(found.ms) == 2


def test_an_error_of_a_client_is_raised() -> None:
    def query() -> None:
        raise UsageError("expected")

    with pytest.raises(UsageError, match="expected"):
        multi(query, 2, Enough(2, 0, 1), SystemClock())


def test_a_time_counts_from_when_the_query_was_due() -> None:
    """A query that takes 10 s delays all that come meanwhile, though each takes no time."""
    first = iter([10.0])
    clock = Moved(lambda: next(first, 0.0))
    found = server(clock.query, np.array([0.0, 1.0, 5.0, 20.0]), 1, clock)
    assert found.ms == pytest.approx([10_000, 9_000, 5_000, 0])


def test_arrivals_are_a_poisson_process() -> None:
    gaps = np.diff(poisson(50, 100_000, seed=1))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.02)  # 6 standard errors
    assert gaps.std() == pytest.approx(1 / 50, rel=0.02)
    assert poisson(100, 1_000, seed=1) == pytest.approx(poisson(50, 1_000, seed=1) / 2)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_waiting_is_that_of_the_queue(share: float) -> None:
    """M/M/1: the time in the system is exponential with the rate mu - lambda (Kleinrock 1975, section 5.12)."""
    clock = Moved(exponential(0.01))
    found = server(clock.query, poisson(60, 50_000, seed=2), 1, clock)
    assert np.quantile(found.ms, share) == pytest.approx(-log(1 - share) / (100 - 60) * 1e3, rel=0.05)


def test_the_highest_rate_is_that_of_the_queue() -> None:
    clock = Moved(exponential(0.01))
    found = highest_rate(clock.query, Bound(100, 0.9), 1, Enough(50_000, 0, 1e9), clock)
    assert found.rate == pytest.approx(100 - log(10) / 0.1, rel=0.05)
    assert all(trial.held == (trial.ms <= 100) for trial in found.trials)
    assert found.rate == max(trial.rate for trial in found.trials if trial.held)
    assert found.best is not None
    assert np.quantile(found.best.ms, 0.9) == next(trial.ms for trial in found.trials if trial.rate == found.rate)


def test_a_trial_takes_as_many_queries_as_its_seconds_hold() -> None:
    clock = Moved(lambda: 0.01)
    found = highest_rate(clock.query, Bound(20, 0.9), 1, Enough(44, 10, 1e9), clock)
    assert found.best is not None
    assert found.rate is not None
    assert len(found.best.ms) == pytest.approx(found.rate * 10, abs=1)


def test_a_bound_that_no_rate_holds_is_found_before_any_trial() -> None:
    """Halving the rate would try ever slower ones, each of which takes twice the time of the last."""
    clock = Moved(lambda: 0.01)
    found = highest_rate(clock.query, Bound(9, 0.9), 1, Enough(100, 0, 1e9), clock)
    assert (found.rate, found.trials, found.best) == (None, (), None)
    assert found.reason == "queries one after another take 10 ms"
    assert clock.time < 102


def test_a_trial_that_would_take_too_long_does_not_begin() -> None:
    """So near to the time of one query, only a very low rate holds the bound."""
    clock = Moved(lambda: 0.01)
    found = highest_rate(clock.query, Bound(10.001, 0.99), 1, Enough(459, 0, 30), clock)
    assert found.rate is None
    assert "fewer take too long to try" in found.reason
    assert all(459 / trial.rate <= 30 for trial in found.trials)
    slow = Moved(lambda: 1.0)
    found = highest_rate(slow.query, Bound(1e5, 0.99), 1, Enough(459, 0, 30), slow)
    assert found.reason == "459 queries one after another took more than 30 s"


def test_a_percentile_of_too_few_queries_is_no_search() -> None:
    clock = Moved(lambda: 0.01)
    with pytest.raises(UsageError, match="at least 459 queries for p99, got 458"):
        highest_rate(clock.query, Bound(9, 0.99), 1, Enough(458, 0, 30), clock)


@pytest.mark.parametrize("workers", [1, 2])
def test_offline_is_never_idle(workers: int) -> None:
    clock = Moved(lambda: 0.5)
    found = offline(clock.query, workers, Enough(4, 0, 60), clock)
    assert found.rate == pytest.approx(2)
    assert len(found.ms) >= 4
