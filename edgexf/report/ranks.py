"""Ranks of scores, their correlation, and the strongest scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STRONGEST = 10  # at most so many tokens are compared


Scores = npt.NDArray[np.float64]


def ranks(values: Scores) -> Scores:
    """The ranks of the values in ascending order, from 0; equal values share the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Scores = ends - (counts + 1) / 2
    return means[group]


def spearman(one: Scores, other: Scores) -> float | None:
    """The correlation of the ranks (Spearman 1904); None if all values of one side are equal."""
    first, second = (ranks(values) - (len(values) - 1) / 2 for values in (one, other))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale else None


def strongest(scores: Scores) -> set[int]:
    """The indices of the largest |score|, at most `STRONGEST`: the first of equal scores, and never a score of 0."""
    order = np.argsort(-np.abs(scores), kind="stable")[:STRONGEST]
    return {int(place) for place in order if scores[place]}
