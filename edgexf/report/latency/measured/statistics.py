"""The statistics of times: what some hundred samples say, and what they don't say.

In: the times of runs, or the medians of processes, in milliseconds. Out: a `Summary` of one configuration, or a `Change`
between two.

Two decisions cast a long shadow:

- A percentile is given only where so many independent samples bound it from above with a confidence of 99 %: `needed` samples.
  The alternative, a percentile of any number of samples, is the largest sample in disguise. Samples of few processes say less:
  its interval is given only where they say it.
- Two configurations are compared by the medians of *processes*, not by runs. Runs of one process share its addresses, its
  heap and its pages, so two processes of the same bundle differ by some per cent, which no number of runs resolves. Welch's
  test was the alternative: it assumes a normal distribution of what has a long tail. The interval here is that of Hodges
  and Lehmann, from the pairwise ratios, and it excludes 1 exactly where the test of Mann and Whitney finds a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, factorial, floor, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from edgexf.report.latency.measured.intervals import Times, intervals

PERCENTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
CONFIDENCE = 0.99
EXACT_UP_TO = 50  # processes of each configuration: the orders of more take long to count, and are normal
MILD, SEVERE = (
    1.5,
    3.0,
)  # interquartile ranges beyond a quartile, of outliers (Tukey 1977, Exploratory Data Analysis, 2D)
MARGIN = 0.05  # an interval that holds 1 and lies within this share of it tells that nothing that matters changed
TRIFLE = 0.01  # a change within this share is none, however sure it is (criterion's `noise_threshold`)


def needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """The samples whose largest one is above the percentile with this confidence: 1 - p^n >= confidence.

    44 for the 90th, 90 for the 95th, 459 for the 99th and 4,603 for the 99.9th percentile.
    """
    return ceil(log(1 - confidence) / log(percentile))


@dataclass(frozen=True)
class Percentile:
    """A percentile of times in milliseconds, with its interval, see `edgexf.report.latency.measured.intervals`.

    Attributes:
        share: such as 0.95.
        ms: None where there are too few samples; `needed` says how many there must be.
        low, high: the interval of 99 %; None where `ms` is, and where there are too few processes for how they differ. Of
            one process, it is for that process alone.
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
        drift: how the last third relates to the first third, see `drift`; None for too few samples.
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


def summarize(milliseconds: Any, processes: Sequence[int] = ()) -> Summary:
    """Summarizes samples in the order in which they were measured, [count] with count >= 1, all finite.

    `processes` holds how many of them each process measured, in this order; by default one process measured all. Raises
    ValueError for others.
    """
    times, counts = np.asarray(milliseconds, dtype=np.float64), list(processes) or [np.size(milliseconds)]
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all():
        raise ValueError(f"times must be finite numbers [count], at least one, not {times.shape}")
    if min(counts) < 1 or sum(counts) != len(times):
        raise ValueError(f"processes must share the {len(times)} times, not {counts}")
    median = float(np.median(times))
    mild, severe = outliers(times)
    return Summary(
        count=len(times),
        mean=float(times.mean()),
        sd=float(times.std(ddof=1)) if len(times) > 1 else None,
        median=median,
        mad=float(np.median(np.abs(times - median))),
        percentiles=percentiles(times, counts),
        mild=mild,
        severe=severe,
        drift=drift(times, counts),
    )


def percentiles(times: Times, processes: Sequence[int]) -> tuple[Percentile, ...]:
    """Of samples in the order in which they were measured, and how many of them each process measured."""
    shares = [share for share in PERCENTILES if len(times) >= needed(share)]
    ends = (one or (None, None) for one in intervals(times, processes, shares, 1 - CONFIDENCE))
    known = [
        Percentile(share, float(ms), *both)
        for share, ms, both in zip(shares, np.quantile(times, shares), ends, strict=True)
    ]
    return (*known, *(Percentile(share, None, None, None) for share in PERCENTILES[len(known) :]))


def outliers(times: Times) -> tuple[int, int]:
    """The mild and the severe outliers by Tukey's fences."""
    first, third = np.quantile(times, [0.25, 0.75])
    distance = np.maximum(first - times, times - third)
    mild, severe = (int((distance > fence * (third - first)).sum()) for fence in (MILD, SEVERE))
    return mild - severe, severe


def drift(times: Times, processes: Sequence[int]) -> float | None:
    """The median of the last third over that of the first third: inside the processes, or from process to process where that
    is more. None where the thirds of all processes together have fewer than 3 samples.

    Inside, each sample is divided by the median of its process: otherwise two processes of different speed, which any two are,
    look like drift. From process to process, the medians must rise or fall in their order: Kendall's test at 1 % (two-sided),
    which takes at least 6 processes (Kendall 1938, A new measure of rank correlation).
    """
    parts = np.split(times, np.cumsum(processes)[:-1])
    middles = [float(np.median(part)) for part in parts]
    thirds = [(part / middle, len(part) // 3) for part, middle in zip(parts, middles, strict=True)]
    first, last = (np.concatenate(some) for some in zip(*((one[:third], one[len(one) - third :]) for one, third in thirds), strict=True))  # fmt: skip
    if len(first) < 3:
        return None
    inside, among = float(np.median(last) / np.median(first)), trend(middles)
    return max(inside, among, key=lambda ratio: abs(log(ratio)))


def trend(middles: Sequence[float]) -> float:
    """The last third of the medians of processes over the first third, where their order is no chance; else 1."""
    third = len(middles) // 3
    if not is_ordered(np.array(middles)):
        return 1.0
    return float(np.median(middles[-third:]) / np.median(middles[:third]))


def is_ordered(values: Times, level: float = 1 - CONFIDENCE) -> bool:
    """Kendall's test, two-sided: whether the values rise or fall in their order. Equal values speak for neither."""
    count = len(values)
    pairs = count * (count - 1) // 2
    balance = abs(int(np.triu(np.sign(values[None, :] - values[:, None])).sum()))
    if count > EXACT_UP_TO:
        return balance > NormalDist().inv_cdf(1 - level / 2) * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    wrong = ceil((pairs - balance) / 2)
    return 2 * sum(inversions(count)[: wrong + 1]) <= level * factorial(count)


@lru_cache(maxsize=64)
def inversions(count: int) -> tuple[int, ...]:
    """In how many orders of `count` values so many pairs stand the wrong way round, for 0 pairs and more, exact."""
    found = [1]
    for size in range(2, count + 1):
        longer = [0] * (len(found) + size - 1)
        for place, ways in enumerate(found):
            for more in range(size):
                longer[place + more] += ways
        found = longer
    return tuple(found)


@dataclass(frozen=True)
class Change:
    """How the time of a new configuration relates to that of an old one.

    Attributes:
        verdict: ``faster``, ``slower``, ``no difference``, or ``can't tell``.
        ratio: the median of the ratios of each new process to each old one.
        low, high: the interval of the ratio, of 99 % unless said otherwise; None where there are too few processes for any.
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

    ``faster`` and ``slower`` say that the interval excludes 1, and reaches further from it than `TRIFLE`; ``no
    difference``, that the whole interval lies within `margin` of 1; ``can't tell``, that it reaches from 1 to a change that
    would matter. Raises ValueError for other values.
    """
    one, other = (np.asarray(times, dtype=np.float64) for times in (old, new))
    for times in (one, other):
        if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times > 0)).all():
            raise ValueError("medians must be finite numbers above 0 [count], at least one")
    ratios = np.sort((other[None, :] / one[:, None]).reshape(-1))
    ratio = float(np.median(ratios))
    skipped = beyond(len(one), len(other), (1 - confidence) / 2)
    if skipped == 0:
        return Change("can't tell", ratio, None, None, fewest(confidence))
    low, high = float(ratios[skipped - 1]), float(ratios[-skipped])
    verdict = verdict_of(low, high, margin)
    needs = enough(min(len(one), len(other)), low, high, margin) if verdict == "can't tell" else None
    return Change(verdict, ratio, low, high, needs)


def verdict_of(low: float, high: float, margin: float) -> str:
    """What an interval of a ratio of times says."""
    reach = max(-log(low), log(high))
    if reach <= log(1 + TRIFLE):
        return "no difference"
    if high < 1:
        return "faster"
    if low > 1:
        return "slower"
    return "no difference" if reach <= log(1 + margin) else "can't tell"


def enough(have: int, low: float, high: float, margin: float) -> int:
    """The processes with which an interval around the same middle would say something: it must exclude 1, or keep within the
    margin. Its width falls with the root of their number.
    """
    middle, half = abs(log(low) + log(high)) / 2, (log(high) - log(low)) / 2
    wanted = max(middle, log(1 + margin) - middle)
    return max(ceil(have * (half / wanted) ** 2), have + 1)


def fewest(confidence: float = CONFIDENCE) -> int:
    """The processes of each of two configurations from which on there is an interval: 5 for 99 %."""
    count = 1
    while beyond(count, count, (1 - confidence) / 2) == 0:
        count += 1
    return count


def beyond(one: int, other: int, level: float) -> int:
    """How many of the sorted pairwise ratios lie outside of an interval at each end: the most for which the test of Mann
    and Whitney has at most this level (Hollander, Wolfe and Chicken 2014, Nonparametric Statistical Methods, 4.3; of many
    processes by their equation 4.44, the normal approximation).
    """
    if min(one, other) > EXACT_UP_TO:
        spread = sqrt(one * other * (one + other + 1) / 12)
        return max(floor(one * other / 2 + NormalDist().inv_cdf(level) * spread), 0)
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
