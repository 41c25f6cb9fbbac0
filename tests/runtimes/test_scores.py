"""The best of many scores, beside a stable sort of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgexf_runtimes.scores import best_places

CHANCE = np.random.default_rng(0)
SIZE = 3000


@pytest.mark.parametrize("count", [1, 3, 5, 29, 30, SIZE, SIZE + 1])
@pytest.mark.parametrize("nans", [0, 2, SIZE])
@pytest.mark.parametrize("levels", [4, 40, 10**9])  # few levels: most scores are equal to others
def test_the_best_are_those_of_a_stable_sort(count: int, nans: int, levels: int) -> None:
    scores = CHANCE.integers(0, levels, SIZE).astype(np.float32)
    scores[CHANCE.permutation(SIZE)[:nans]] = np.nan
    wanted = sorted(range(SIZE), key=lambda place: (np.isnan(scores[place]), -np.nan_to_num(scores[place]), place))
    assert best_places(scores, count).tolist() == wanted[:count]


def test_infinite_scores_are_ordered_too() -> None:
    scores = np.zeros(SIZE, np.float32)
    scores[[7, 400]], scores[[3, 9]] = np.inf, -np.inf
    assert best_places(scores, 4).tolist() == [7, 400, 0, 1]
    assert not {3, 9} & set(best_places(scores, SIZE - 2).tolist())
