"""The intervals of percentiles: between which times a percentile lies with a confidence such as 99 %.

In: the times of runs, and how many of them each process measured. Out: the ends of the interval, or None where the samples
cannot say it.

Runs of one process are alike, and so are neighbouring runs. So many runs say no more than fewer independent samples:

    share of the times up to the percentile, in each process -> independent samples -> ranks (binomial) -> times

- The design effect is how often the variance of this share, from its differences between processes, holds that of independent
  runs (Kish 1965, Survey Sampling, 8.2). It divides the number of samples. Few processes tell a variance badly, so the squared
  ratio of Student's quantile to the normal one divides it too (Korn and Graubard 1998, Confidence intervals for proportions
  with small expected number of positive counts estimated from survey data). Processes are independent: what is left is at
  least their number.
- The ranks are those of the binomial distribution (David and Nagaraja 2003, Order Statistics, 7.1), whatever the times are.
  The largest sample must be above the percentile. It must be so for the largest design effect that the processes allow, the
  upper end of its chi-squared interval. Otherwise measurements whose processes agree by chance would have an interval.
- No ranks bound the median of fewer than 8 processes that differ. Of 5 to 7, Student's interval of the mean of their medians
  stands in, beside that of the ranks where there is one. It takes processes to scatter about normally. Of 2 to 4 processes
  there is no interval.

One process cannot tell how processes differ: its interval is that of this process. Blocks of its neighbouring runs take the place
of processes. No interval holds a kind of process, or of run, that the measurement never met.

The bootstrap was the alternative: of few processes its intervals of 99 % held in three quarters of trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, cos, inf, pi, sin, sqrt, tan
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Interval = tuple[float, float]

FEWEST = 5  # processes, if there are several: Student's interval of fewer is too wide for any use
BY_CHANCE = 0.01  # the level of the test whether neighbouring runs are alike


def intervals(times: Times, processes: Sequence[int], shares: Sequence[float], level: float) -> list[Interval | None]:
    """The ends of the interval of each percentile, which misses the percentile with a probability of `level`.

    Args:
        times: in the order in which they were measured, [count].
        processes: how many of them each process measured, [processes].
        shares: the percentiles, from 0.5 to below 1.
    """
    ordered, parts = np.sort(times), np.array(processes, dtype=np.int64)
    if len(parts) > 1 and equal_parts(parts) < FEWEST:
        return [None for _ in shares]
    return [interval(times, ordered, parts, share, level) for share in shares]


def interval(times: Times, ordered: Times, parts: Counts, share: float, level: float) -> Interval | None:
    """Of times that are also given in ascending order, of one process or of enough."""
    at, alone = float(np.quantile(ordered, share)), len(parts) == 1
    likely, surely = of_one(times, at) if alone else of_several(times, at, parts, level)
    samples = likely if ranks(likely, share, level) else surely
    ends = by_ranks(ordered, samples, share, level) if ranks(surely, share, level) else None
    if share != 0.5 or alone or ranks(equal_parts(parts), share, level):
        return ends
    return by_middles(times, parts, ends or (at, at), level)


def of_one(times: Times, at: float) -> tuple[int, int]:
    """How many independent samples are likely to say as much about the share of times up to `at`, and how many surely do: all,
    where blocks of neighbours differ no more than by chance. These are as long as the cube root of the number of times (Künsch
    1989, The jackknife and the bootstrap for general stationary observations).
    """
    count = len(times)
    blocks = max(count // ceil(count ** (1 / 3)), 1)
    effect = design_effect(times, at, np.diff(np.arange(blocks + 1) * count // blocks))
    by_chance = 1 + NormalDist().inv_cdf(1 - BY_CHANCE) * sqrt(2 / max(blocks - 1, 1))
    likely = int(count / effect)
    return likely, count if effect <= by_chance else likely


def of_several(times: Times, at: float, parts: Counts, level: float) -> tuple[int, int]:
    """How many independent samples are likely to say as much about the share of times up to `at`, and how many surely do."""
    equal, samples = equal_parts(parts), len(times) / design_effect(times, at, parts)
    return max(int(samples / of_few(equal, level)), equal), max(int(samples / at_most(equal, level)), equal)


def equal_parts(parts: Counts) -> int:
    """How many processes of equally many samples say as much as these (Kish 1965, 11.7: the effect of weights)."""
    return round(int(parts.sum()) ** 2 / int((parts**2).sum()))


def design_effect(times: Times, at: float, parts: Counts) -> float:
    """How often the variance of the share of times up to `at`, from how it differs between parts, holds that of independent
    samples, at least 1 (Cochran 1977, Sampling Techniques, 6.3: the variance of a ratio). Times that equal `at` count once on
    either side, and the larger effect is the answer.
    """
    effects, count = [1.0], len(times)
    for below in (times < at, times <= at):
        share = float(below.mean())
        if 0 < share < 1 and len(parts) > 1:
            sums = np.add.reduceat(below, np.cumsum(parts) - parts, dtype=np.int64)
            variance = float(((sums - share * parts) ** 2).sum()) * len(parts) / (len(parts) - 1) / count**2
            effects.append(variance * count / (share * (1 - share)))
    return max(effects)


def of_few(parts: int, level: float) -> float:
    """The design effect of not knowing a variance (Korn and Graubard 1998)."""
    return (student(max(parts - 1, 1), level) / NormalDist().inv_cdf(1 - level / 2)) ** 2


def at_most(parts: int, level: float) -> float:
    """How often the variance may hold that between so many parts: by the chi-squared distribution as a cube of a normal one
    (Wilson and Hilferty 1931), which errs to the large side here.
    """
    few = 2 / (9 * max(parts - 1, 1))
    root = 1 - few + NormalDist().inv_cdf(level) * sqrt(few)
    return 1 / root**3 if root > 0 else inf


def by_ranks(ordered: Times, samples: int, share: float, level: float) -> Interval | None:
    """The times at the ranks of so many samples: each stands for several neighbours in order, and the outermost one counts."""
    places = ranks(samples, share, level)
    if places is None:
        return None
    low, high = (places[0] - 1) * len(ordered) // samples, -(-places[1] * len(ordered) // samples) - 1
    return float(ordered[low]), float(ordered[high])


def by_middles(times: Times, parts: Counts, ends: Interval, level: float) -> Interval:
    """Student's interval of the mean of the medians of processes, widened to other ends. Times above 0 have no end below."""
    middles = np.array([np.median(part) for part in np.split(times, np.cumsum(parts)[:-1])])
    mean, half = (
        float(middles.mean()),
        student(len(middles) - 1, level) * float(middles.std(ddof=1)) / sqrt(len(middles)),
    )
    low = mean - half if times.min() < 0 else max(mean - half, 0.0)
    return min(ends[0], low), max(ends[1], mean + half)


@lru_cache(maxsize=4096)
def ranks(count: int, share: float, level: float) -> tuple[int, int] | None:
    """The ranks, from 1, of the samples between which a percentile of at least 0.5 lies; None where no two samples are sure to
    be around it.

    Of `count` samples, B ~ binomial(count, share) lie below the percentile, and the sample of a rank is above it where B is
    smaller. Each tail gets half of the level. Where the largest sample needs more, the lower tail gets the rest.
    """
    first, chances = binomial(count, share)
    up_to, from_on = np.cumsum(chances), np.cumsum(chances[::-1])[::-1]
    high = min(first + int((from_on > level / 2).sum()), count)
    over = float(from_on[high - first])
    low = first + int((up_to <= min(level / 2, level - over)).sum())
    return (low, high) if over <= level and low >= 1 else None


def binomial(count: int, share: float) -> tuple[int, Times]:
    """The least number of successes that matters, and the probabilities of this and of the next numbers: 12 standard deviations
    on either side.
    """
    mean, reach = count * share, 12 * sqrt(count * share * (1 - share)) + 30
    first, last = max(int(mean - reach), 0), min(int(mean + reach), count)
    numbers = np.arange(first, last)
    ratios = np.log((count - numbers) / (numbers + 1) * share / (1 - share))
    logs = np.concatenate(([0.0], np.cumsum(ratios)))
    chances = np.exp(logs - logs.max())
    return first, chances / chances.sum()


@lru_cache(maxsize=64)
def student(freedom: int, level: float) -> float:
    """What the absolute value of Student's t exceeds with this probability, by halving (Abramowitz and Stegun 1964, 26.7.3 and
    26.7.4).
    """
    low, high = 0.0, pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if within(angle, freedom) < 1 - level else (low, angle)
    return tan(low) * sqrt(freedom)


def within(angle: float, freedom: int) -> float:
    """The probability that Student's t lies within the tangent of an angle, times the root of its degrees of freedom."""
    odd = freedom % 2
    term, total = cos(angle) if odd else 1.0, 0.0
    for place in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (place - 1) / place
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
