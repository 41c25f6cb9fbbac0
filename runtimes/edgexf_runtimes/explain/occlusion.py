"""Occlusion: how much of the explained value is lost when one feature is left out.

    score of a feature = f(all) - f(all but the feature)

Occlusion takes one forward pass for each feature, without randomness or a fit. It misses what tokens do together, or
counts it several times. So the scores need not add up to the explained value; the residual is the difference.

Spans do not overlap. The alternative, a sliding window, smears a score over its neighbours and costs as many passes as
there are tokens. Every sixteenth span comes first, so that the scores spread over the input if time runs out.

Source: Zeiler and Fergus 2014, section 4.2; for text Li, Monroe and Jurafsky 2016, "Understanding Neural Networks
through Representation Erasure", equation 1.
"""

from __future__ import annotations

import numpy as np

from edgexf_runtimes.explain.coalitions import ValueFunction
from edgexf_runtimes.explain.perturbation import Found, Method, Options, too_few

STRIDE = 16


def attribute(game: ValueFunction, _rows: int, _options: Options) -> Found:
    """Scores the features. A feature that was not reached in time has the score 0; `reached` counts the others."""
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
