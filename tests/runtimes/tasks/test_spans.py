"""The best spans beside a search over all pairs of ends."""

from __future__ import annotations

import numpy as np
import pytest

from edgexf_runtimes.tasks.spans import best_spans, no_answer


def all_pairs(
    start: np.ndarray, end: np.ndarray, allowed: np.ndarray, none_at: np.ndarray, longest: int
) -> list[tuple[float, int, int]]:
    """Every span of allowed tokens with its score, from the definition, best first."""
    among = np.flatnonzero(allowed | none_at)
    starts, ends = (np.exp(logits[among]) / np.exp(logits[among]).sum() for logits in (start, end))
    begins, finishes = dict(zip(among, starts, strict=True)), dict(zip(among, ends, strict=True))
    inside = np.flatnonzero(allowed)
    found = [
        (begins[first] * finishes[last], int(first), int(last))
        for first in inside for last in inside if first <= last < first + longest
    ]  # fmt: skip
    return sorted(found, reverse=True)


@pytest.mark.parametrize("tokens", [3, 20, 57])
@pytest.mark.parametrize("longest", [1, 5, 100])
@pytest.mark.parametrize("count", [1, 4, 10_000])
def test_the_best_spans_are_those_of_all_pairs(tokens: int, longest: int, count: int) -> None:
    chance = np.random.default_rng(tokens * longest)
    start, end = chance.standard_normal((2, tokens))
    allowed = np.arange(tokens) >= min(4, tokens - 1)
    none_at = np.arange(tokens) == 0
    found = best_spans(start, end, allowed, none_at, count, longest)
    wanted = all_pairs(start, end, allowed, none_at, longest)[:count]
    assert [(span.first, span.last) for span in found] == [(first, last) for _, first, last in wanted]
    assert [span.score for span in found] == pytest.approx([score for score, _, _ in wanted])


def test_no_answer_has_the_score_of_the_first_token() -> None:
    start, end = np.log([[0.5, 9.0, 0.25, 0.25], [0.2, 9.0, 0.4, 0.4]])
    found = no_answer(start, end, np.array([False, False, True, True]), np.array([True, False, False, False]))
    assert found == pytest.approx(0.5 * 0.2)
