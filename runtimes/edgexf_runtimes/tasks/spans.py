"""Finds the best answers between the start and the end logits of a window.

In: logits [tokens] of the start and of the end, and the tokens that may be in an answer. Out: `Span`s, best first.

The score of a span is the probability of its start times that of its end (Chen et al. 2017, section 3.2), both over the
tokens of the context and the class token. Scores of all spans of at most `longest` tokens fit into [longest, tokens], since
only a band of the pairs is allowed: a document of 4,096 tokens needs 0.5 MB, not 134 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf_runtimes.scores import softmax

Array = npt.NDArray[Any]
BARRED = -10_000.0  # the logit of a token that can't be in an answer, as in transformers


@dataclass(frozen=True)
class Span:
    """An answer: its first and its last token, and its score."""

    first: int
    last: int
    score: float


def best_spans(start: Array, end: Array, allowed: Array, none_at: Array, count: int, longest: int) -> list[Span]:
    """The `count` best spans of `allowed` tokens. Tokens `none_at` share the probabilities and are in no span."""
    begins, ends = (probabilities(logits, allowed | none_at) * allowed for logits in (start, end))
    tokens = len(begins)
    band = np.zeros((min(longest, tokens), tokens))
    for size in range(len(band)):
        band[size, : tokens - size] = begins[: tokens - size] * ends[size:]
    flat = band.ravel()
    most = min(count, flat.size)
    few = np.argpartition(-flat, most - 1)[:most]
    order = few[np.lexsort((few, -flat[few]))]
    found = [Span(int(place % tokens), int(place % tokens + place // tokens), float(flat[place])) for place in order]
    return [span for span in found if span.score > 0]


def no_answer(start: Array, end: Array, allowed: Array, none_at: Array) -> float:
    """The score of no answer, which models give to the first token."""
    begins, ends = (probabilities(logits, allowed | none_at) for logits in (start, end))
    return float(begins[0] * ends[0])


def probabilities(logits: Array, among: Array) -> Array:
    """The probabilities of tokens among others, float64 [tokens]."""
    return softmax(np.where(among, logits, BARRED))
