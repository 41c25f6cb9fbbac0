"""Run-time methods on arrays: the effect of leaving out a token, for every head of modules that read no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Kept

import edgexf
from edgexf.errors import EdgexfError, InputError, UsageError
from edgexf_runtimes import Session, attribute

VOCABULARY, CLASSES, BASELINE = 30, 4, 0
ROUNDING = 1e-5  # float32 sums, relative to the scale
METHODS = ("occlusion", "lime", "kernel-shap")
TABLE = np.random.default_rng(0).normal(size=(VOCABULARY, CLASSES)).astype(np.float32)  # the embedding of every module
Array = np.ndarray[Any, Any]


def opened(kind: str, kept: Kept) -> Session:
    """Opens a module of `bags.KINDS`."""

    def export(path: Path) -> None:
        import bags  # it needs torch

        bags.export(kind, TABLE, path)

    return edgexf.load(kept(f"arrays-{kind}", export))


def summed(ids: Array) -> Array:
    """Returns the logits of a `bags.Bag`."""
    found: Array = TABLE[ids].sum(axis=-2)
    return found


def passed(ids: Array) -> Array:
    """Returns what `bags.Ends` and `bags.Vectors` compute at each token."""
    return np.tanh(TABLE[ids].cumsum(axis=1))


def random_ids(*shape: int) -> Array:
    return np.random.default_rng(1).integers(1, VOCABULARY, shape)


def left_out(value: Callable[[Array], Array], given: Array) -> Array:
    """Returns the contribution of each token, computed with the definition, one sample after the other."""
    found = np.zeros(given.shape, dtype=np.float64)
    whole = value(given)
    for place in np.ndindex(given.shape):
        other = given.copy()
        other[place] = BASELINE
        found[place] = (whole - value(other))[place[0]]
    return found


def close(found: Array, wanted: Array) -> bool:
    return bool(np.abs(found - wanted).max() <= ROUNDING * max(np.abs(wanted).max(), 1))


@pytest.fixture(scope="module")
def bag(kept: Kept) -> Iterator[Session]:
    with opened("bag", kept) as session:
        yield session


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_what_the_tokens_of_a_sum_are_worth(bag: Session, method: str) -> None:
    """The methods run all coalitions of seven tokens. LIME is exact except for its ridge penalty."""
    given, target = random_ids(2, 7), np.array([[0, 1, 0, -1], [0, 0, 0, 0]], dtype=np.float32)
    weights = np.stack([target[0], np.eye(CLASSES)[summed(given)[1].argmax()]])
    worth = ((TABLE[given] - TABLE[BASELINE]) * weights[:, None]).sum(axis=-1)
    found = attribute(bag, method, {"ids": given}, {"target": target}, baseline=BASELINE)
    assert np.abs(found["relevance"] - worth).max() <= (0.1 if method == "lime" else ROUNDING) * np.abs(worth).max()
    assert close(found["relevance"].sum(axis=1) + found["residual"], (summed(given) * weights).sum(axis=-1))
    assert set(found) == {"logits", "relevance", "residual"}


def test_a_choice_is_explained_among_the_others(kept: Kept) -> None:
    def chosen(ids: Array) -> Array:
        found: Array = np.tanh(summed(ids)).sum(axis=-1)
        return found

    given = random_ids(2, 3, 5)
    best = chosen(given).argmax(axis=-1)
    with opened("choose", kept) as session:
        ask = partial(attribute, session, "occlusion", {"ids": given}, baseline=BASELINE)
        found, second = ask(), ask({"target": np.eye(3)[[1, 1]]})
    assert close(found["relevance"], left_out(lambda other: chosen(other)[[0, 1], best], given))
    assert close(second["relevance"], left_out(lambda other: chosen(other)[:, 1], given))
    assert not second["relevance"][:, 0].any()


def test_a_token_is_explained_at_its_position_and_padding_is_nothing(kept: Kept) -> None:
    given, mask = random_ids(2, 6), np.array([[1] * 6, [1, 1, 1, 1, 0, 0]])
    arrays = {"ids": given, "attention_mask": mask}
    with opened("tag", kept) as session:
        found = attribute(
            session, "occlusion", arrays, {"position": [4, 2], "target": np.eye(4)[[3, 1]]}, baseline=BASELINE
        )
        with pytest.raises(UsageError, match="position"):
            attribute(session, "occlusion", arrays, baseline=BASELINE)
        with pytest.raises(InputError, match="position"):
            attribute(session, "occlusion", arrays, {"position": [4, 5]}, baseline=BASELINE)

    def value(other: Array) -> Array:
        logits = np.tanh((TABLE[other] * mask[..., None]).cumsum(axis=1))
        return np.stack([logits[0, 4, 3], logits[1, 2, 1]])

    assert close(found["relevance"], left_out(value, given))
    assert not found["relevance"][:, 5].any()  # a token behind both positions, and padding


def test_a_sample_that_is_padding_alone_is_named(kept: Kept) -> None:
    arrays = {"ids": random_ids(2, 8), "attention_mask": np.array([[1] * 8, [0] * 8])}
    with opened("sum", kept) as session:
        for method in METHODS:
            with pytest.raises(InputError, match="a mask that shows none"):
                attribute(session, method, arrays, baseline=BASELINE)


def test_an_answer_is_explained_by_its_ends(kept: Kept) -> None:
    given = random_ids(2, 6)
    start = np.zeros((2, 6), dtype=np.float32)
    start[0, 2] = 1
    with opened("ends", kept) as session:
        found = attribute(session, "occlusion", {"ids": given}, {"target_start": start}, baseline=BASELINE)
    best_start, best_end = passed(given)[1, :, :2].argmax(axis=0)

    def value(other: Array) -> Array:
        logits = passed(other)
        return np.stack([logits[0, 2, 0], logits[1, best_start, 0] + logits[1, best_end, 1]])

    assert close(found["relevance"], left_out(value, given))


def test_a_vector_is_explained_by_what_it_is_similar_to(kept: Kept) -> None:
    given = random_ids(2, 6)
    direction = np.array([[1.0, -2, 0.5, 0], [0, 0, 0, 0]], dtype=np.float32)
    with opened("vectors", kept) as session:
        found = attribute(session, "occlusion", {"ids": given}, {"target": direction}, baseline=BASELINE)
    own = passed(given).mean(axis=1)[1]

    def value(other: Array) -> Array:
        asked, vector = passed(other).mean(axis=1)
        cosine = asked @ direction[0] / (np.linalg.norm(asked) * np.linalg.norm(direction[0]))
        return np.stack([cosine, vector @ own / (own @ own)])

    assert close(found["relevance"], left_out(value, given))


def test_wrong_choices_are_named(bag: Session) -> None:
    given = {"ids": random_ids(1, 5)}
    wrong: list[tuple[Any, ...]] = [
        ("gradient", {}, {"baseline": BASELINE}, "occlusion, lime, kernel-shap"),
        ("occlusion", {}, {}, "baseline"),
        ("occlusion", {}, {"baseline": VOCABULARY}, "baseline"),
        ("occlusion", {"position": [0]}, {"baseline": BASELINE}, "position"),
        ("occlusion", {"target": np.zeros((2, CLASSES))}, {"baseline": BASELINE}, "target"),
        ("lime", {}, {"baseline": BASELINE, "span": 2}, "span"),
    ]
    for method, targets, options, word in wrong:
        with pytest.raises(EdgexfError, match=word):
            attribute(bag, method, given, targets, **options)
