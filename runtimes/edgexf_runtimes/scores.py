"""From a classifier's logits to the scores that it gives its labels.

In: logits [..., labels]. Out: scores of the same shape, by the kind that the manifest's `scores` names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TOP = 3  # labels that a prediction lists


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Array) -> Array:
    """Probabilities of each class on its own, float64."""
    probabilities: Array = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return probabilities


SCORES: dict[str, Callable[[Array], Array]] = {"softmax": softmax, "sigmoid": sigmoid, "none": np.asarray}


def best_places(scores: Array, count: int = TOP) -> Array:
    """The places of the largest scores, best first; of equal scores the earlier place."""
    return np.argsort(-scores, kind="stable")[:count]
