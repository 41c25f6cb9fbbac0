"""Occlusion: what the explained value loses when one feature is left out.

    score of a feature = f(all) - f(all but it)

One forward pass a feature, no randomness, no fit. What tokens do together is missed, or counted several times, so the scores
need not add up to anything; the residual says by how much. Spans do not overlap: a sliding window, the alternative, smears
a score over its neighbours and costs as many passes as there are tokens. Where time is short each sixteenth span comes
first, so that what was found is spread over the input.

Source: Zeiler and Fergus 2014, section 4.2; for text Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through
Representation Erasure", equation 1.
"""

from __future__ import annotations

import numpy as np

from edgexf_runtimes.explain.coalitions import ValueFunction
from edgexf_runtimes.explain.perturbation import Found, Method, Options, too_few

STRIDE = 16


def attribute(game: ValueFunction, _rows: int, _options: Options) -> Found:
    """Scores of features; those that the time did not suffice for have 0, and `reached` counts the others."""
    order = np.concatenate([np.arange(first, game.features, STRIDE) for first in range(STRIDE)])
    kept = np.ones((len(order), game.features), dtype=bool)
    kept[np.arange(len(order)), order] = False
    values = game(kept)
    if len(values) == 0:
        raise too_few("the first feature", game.rows, complete=False)
    scores = np.zeros(game.features)
    scores[order[: len(values)]] = game.whole - values
    return Found(scores, len(values) == game.features, {"reached": len(values)})


OCCLUSION = Method(
    "occlusion", attribute, takes=("budget", "span", "time_limit", "baseline"), budget=1_000, rows_per_feature=1
)
