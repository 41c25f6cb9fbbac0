"""LIME: fits a linear model to the model's answers around the input. Its coefficients are the scores.

    minimise  sum over coalitions z of  pi(z) (f(z) - b - w.z)^2  +  |w|^2

For each coalition, the number of left-out features is drawn uniformly, and then the features at random. The weight is
pi(z) = exp(-D^2 / (2 width^2)), where D is the cosine distance between z and the whole input. The numbers of features,
the distance, the kernel and the penalty are the same as in the authors' package for text (lime 0.2). That package keeps
only the 10 best features by default; here every token has a score.

Sources: Ribeiro, Singh and Guestrin 2016, "Why Should I Trust You?", equation 1 and section 3.4. The fit is
scikit-learn's `Ridge`, as in the authors' package.
"""

from __future__ import annotations

import numpy as np

from edgexf_runtimes.explain.coalitions import Kept, ValueFunction, Values, distinct, r_squared
from edgexf_runtimes.explain.perturbation import Found, Method, Options, too_few

KERNEL_WIDTH = 0.25
PENALTY = 1.0


def attribute(game: ValueFunction, rows: int, options: Options) -> Found:
    """Scores the features. The settings hold the fit's `intercept` and weighted `r_squared`."""
    LIME.check_installed()
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=PENALTY)
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


def coalitions(features: int, rows: int, chance: np.random.Generator) -> Kept:
    """Draws coalitions, bool [rows, features]. Each leaves out 1 to all features."""
    kept = np.ones((rows, features), dtype=bool)
    for row, left_out in zip(kept, chance.integers(1, features + 1, rows), strict=True):
        row[chance.choice(features, left_out, replace=False)] = False
    return kept


def closeness(kept: Values) -> Values:
    """pi(z) of coalitions [coalitions, features]. The cosine of z and a vector of ones is the root of the share that is
    kept.
    """
    distance = 1 - np.sqrt(kept.mean(axis=1))
    near: Values = np.exp(-(distance**2) / (2 * KERNEL_WIDTH**2))
    return near


LIME = Method(
    "lime", attribute, takes=("seed", "budget", "time_limit", "baseline"), budget=1_000, rows_per_feature=10,
    needs=("sklearn", "scikit-learn"), extra="explain",
)  # fmt: skip
