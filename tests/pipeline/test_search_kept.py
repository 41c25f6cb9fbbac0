"""The search for weights to keep in float32, tested on losses that simply add up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexf.pipeline.search_kept import Search


def search(losses: Sequence[float], budget: float, most: int = 1000) -> Search:
    """Makes a search over weights whose losses add up."""
    keys = [bytes([place]) for place in range(len(losses))]

    def evaluate(kept: Sequence[bytes]) -> tuple[int, float]:
        return 100 + 10 * len(kept), sum(loss for key, loss in zip(keys, losses, strict=True) if key not in kept)

    return Search(keys, lambda key: losses[key[0]], evaluate, budget, most)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40), st.integers(0, 500))
def test_it_keeps_as_few_as_the_order_of_losses_allows(losses: list[int], budget: int) -> None:
    """If losses add up, the search keeps the shortest prefix of the worst weights that meets the budget."""
    found = search(losses, budget)
    kept = found.run()
    worst = sorted(losses, reverse=True)
    fewest = next(count for count in range(len(losses) + 1) if sum(worst[count:]) <= budget)
    assert len(kept) == fewest
    assert [losses[key[0]] for key in kept] == worst[: len(kept)]


def test_a_budget_that_holds_needs_one_evaluation() -> None:
    found = search([0.1, 0.2], 1.0)
    assert found.run() == ()
    assert found.evaluations == 1


def test_the_curve_falls_and_sizes_grow() -> None:
    found = search([0.01 * place for place in range(30)], 0.5)
    found.run()
    points = sorted(found.curve, key=lambda point: point.kept)
    assert [point.bytes for point in points] == sorted(point.bytes for point in points)
    assert [point.drop for point in points] == sorted((point.drop for point in points), reverse=True)


@pytest.mark.parametrize("most", [20, 40, 96])
def test_it_stays_within_its_evaluations(most: int) -> None:
    found = search([0.01 + 0.001 * (place % 7) for place in range(200)], 0.3, most)
    kept = found.run()
    assert found.evaluations <= most
    assert found.evaluate(kept)[1] <= 0.3
