"""The statistics of times: what some hundred samples say, and what they don't say.

In: the times of runs, or the medians of processes, in milliseconds. Out: a `Summary` of one configuration, or a `Change`
between two.

Two decisions cast a long shadow:

- A percentile is given only where the samples bound it from above with a confidence of 99 %: `needed` samples. The
  alternative, a percentile of any number of samples, is the largest sample in disguise.
- Two configurations are compared by the medians of *processes*, not by runs. Runs of one process share its addresses, its
  heap and its pages, so two processes of the same bundle differ by some per cent, which no number of runs resolves. Welch's
  test was the alternative: it assumes a normal distribution of what has a long tail. The interval here is that of Hodges
  and Lehmann, from the pairwise ratios, and it excludes 1 exactly where the test of Mann and Whitney finds a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, log
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

PERCENTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
CONFIDENCE = 0.99
RESAMPLES = 2_000
MILD, SEVERE = (
    1.5,
    3.0,
)  # interquartile ranges beyond a quartile, of outliers (Tukey 1977, Exploratory Data Analysis, 2D)
NORMAL_MAD = 1.4826  # the standard deviation of a normal distribution over its median absolute deviation
MARGIN = 0.05  # a change of a time within this share is none


def needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """The samples whose largest one is above the percentile with this confidence: 1 - p^n >= confidence.

    44 for the 90th, 90 for the 95th, 459 for the 99th and 4,603 for the 99.9th percentile.
    """
    return ceil(log(1 - confidence) / log(percentile))


@dataclass(frozen=True)
class Percentile:
    """A percentile of times in milliseconds, with its bootstrap interval.

    Attributes:
        share: such as 0.95.
        ms: None where there are too few samples; `needed` says how many there must be.
        low, high: the interval of 99 %; None where `ms` is.
    """

    share: float
    ms: float | None
    low: float | None
    high: float | None

    @property
    def name(self) -> str:
        return f"p{self.share * 100:g}"

    def text(self) -> str:
        return f"need {needed(self.share):,}" if self.ms is None else f"{self.ms:.2f}"


@dataclass(frozen=True)
class Summary:
    """What the times of one configuration say, in milliseconds.

    Attributes:
        count: the samples.
        mean, sd, median: the usual ones; `sd` is None for one sample.
        mad: the median absolute deviation from the median, unscaled.
        percentiles: as `PERCENTILES`.
        mild, severe: the samples beyond 1.5 and 3 interquartile ranges from the quartiles, each counted once.
        drift: the median of the last third over that of the first third; None for fewer than 9 samples.
    """

    count: int
    mean: float
    sd: float | None
    median: float
    mad: float
    percentiles: tuple[Percentile, ...]
    mild: int
    severe: int
    drift: float | None

    def percentile(self, share: float) -> Percentile:
        return next(one for one in self.percentiles if one.share == share)


def summarize(milliseconds: Any, seed: int = 0) -> Summary:
    """Summarizes samples in the order in which they were measured, [count] with count >= 1, all finite.

    Raises ValueError for others.
    """
    times = np.asarray(milliseconds, dtype=np.float64)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all():
        raise ValueError(f"times must be finite numbers [count], at least one, not {times.shape}")
    median = float(np.median(times))
    mild, severe = outliers(times)
    return Summary(
        count=len(times),
        mean=float(times.mean()),
        sd=float(times.std(ddof=1)) if len(times) > 1 else None,
        median=median,
        mad=float(np.median(np.abs(times - median))),
        percentiles=percentiles(times, seed),
        mild=mild,
        severe=severe,
        drift=drift(times),
    )


def percentiles(times: Times, seed: int = 0) -> tuple[Percentile, ...]:
    shares = [share for share in PERCENTILES if len(times) >= needed(share)]
    if not shares:
        return tuple(Percentile(share, None, None, None) for share in PERCENTILES)
    found = np.quantile(times, shares)
    again = np.quantile(resampled(times, seed), shares, axis=1)
    low, high = np.quantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1)
    values = dict(zip(shares, zip(map(float, found), map(float, low), map(float, high), strict=True), strict=True))
    return tuple(Percentile(share, *values.get(share, (None, None, None))) for share in PERCENTILES)


def resampled(times: Times, seed: int) -> Times:
    """Bootstrap samples [RESAMPLES, count]. Neighbouring runs are alike, so whole blocks of count^(1/3) neighbours are
    drawn (Künsch 1989, The jackknife and the bootstrap for general stationary observations).
    """
    count = len(times)
    block = ceil(count ** (1 / 3))
    starts = np.random.default_rng(seed).integers(0, count - block + 1, (RESAMPLES, ceil(count / block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :count]
    return times[places]


def outliers(times: Times) -> tuple[int, int]:
    """The mild and the severe outliers by Tukey's fences."""
    first, third = np.quantile(times, [0.25, 0.75])
    distance = np.maximum(first - times, times - third)
    mild, severe = (int((distance > fence * (third - first)).sum()) for fence in (MILD, SEVERE))
    return mild - severe, severe


def drift(times: Times) -> float | None:
    third = len(times) // 3
    if third < 3:
        return None
    return float(np.median(times[-third:]) / np.median(times[:third]))


@dataclass(frozen=True)
class Change:
    """How the time of a new configuration relates to that of an old one.

    Attributes:
        verdict: ``faster``, ``slower``, ``no difference``, or ``can't tell``.
        ratio: the median of the ratios of each new process to each old one.
        low, high: the interval of 99 % of the ratio; None where there are too few processes for any.
        needs: for ``can't tell``, the processes of each configuration with which the interval is likely narrow enough.
    """

    verdict: str
    ratio: float
    low: float | None
    high: float | None
    needs: int | None = None

    def text(self) -> str:
        return self.verdict if self.needs is None else f"{self.verdict}; needs {self.needs} processes"


def change(old: Any, new: Any, confidence: float = CONFIDENCE, margin: float = MARGIN) -> Change:
    """Compares medians of processes, in milliseconds, [count] each with count >= 1, all above 0.

    ``no difference`` says that the whole interval lies within `margin` of 1; ``can't tell``, that the interval reaches
    from 1 to a change that would matter. Raises ValueError for other values.
    """
    one, other = (np.asarray(times, dtype=np.float64) for times in (old, new))
    for times in (one, other):
        if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times > 0)).all():
            raise ValueError("medians must be finite numbers above 0 [count], at least one")
    ratios = np.sort((other[None, :] / one[:, None]).reshape(-1))
    ratio, least = float(np.median(ratios)), fewest(confidence)
    skipped = beyond(len(one), len(other), (1 - confidence) / 2)
    if skipped == 0:
        return Change("can't tell", ratio, None, None, least)
    low, high = float(ratios[skipped - 1]), float(ratios[-skipped])
    if high < 1:
        return Change("faster", ratio, low, high)
    if low > 1:
        return Change("slower", ratio, low, high)
    reach = max(-log(low), log(high))
    if reach <= log(1 + margin):
        return Change("no difference", ratio, low, high)
    have = min(len(one), len(other))
    return Change("can't tell", ratio, low, high, max(ceil(have * (reach / log(1 + margin)) ** 2), have + 1))


def fewest(confidence: float = CONFIDENCE) -> int:
    """The processes of each of two configurations from which on there is an interval: 5 for 99 %."""
    count = 1
    while beyond(count, count, (1 - confidence) / 2) == 0:
        count += 1
    return count


def beyond(one: int, other: int, level: float) -> int:
    """How many of the sorted pairwise ratios lie outside of an interval at each end: the most for which the test of Mann
    and Whitney has at most this level (Hollander, Wolfe and Chicken 2014, Nonparametric Statistical Methods, 4.3).
    """
    counts, total, so_far = ways(one, other), comb(one + other, one), 0
    for place, count in enumerate(counts):
        so_far += count
        if so_far > level * total:
            return place
    raise AssertionError("the ways of all places sum to the total")


@lru_cache(maxsize=64)
def ways(one: int, other: int) -> tuple[int, ...]:
    """In how many orders of `one` and `other` values so many pairs stand the wrong way round, for 0 pairs and more: the
    coefficients of the Gaussian binomial, exact.
    """
    found = [1] + [0] * (one * other)
    for size in range(1, min(one, other) + 1):
        up, down = max(one, other) + size, size
        for place in range(len(found) - 1, up - 1, -1):  # times 1 - q^up
            found[place] -= found[place - up]
        for place in range(down, len(found)):  # over 1 - q^down
            found[place] += found[place - down]
    return tuple(found)
