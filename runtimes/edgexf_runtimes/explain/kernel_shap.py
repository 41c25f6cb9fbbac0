"""KernelSHAP: Shapley values as the linear model that best fits the values of coalitions.

    minimise  sum over coalitions z of  k(z) (f(z) - f(nothing) - phi.z)^2      with  sum(phi) = f(all) - f(nothing)
    k(z) = (M - 1) / (C(M, s) s (M - s)),  s features of M are kept in z

Over all 2^M coalitions, this gives the exact Shapley values. If all coalitions fit into the budget, all of them run.

Otherwise, the kernel draws coalitions: first a size, with probability ~ 1 / (s (M - s)), then any set of that size.
Each coalition comes with its complement, which cancels much of the randomness. Because the kernel draws the coalitions,
the weight of a coalition is the number of times that it was drawn.

The constraint is eliminated: the last feature's score is what the other scores leave of the sum. So the constraint
holds exactly, and the residual is f(nothing). What remains is an ordinary least squares problem. numpy solves it, so no
extra is needed.

Sources: Lundberg and Lee 2017, theorem 2; Covert and Lee 2021, "Improving KernelSHAP", section 3.2 (sampling and
weights) and 4.2 (pairs).
"""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np

from edgexf_runtimes.explain.coalitions import Kept, ValueFunction, Values, r_squared
from edgexf_runtimes.explain.perturbation import Found, Method, Options, too_few

DRAWS_PER_PAIR = 20  # at most, if most draws repeat earlier ones


def attribute(game: ValueFunction, rows: int, options: Options) -> Found:
    """Scores the features. The settings hold the fit's weighted `r_squared`, and whether the values are `exact`."""
    exact = 2**game.features <= rows + 1
    chance = np.random.default_rng(options.seed)
    kept, weights = every(game.features) if exact else drawn(game.features, (rows - 1) // 2, chance)
    values = game(np.concatenate((np.zeros((1, game.features), dtype=bool), kept)))
    ran = max(len(values) - 1, 0) // 2 * 2  # whole pairs
    complete = len(values) == 1 + len(kept)
    scores = (
        fitted(kept[:ran], values[1 : 1 + ran] - values[0], weights[:ran], game.whole - values[0])
        if len(values)
        else None
    )
    if scores is None:
        raise too_few(f"pairs of coalitions that tell {game.features} features apart", game.rows, complete)
    fit = r_squared(values[1 : 1 + ran] - values[0], kept[:ran] @ scores, weights[:ran]) if ran else 1.0
    return Found(scores, complete, {"exact": exact and complete, "r_squared": round(fit, 6)})


def every(features: int) -> tuple[Kept, Values]:
    """All coalitions except the empty and the full one, each next to its complement, and k(z) of each."""
    half = np.array([(True, *rest) for rest in product((True, False), repeat=features - 1)][1:], dtype=bool)
    half = half.reshape(-1, features)
    sizes = half.sum(axis=1).tolist()
    kernel = np.array([(features - 1) / (comb(features, size) * size * (features - size)) for size in sizes])
    order = np.argsort(-kernel, kind="stable")
    return with_complements(half[order]), np.repeat(kernel[order], 2)


def drawn(features: int, pairs: int, chance: np.random.Generator) -> tuple[Kept, Values]:
    """At most `pairs` different pairs of a coalition and its complement, and how often each was drawn."""
    sizes = np.arange(1, features)
    likely = 1 / (sizes * (features - sizes))
    found: dict[bytes, int] = {}
    for size in chance.choice(sizes, DRAWS_PER_PAIR * pairs, p=likely / likely.sum()):
        coalition = np.zeros(features, dtype=bool)
        coalition[chance.choice(features, size, replace=False)] = True
        pair = (coalition if coalition[0] else ~coalition).tobytes()
        found[pair] = found.get(pair, 0) + 1
        if len(found) == pairs:
            break
    half = np.frombuffer(b"".join(found), dtype=bool).reshape(-1, features)
    return with_complements(half), np.repeat(np.array(list(found.values()), dtype=np.float64), 2)


def with_complements(half: Kept) -> Kept:
    """Each coalition followed by its complement: [2 coalitions, features]."""
    both: Kept = np.stack((half, ~half), axis=1).reshape(-1, half.shape[1])
    return both


def fitted(kept: Kept, gained: Values, weights: Values, total: float) -> Values | None:
    """The scores [features] that sum to `total` and best fit what coalitions gained. None if the coalitions do not
    determine the scores.
    """
    coalitions = kept.astype(np.float64)
    last = coalitions[:, -1:]
    root = np.sqrt(weights)
    # both equations of a pair say the same about the other features, so the rank counts pairs
    design, wanted = (coalitions[:, :-1] - last) * root[:, None], (gained - last[:, 0] * total) * root
    others, _, rank, _ = np.linalg.lstsq(design, wanted, rcond=None)
    return np.append(others, total - others.sum()) if rank == kept.shape[1] - 1 else None


KERNEL_SHAP = Method(
    "kernel-shap", attribute, takes=("seed", "budget", "time_limit", "baseline"), budget=1_000, rows_per_feature=20
)
