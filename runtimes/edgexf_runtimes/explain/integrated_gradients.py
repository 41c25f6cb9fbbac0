"""Integrated gradients on a device: refines the path until the scores are complete.

In: a function that runs the explain graph of integrated gradients, and the arrays of one row that it takes. Out: the
graph's outputs for a path with enough steps that |f(x) - f(b) - sum of scores| <= 5 % of |f(x) - f(b)|. If the budget or
the time limit does not allow so many steps, the path is the longest that they allow.

    T(2n) = (T(n) + M(n)) / 2       the trapezoidal rule: 2n steps are the mean of n steps and of the n midpoints

So no point is run twice. Points run together as long as a run holds about `PATH_TOKENS` tokens. Each run also predicts
the input, so the first path has `FIRST_STEPS` steps and not one.

Source: Sundararajan et al. 2017, section 5 (20 to 300 steps, within 5 %).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import UsageError
from edgexf.progress import Steps

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]  # the explain graph, from arrays of a row to its outputs
COMPLETE = 0.05
PATH_TOKENS = 8_192  # in one run, which keeps their activations; twice as many are at most 7 % faster
FIRST_STEPS = 4
MOST_STEPS = 256
TINY = 1e-12


class Path:
    """The path of one row from the baseline to the input: what the graph answers at points of it.

    Attributes:
        found: the outputs of the last run.
        rows: the number of rows that were run.
        together: the number of points in one run.
    """

    def __init__(self, run: Run, feeds: Mapping[str, Array]) -> None:
        self.run, self.feeds = run, dict(feeds)
        self.together = max(round(PATH_TOKENS / math.prod(self.feeds[names.BASELINE].shape[1:])), 1)
        self.rows = 0
        self.found: dict[str, Array] = {}

    def at(self, points: Array) -> tuple[Array, Array]:
        """The mean of the scores at these points, float64 [1, sequence], and the explained value at each point."""
        total: Any = 0.0
        values = []
        for start in range(0, len(points), self.together):
            part = points[start : start + self.together].astype(np.float32)
            self.found = self.run({**self.feeds, names.PATH: part})
            self.rows += 1 + len(part)
            total = total + self.found[names.RELEVANCE].astype(np.float64) * len(part)
            values.append(self.found[names.PATH_VALUES][0])
        scores: Array = total / len(points)
        return scores, np.concatenate(values)

    @property
    def value(self) -> float:
        """The explained value at the input."""
        return float(self.found[names.RESIDUAL][0] + self.found[names.RELEVANCE].sum(dtype=np.float64))


def integrate(
    run: Run,
    feeds: Mapping[str, Array],
    budget: int | None = None,
    time_limit: float | None = None,
    progress: Steps | None = None,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The graph's outputs with the scores and residual of the finest path, and the settings for an `Explanation`.

    `feeds` are the arrays of one row that `run` takes beside the path, the baseline among them. `budget` limits the steps,
    by default to `MOST_STEPS`. `time_limit` is in seconds. Raises UsageError for a budget below 1.
    """
    most, end = MOST_STEPS if budget is None else budget, time.perf_counter() + (time_limit or float("inf"))
    if most < 1:
        raise UsageError(f"budget must be at least 1 step of the path, got {budget}; choose more.")
    path, steps = Path(run, feeds), min(FIRST_STEPS, most)
    scores, ends = path.at(np.array([0.0, 1.0]))
    if steps > 1:
        inner, _ = path.at(np.arange(1, steps) / steps)
        scores = (scores + (steps - 1) * inner) / steps
    change = path.value - float(ends[0])
    while (missing := missed(change, scores)) > COMPLETE and 2 * steps <= most and time.perf_counter() < end:
        midpoints, _ = path.at((np.arange(steps) + 0.5) / steps)
        scores = (scores + midpoints) / 2
        steps *= 2
        if progress is not None:
            progress(steps, most)
    outputs = {
        **path.found,
        names.RELEVANCE: scores.astype(np.float32),
        names.RESIDUAL: np.array([path.value - scores.sum()], dtype=np.float32),
    }
    return outputs, {
        "steps": steps,
        "rows": path.rows,
        "completeness": round(missing, 6),
        "complete": missing <= COMPLETE,
    }


def missed(change: float, scores: Array) -> float:
    """The distance between the sum of the scores and the value's change, as a share of the change."""
    return abs(change - float(scores.sum())) / max(abs(change), TINY)
