"""The intervals of percentiles against tables, slow definitions and exact cases; how often they hold is in test_statistics."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from edgexf.report.latency.measured.intervals import (
    at_most,
    design_effect,
    equal_parts,
    intervals,
    of_several,
    ranks,
    student,
)


def test_students_quantiles_are_those_of_the_table() -> None:
    """Abramowitz and Stegun 1964, table 26.10."""
    assert [round(student(freedom, 0.01), 3) for freedom in (1, 2, 4, 6, 9, 30, 120)] == [
        63.657, 9.925, 4.604, 3.707, 3.250, 2.750, 2.617,
    ]  # fmt: skip


def test_the_largest_variance_is_no_less_than_that_of_the_table() -> None:
    """The freedom over the first percentile of chi-squared: 6 / 0.872, 19 / 7.633 and 99 / 69.23 (table 26.8)."""
    for parts, exact in ((7, 6.881), (20, 2.489), (100, 1.430)):
        assert exact * 0.999 <= at_most(parts, 0.01) <= 1.1 * exact
    assert at_most(2, 0.01) == np.inf


@pytest.mark.parametrize(
    ("count", "share"), [(8, 0.5), (20, 0.5), (44, 0.9), (45, 0.9), (90, 0.95), (459, 0.99), (999, 0.9)]
)
def test_ranks_hold_a_percentile_as_often_as_they_say_and_none_closer_does(count: int, share: float) -> None:
    chances = [comb(count, below) * share**below * (1 - share) ** (count - below) for below in range(count + 1)]
    places = ranks(count, share, 0.01)
    assert places is not None
    low, high = places
    assert sum(chances[low:high]) >= 0.99
    assert sum(chances[low + 1 : high - 1]) < 0.99
    assert high <= count


def test_too_few_samples_have_no_ranks() -> None:
    assert [ranks(count, share, 0.01) for count, share in ((1, 0.5), (7, 0.5), (43, 0.9), (458, 0.99))] == [None] * 4
    assert ranks(4603, 0.999, 0.01) is not None
    assert ranks(1_000_000, 0.5, 0.01) == pytest.approx((500_000 - 1288, 500_000 + 1288), abs=2)  # 2.5758 sqrt(250,000)


def test_the_design_effect_is_one_of_independent_runs_and_their_number_of_equal_ones() -> None:
    generator = np.random.default_rng(0)
    parts = np.full(200, 10)
    assert design_effect(generator.random(2000), 0.7, parts) == pytest.approx(1, abs=0.3)  # 3 sqrt(2 / 199)
    repeated = np.repeat(generator.random(200), 10)
    assert design_effect(repeated, 0.7, parts) == pytest.approx(10, rel=0.01)  # 200 / 199
    assert of_several(repeated, 0.7, parts, 0.01) == (200, 200)


def test_few_processes_count_fewer_samples_than_they_have() -> None:
    """Of 7: the square of 3.7074 / 2.5758 divides them, and where it must be sure, 6 / 0.872 or a little more."""
    likely, surely = of_several(np.ones(1400), 1.0, np.full(7, 200), 0.01)
    assert likely == int(1400 / (3.7074 / 2.5758) ** 2)
    assert 185 <= surely <= 1400 / 6.881


def test_processes_that_agree_by_chance_seldom_have_an_interval() -> None:
    """Of the 90th percentile of 10 processes that differ as much as their runs. It would be given in every fourth trial if the
    likely variance alone decided, and be wrong in one of 25.
    """
    generator, given = np.random.default_rng(0), 0
    for _ in range(200):
        times = np.exp(generator.normal(0, 0.02, (10, 1)) + generator.normal(0, 0.02, (10, 50))).ravel()
        given += intervals(times, [50] * 10, [0.9], 0.01) != [None]
    assert given <= 10


def test_a_time_that_many_samples_have_counts_on_either_side() -> None:
    """One process is slower than all others, and the percentile is the largest time of these."""
    times, parts = np.array([1.0] * 30 + [2.0] * 10), np.full(4, 10)
    assert design_effect(times, 1.0, parts) == design_effect(times, 2.0, parts) == pytest.approx(40 / 3)
    assert design_effect(np.ones(40), 1.0, parts) == 1


def test_processes_of_few_samples_count_by_their_weight() -> None:
    assert [equal_parts(np.array(some)) for some in ([10] * 7, [49, 50, 51], [1000, 1, 1], [5])] == [7, 3, 1, 1]
    times = np.random.default_rng(0).random(1040)
    assert intervals(times, [1000, *[10] * 4], [0.5, 0.9], 0.01) == [None, None]


def test_an_interval_of_processes_that_are_each_one_time_is_that_of_their_times() -> None:
    """Ranks 4 and 17 of 20."""
    times = np.repeat(np.arange(20.0), 7)
    assert intervals(times, [7] * 20, [0.5, 0.9], 0.01) == [(3.0, 16.0), None]


def test_five_to_seven_processes_have_students_interval() -> None:
    """4.604 standard errors around the mean, as each process is one time."""
    middles = np.array([10.0, 11, 12, 13, 14])
    ((low, high),) = intervals(np.repeat(middles, 9), [9] * 5, [0.5], 0.01)  # type: ignore[misc]
    assert (low, high) == pytest.approx((12 - 4.604 * np.sqrt(2.5 / 5), 12 + 4.604 * np.sqrt(2.5 / 5)), rel=1e-4)
    assert intervals(np.repeat(middles[:4], 9), [9] * 4, [0.5], 0.01) == [None]


def test_a_time_has_no_end_below_nothing_and_a_difference_has() -> None:
    middles = np.array([1.0, 1, 1, 1, 100])
    ((low, _),) = intervals(np.repeat(middles, 9), [9] * 5, [0.5], 0.01)  # type: ignore[misc]
    ((under, _),) = intervals(np.repeat(middles - 2, 9), [9] * 5, [0.5], 0.01)  # type: ignore[misc]
    assert low == 0
    assert under < -2


def test_neighbours_that_are_alike_make_the_interval_of_one_process_wider() -> None:
    generator = np.random.default_rng(0)
    steps = np.repeat(generator.random(250), 4)
    shuffled = generator.permutation(steps)
    widths = [ends[1] - ends[0] for one in (steps, shuffled) if (ends := intervals(one, [1000], [0.5], 0.01)[0])]
    assert widths[0] > 1.5 * widths[1]


def test_a_thousand_processes_of_a_million_samples_need_no_more_than_their_sorting() -> None:
    """Student's quantile and the ranks of so many are found at once."""
    times = np.random.default_rng(0).random(1_000_000)
    for ends, share in zip(intervals(times, [1000] * 1000, [0.5, 0.999], 0.01), (0.5, 0.999), strict=True):
        assert ends is not None
        assert ends[0] < share < ends[1]
