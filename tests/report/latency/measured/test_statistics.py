"""Statistics of times against known distributions, slow definitions and counted trials."""

from __future__ import annotations

import tracemalloc
from itertools import combinations, permutations
from math import ceil, comb, log
from statistics import NormalDist

import numpy as np
import pytest

from edgexf.report.latency.changes import OF_TWO_LOOKS, further
from edgexf.report.latency.measured import statistics
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rows import Configuration, Measured
from edgexf.report.latency.measured.statistics import (
    PERCENTILES,
    Change,
    beyond,
    change,
    drift,
    enough,
    fewest,
    inversions,
    is_ordered,
    needed,
    outliers,
    percentiles,
    summarize,
    ways,
)


def test_the_samples_that_a_percentile_needs() -> None:
    assert [needed(share) for share in (0.9, 0.95, 0.99, 0.999)] == [44, 90, 459, 4603]
    for share in (0.5, 0.9, 0.99):
        assert 1 - share ** needed(share) >= 0.99 > 1 - share ** (needed(share) - 1)


@pytest.mark.parametrize("count", [1, 6, 7, 43, 44, 458, 459])
def test_a_percentile_of_too_few_samples_is_withheld(count: int) -> None:
    found = summarize(np.random.default_rng(0).lognormal(size=count))
    for one in found.percentiles:
        assert (one.ms is None) == (count < needed(one.share))
        assert ("need" in one.text()) == (one.ms is None)


def test_a_constant_has_no_spread() -> None:
    found = summarize([5.0] * 500)
    assert (found.mean, found.sd, found.median, found.mad, found.mild, found.severe) == (5, 0, 5, 0, 0, 0)
    assert found.drift == 1
    assert {(one.ms, one.low, one.high) for one in found.percentiles if one.ms is not None} == {(5.0, 5.0, 5.0)}


def test_two_modes_are_seen_by_the_percentiles() -> None:
    times = np.where(np.random.default_rng(0).random(5000) < 0.92, 10.0, 30.0)
    found = summarize(times)
    assert [found.percentile(share).ms for share in (0.5, 0.9, 0.95, 0.99)] == [10, 10, 30, 30]
    assert found.severe == int((times == 30).sum())


TRIALS = 1_000
SECOND = 0.15  # the share of runs that take half as long again, of two modes


def mixed(mode: float, spread: float, share: float) -> float:
    """A percentile of lognormal times, of which so many take half as long again, by halving."""
    low, high = 0.1, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        below = (1 - mode) * NormalDist().cdf(log(middle) / spread) + mode * NormalDist().cdf(
            log(middle / 1.5) / spread
        )
        low, high = (middle, high) if below < share else (low, middle)
    return low


@pytest.mark.parametrize("mode", [0.0, SECOND])
@pytest.mark.parametrize(
    ("count", "each", "among", "inside", "known"),
    [
        (7, 7, 0.03, 0.01, [0.5]),
        (7, 7, 0.02, 0.02, [0.5]),
        (5, 20, 0.03, 0.01, [0.5]),
        (2, 50, 0.03, 0.01, []),
        (20, 20, 0.03, 0.01, [0.5]),
        (20, 20, 0.0, 0.03, [0.5, 0.9, 0.95]),
        (1, 44, 0.0, 0.2, [0.5, 0.9]),
        (1, 90, 0.0, 0.2, [0.5, 0.9, 0.95]),
        (1, 459, 0.0, 0.2, [0.5, 0.9, 0.95, 0.99]),
        (1, 5000, 0.0, 0.2, [0.5, 0.9, 0.95, 0.99, 0.999]),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    count: int, each: int, among: float, inside: float, known: list[float], mode: float
) -> None:
    """Processes differ by `among`, the runs of one by `inside`. Of 1,000 intervals of 99 %, at most 20 may be wrong: an exact
    one has more with a probability of 0.002 (binomial). Of the `known` percentiles, nine in ten have one, and of those that
    have one no more than 2 % are wrong.
    """
    generator = np.random.default_rng(0)
    given, wrong = dict.fromkeys(PERCENTILES, 0), dict.fromkeys(PERCENTILES, 0)
    truth = {share: mixed(mode, float(np.hypot(among, inside)), share) for share in PERCENTILES}
    for _ in range(TRIALS):
        logs = generator.normal(0, among, (count, 1)) + generator.normal(0, inside, (count, each))
        times = np.exp(logs) * np.where(generator.random((count, each)) < mode, 1.5, 1)
        for one in percentiles(times.ravel(), [each] * count):
            if one.low is not None and one.high is not None:
                given[one.share] += 1
                wrong[one.share] += not one.low <= truth[one.share] <= one.high
    assert max(wrong.values()) <= 0.02 * TRIALS
    assert all(given[share] >= 0.9 * TRIALS and wrong[share] <= 0.02 * given[share] for share in known)
    assert known or not any(given.values())


def test_processes_that_are_taken_for_one_make_an_interval_too_narrow() -> None:
    """Processes differ by 3 %, the runs of one by 0.5 %: the median of all runs is as unsure as a median of processes."""
    generator, wrong = np.random.default_rng(0), {"apart": 0, "as one": 0}
    for _ in range(200):
        times = (np.exp(generator.normal(0, 0.03, 14))[:, None] * np.exp(generator.normal(0, 0.005, (14, 30)))).ravel()
        for name, counts in (("apart", [30] * 14), ("as one", [420])):
            one = percentiles(times, counts)[0]
            wrong[name] += one.low is None or one.high is None or not one.low <= 1 <= one.high
    assert wrong["apart"] <= 4
    assert wrong["as one"] > 4


def test_processes_that_differ_have_no_interval_of_what_only_many_processes_tell() -> None:
    """The 99th percentile of 10 processes of a hundred runs each, which differ as in life, is the slowest process."""
    generator = np.random.default_rng(0)
    apart = np.exp(generator.normal(0, 0.03, (10, 1)) + generator.normal(0, 0.01, (10, 100))).ravel()
    one = summarize(apart, [100] * 10).percentile(0.99)
    assert one.ms is not None
    assert one.low is one.high is None
    alike = np.exp(generator.normal(0, 0.03, 10_000))
    assert summarize(alike, [1000] * 10).percentile(0.99).low is not None


def test_a_summary_draws_the_processes_that_it_is_told() -> None:
    times = np.repeat(np.linspace(9, 11, 10), 50)  # ten processes, each of one time
    told, untold = (summarize(times, counts).percentile(0.5) for counts in ([50] * 10, [250, 250]))
    assert (told.low, told.high) == (9, 11)
    assert untold.low is untold.high is None


def test_many_samples_are_summarized_in_little_memory() -> None:
    tracemalloc.start()
    found = summarize(np.random.default_rng(0).lognormal(0, 0.1, 100_000), [5_000] * 20)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64 << 20
    one = found.percentile(0.999)
    assert one.low is not None
    assert one.high is not None
    assert one.low < np.exp(0.1 * 3.0902) < one.high


def test_drift_is_of_the_last_third() -> None:
    assert drift(np.linspace(10, 13, 300), [300]) == pytest.approx(12.5 / 10.5, rel=1e-3)
    assert drift(np.ones(8), [8]) is None
    assert drift(np.ones(8), [2, 2, 2, 2]) is None
    assert drift(np.ones(9), [3, 3, 3]) == 1


def runs_of_processes(seed: int, inside: float = 0.0, among: float = 0.0, level: float = 0.03) -> float:
    """The drift of seven processes of 7 to 21 runs that differ by 3 %, the runs of one by 1 %. `inside` is how much a process
    gets slower from its first run to its last, and `among` how much the last process is slower than the first.
    """
    generator = np.random.default_rng(seed)
    counts = generator.integers(7, 22, 7)
    parts = [
        np.exp(generator.normal(among * place / 6, level) + inside * np.linspace(0, 1, count) + generator.normal(0, 0.01, count))
        for place, count in enumerate(counts)
    ]  # fmt: skip
    found = drift(np.concatenate(parts), list(counts))
    assert found is not None
    return found


def test_processes_that_differ_do_not_drift() -> None:
    """As `validity` judges, by 5 %. The samples of all processes in a row seem to drift in every seventh trial."""
    assert summarize(np.repeat([10.0, 13.0], 50), [50, 50]).drift == 1
    assert summarize(np.repeat([10.0, 13.0], 50)).drift == 1.3
    assert sum(abs(runs_of_processes(seed) - 1) > 0.05 for seed in range(200)) <= 6


def test_a_drift_inside_processes_is_found() -> None:
    found = [runs_of_processes(seed, inside=0.12) for seed in range(100)]
    assert sum(one > 1.05 for one in found) >= 95
    assert np.median(found) == pytest.approx(
        np.exp(0.12 * 2 / 3), abs=0.02
    )  # from the middle of a third to that of another


def test_each_process_counts_in_a_drift_whatever_its_speed() -> None:
    """The fastest and the slowest of three drift. The median of all samples is of the one between them."""
    rise = np.linspace(1, 1.2, 30)
    assert drift(np.concatenate([10 * rise, np.full(30, 20.0), 30 * rise]), [30, 30, 30]) > 1.05  # type: ignore[operator]


def test_a_drift_from_process_to_process_is_found() -> None:
    found = [runs_of_processes(seed, among=-0.2, level=0.01) for seed in range(100)]
    assert sum(one < 0.95 for one in found) >= 95
    assert np.median(found) == pytest.approx(np.exp(-0.2 * 5 / 6), abs=0.03)  # two processes are a third


def test_an_order_of_processes_is_judged_exactly() -> None:
    """Of seven, one pair may stand the wrong way round: 2 (1 + 6) / 7! = 0.003, and with two pairs 0.011."""
    assert [is_ordered(np.array(values)) for values in ([1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 1, 2], [2, 1, 4, 3, 5, 6, 7])] == [True, True, False]  # fmt: skip
    assert not is_ordered(np.arange(5.0))
    assert not is_ordered(np.array([1.0, 1, 1, 1, 1, 1, 2]))
    counted = [0] * 11
    for order in permutations(range(5)):
        counted[sum(later < earlier for earlier, later in combinations(order, 2))] += 1
    assert list(inversions(5)) == counted


def test_an_order_of_many_processes_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(np.linspace(0, 1.5, 51), 1)
    normal = is_ordered(values)
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 60)
    assert normal == is_ordered(values)
    monkeypatch.undo()
    monkeypatch.setattr(statistics, "inversions", None)
    assert is_ordered(np.arange(1_000.0))
    assert not is_ordered(np.random.default_rng(0).normal(size=1_000))


def test_fences_are_tukeys() -> None:
    times = np.concatenate((np.arange(100.0), [99 + 49.5 * 2, 99 + 49.5 * 4, -49.5 * 4]))
    first, third = np.quantile(times, [0.25, 0.75])
    far = [value for value in times if max(first - value, value - third) > 1.5 * (third - first)]
    severe = [value for value in far if max(first - value, value - third) > 3 * (third - first)]
    assert outliers(times) == (len(far) - len(severe), len(severe))
    assert len(severe) == 2


@pytest.mark.parametrize("wrong", [[], [np.nan], [[1.0]], [np.inf, 1]])
def test_times_that_are_none_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="times must be"):
        summarize(wrong)
    with pytest.raises(ValueError, match="medians must be"):
        change([1.0], wrong)


@pytest.mark.parametrize("counts", [[2], [4], [3, 0], [-1, 4]])
def test_processes_that_do_not_share_the_times_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="processes must share the 3 times"):
        summarize([1.0, 2.0, 3.0], counts)


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 3), (4, 4), (5, 3), (6, 5)])
def test_orders_are_counted_as_they_are(one: int, other: int) -> None:
    counted = [0] * (one * other + 1)
    for places in combinations(range(one + other), one):
        counted[sum(place - index for index, place in enumerate(places))] += 1
    assert list(ways(one, other)) == counted
    assert sum(counted) == comb(one + other, one)


def test_the_interval_leaves_out_what_the_table_says() -> None:
    """Critical values of Mann and Whitney's U at 1 %, two-sided: none for 4, 0 for 5, 4 for 7, 16 for 10."""
    assert [beyond(count, count, 0.005) - 1 for count in (4, 5, 7, 10)] == [-1, 0, 4, 16]
    assert fewest() == 5


def test_many_processes_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The normal approximation is as good as the count of all orders, and counts nothing."""
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 60)
    exact = beyond(60, 60, 0.005)
    monkeypatch.undo()
    assert beyond(60, 60, 0.005) == pytest.approx(exact, abs=2)
    monkeypatch.setattr(statistics, "ways", None)
    assert beyond(1_000, 1_000, 0.005) == pytest.approx(466_737, abs=2)  # 500,000 - 2.5758 sqrt(2001e6 / 12)


def test_a_trifle_is_no_difference_however_sure_it_is() -> None:
    one = np.exp(np.random.default_rng(0).normal(0, 1e-4, 14))
    assert change(one, 1.005 * one).verdict == "no difference"
    assert change(one, 1.02 * one).verdict == "slower"
    assert change(one, one / 1.02).verdict == "faster"


def test_so_many_processes_are_needed_as_tell_it() -> None:
    """From 7 processes and half a width of 6 % around 1: the margin of 5 % takes (6 / 4.88)^2 times as many. Around 1.05,
    half as wide an interval excludes 1.
    """
    assert enough(7, np.exp(-0.06), np.exp(0.06), 0.05) == ceil(7 * (0.06 / log(1.05)) ** 2)
    assert enough(7, np.exp(-0.01), np.exp(0.11), 0.05) == ceil(7 * (0.06 / 0.05) ** 2)


def processes(generator: np.random.Generator, count: int, factor: float = 1.0) -> np.ndarray:
    """Medians of processes of one bundle: each has its own factor, of 0.90 to 1.05 in most of them."""
    return 20 * factor * np.exp(generator.normal(0, 0.03, count))


def compared(seed: int, factor: float) -> Change:
    """As `edgexf compare` does of bundles: 20 processes each, and up to 60 where these can't tell."""
    generator = np.random.default_rng(seed)
    old, new = processes(generator, 20), processes(generator, 20, factor)
    more = further([rows(old), rows(new)], 60)
    old = np.concatenate((old, processes(generator, more)))
    new = np.concatenate((new, processes(generator, more, factor)))
    return change(old, new, OF_TWO_LOOKS)


def rows(medians: np.ndarray) -> tuple[Measured, ...]:
    """One configuration, with a sample of each process."""
    unknown, times = Fact(None, "not here"), tuple(map(float, medians))
    return (Measured(Configuration("predict", "fp32", 8, 9), times, (1,) * len(times), 1.0, 1, unknown, unknown),)


def test_a_slower_version_is_found_and_the_same_version_is_not() -> None:
    slower = [compared(seed, 1.05).verdict for seed in range(100)]
    same = [compared(1000 + seed, 1.0).verdict for seed in range(100)]
    assert slower.count("slower") >= 95
    assert same.count("slower") + same.count("faster") <= 3


def test_too_few_processes_tell_nothing() -> None:
    found = change([1.0] * 4, [2.0] * 4)
    assert (found.verdict, found.low, found.needs) == ("can't tell", None, 5)
    assert found.text() == "can't tell; needs 5 processes"
    assert change([1.0, 1.001, 1.002, 1.003, 1.004], [2.0] * 5).verdict == "slower"
    assert change([2.0] * 5, [1.0, 1.001, 1.002, 1.003, 1.004]).verdict == "faster"
    assert change([1.0, 1.01, 1.02, 1.03, 1.04] * 2, [1.0, 1.01, 1.02, 1.03, 1.04] * 2).verdict == "no difference"
