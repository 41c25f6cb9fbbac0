"""LIME: a linear model of what the model answers around the input; its coefficients are the scores.

    minimise  sum over coalitions z of  pi(z) (f(z) - b - w.z)^2  +  |w|^2

A coalition leaves out a number of features drawn uniformly, and which ones at random; pi(z) = exp(-D^2 / (2 width^2)) with
D the cosine distance between z and the whole input. Numbers of features, distance, kernel and penalty are those of the
authors' own package for text (lime 0.2), but for its default of the 10 best features only: every token has a score here.

Sources: Ribeiro, Singh and Guestrin 2016, "Why Should I Trust You?", equation 1 and section 3.4. The fit is
scikit-learn's `Ridge`, as in the authors' package.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgexf.errors import MissingExtraError
from edgexf_runtimes.explain.coalitions import Kept, ValueFunction, Values, distinct, r_squared
from edgexf_runtimes.explain.perturbation import Found, Method, Options, too_few

KERNEL_WIDTH = 0.25
PENALTY = 1.0


def attribute(game: ValueFunction, rows: int, options: Options) -> Found:
    """Scores of features, and the fit's `intercept` and weighted `r_squared`."""
    ridge = fitter()
    kept, counts = distinct(coalitions(game.features, rows, np.random.default_rng(options.seed)))
    values = game(kept)
    complete = len(values) == len(kept)
    if not complete and len(values) <= game.features:
        raise too_few(f"more coalitions than the {game.features} features", game.rows, complete)
    whole = np.ones((1, game.features), dtype=bool)
    ran = np.concatenate((whole, kept[: len(values)])).astype(np.float64)
    wanted = np.concatenate(([game.whole], values))
    weights = np.concatenate(([1.0], counts[: len(values)])) * closeness(ran)
    ridge.fit(ran, wanted, sample_weight=weights)
    fit = r_squared(wanted, ridge.predict(ran), weights)
    said = {"r_squared": round(fit, 6), "intercept": float(ridge.intercept_)}
    return Found(ridge.coef_, complete, said)


def fitter() -> Any:
    try:
        from sklearn.linear_model import Ridge
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "lime needs the extra `explain`, got no scikit-learn in this environment; install it with: pip install 'edgexf[explain]'."
        ) from error
    return Ridge(alpha=PENALTY)


def coalitions(features: int, rows: int, chance: np.random.Generator) -> Kept:
    """bool [rows, features]; 1 to all features are left out."""
    kept = np.ones((rows, features), dtype=bool)
    for row, left_out in zip(kept, chance.integers(1, features + 1, rows), strict=True):
        row[chance.choice(features, left_out, replace=False)] = False
    return kept


def closeness(kept: Values) -> Values:
    """pi(z) of coalitions [coalitions, features]: the cosine between z and ones is the root of the share that is kept."""
    distance = 1 - np.sqrt(kept.mean(axis=1))
    near: Values = np.exp(-(distance**2) / (2 * KERNEL_WIDTH**2))
    return near


LIME = Method("lime", attribute, takes=("seed", "budget", "time_limit", "baseline"), budget=1_000, rows_per_feature=10)
