"""Explanations that need the predict graph alone, so that they work for any bundle.

In: a predictor, an input and a run-time method. Out: an `Explanation`, whose scores and residual add up to the explained
value as those of an explain graph do, and whose `settings` say what the method did: its seed and budget, the forward
passes that were run (rows of a batch count singly), the features and tokens in each, and how well a fit fits.

A method scores features, which are single tokens unless the budget is too small for so many; the tokens of a wider
feature share its score equally, so that sums stay what they are. Special tokens are never left out and score 0.

What is explained is a number made of one row's outputs (`Value`); see `edgexf_runtimes.explain.target`.

`shap` and `lime` were weighed for the methods themselves. Both run all rows in one call of their own, which knows no
time limit, and bring numba and pandas, or matplotlib and scikit-image, on to a device. Ours are short: drawing coalitions,
and a linear fit, for which scikit-learn (extra `explain`) or numpy serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import EdgexfError, UsageError
from edgexf.report.explanation import Explanation
from edgexf_runtimes.explain.coalitions import Array, Outputs, Progress, ValueFunction, Values, real_places, spans

if TYPE_CHECKING:
    from edgexf_runtimes.explain.target import ExplanationTarget
    from edgexf_runtimes.inputs.baseline import Baseline
    from edgexf_runtimes.predictor import Predictor

FEWEST_ROWS, MOST_ROWS = 8, 1_000_000  # of a budget

Value = Callable[[Outputs], float]


@dataclass(frozen=True)
class Options:
    """What a caller may choose of a run-time method. UsageError for a value out of range.

    `budget` bounds the forward passes, `span` is the tokens of an occlusion, `time_limit` is in seconds, and `baseline`,
    a token's text or its id, stands in for a token that is left out.
    """

    seed: int = 0
    budget: int | None = None
    span: int = 1
    time_limit: float | None = None
    baseline: str | int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seed", 0, 2**32 - 1),
            ("budget", FEWEST_ROWS, MOST_ROWS),
            ("span", 1, MOST_ROWS),
        ):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and least <= value <= most) and not (name == "budget" and value is None):
                raise UsageError(
                    f"{name} must be a whole number of {least:,} to {most:,}, got {value!r}; choose another."
                )
        limit = self.time_limit
        if limit is not None and not (isinstance(limit, int | float) and isfinite(limit) and limit > 0):
            raise UsageError(f"time_limit must be seconds above 0, got {limit!r}; choose another.")

    def check(self, method: str, takes: Sequence[str]) -> None:
        """UsageError for an option that was chosen and that the method does not take."""
        chosen = [option.name for option in fields(self) if getattr(self, option.name) != option.default]
        wrong = [name for name in chosen if name not in takes]
        if wrong:
            known = ", ".join(takes) or "none"
            raise UsageError(
                f"options of {method} must be among its own ({known}), got {', '.join(wrong)}; leave it out."
            )


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found: a score for each feature, whether it ran all that it wanted to, and what it has to say."""

    scores: Values
    complete: bool
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A run-time method. `attribute` scores a game's features within so many rows; `takes` are its options; of a budget,
    by default `budget`, it needs `rows_per_feature`.
    """

    name: str
    attribute: Callable[[ValueFunction, int, Options], Found]
    takes: tuple[str, ...]
    budget: int
    rows_per_feature: int


def too_few(what: str, rows: int, complete: bool) -> EdgexfError:
    """The error of a time limit, or of draws that are all run, that leave nothing of use."""
    bound, more = ("budget", "a larger one, or another seed") if complete else ("time limit", "more time")
    return EdgexfError(f"a {bound} must leave room for {what}, got {rows} forward passes; give {more}.")


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method says of one row: `scores` float32 [sequence], the explained value, and the row's own `outputs`."""

    outputs: dict[str, Array]
    explained: float
    scores: npt.NDArray[np.float32]
    baseline: str
    settings: dict[str, Any]


def attribute_row(
    predictor: Predictor, method: Method, inputs: Mapping[str, Array], places: Sequence[int], replacement: Baseline,
    value_of: Callable[[Outputs], Value], options: Options, progress: Progress | None = None,
    first: str = names.INPUT_IDS, fixed: Collection[str] = (),
) -> Attribution:  # fmt: skip
    """Scores one row, whose tokens at `places`, in spans that the budget allows, are left out of the input `first`. Arrays
    that are `fixed` have no rows. `value_of` chooses from the row's own outputs what is explained, so that "the predicted
    label" stays the same one while tokens are left out. EdgexfError for a time limit that leaves nothing of use.
    """
    end = inf if options.time_limit is None else time.perf_counter() + options.time_limit
    outputs = {name: array[0] for name, array in predictor.run(**inputs).items()}
    value, budget = value_of(outputs), options.budget or method.budget
    groups = spans(places, options.span, max((budget - 1) // method.rows_per_feature, 1))
    game = ValueFunction(
        predictor.run, inputs, groups, replacement.token_id, value, value(outputs),
        over=lambda: time.perf_counter() >= end, progress=progress, first=first, fixed=fixed,
    )  # fmt: skip
    found = method.attribute(game, budget - 1, options)
    said = {**settings(method, options, budget, game, groups), "complete": found.complete, **found.settings}
    return Attribution(outputs, game.whole, shared(found.scores, groups, inputs[first][0].size), replacement.name, said)


def explain(
    predictor: Predictor,
    method: Method,
    inputs: Mapping[str, Array],
    question: ExplanationTarget,
    options: Options,
    progress: Progress | None = None,
) -> Explanation:
    """Explains what is asked of one row, which `inputs` are. UsageError for options that the method does not take,
    EdgexfError as `attribute_row`.
    """
    options.check(method.name, method.takes)
    manifest, start = predictor.manifest, time.perf_counter()
    given, (window,) = question.given, question.given.windows
    places, replacement = real_places(window.offsets), predictor.baseline(options.baseline)
    found = attribute_row(predictor, method, inputs, places, replacement, question.value, options, progress)
    ms = (time.perf_counter() - start) * 1e3
    return Explanation(
        input=given.raw.name,
        data=given.data,
        tokens=window.tokens,
        offsets=window.offsets,
        scores=found.scores,
        target=question.named(found.outputs),
        explained=found.explained,
        residual=found.explained - float(found.scores.sum(dtype=np.float64)),
        method=method.name,
        prediction=question.prediction(found.outputs, ms),
        model=manifest.name,
        model_sha256=predictor.model_sha256,
        graph_sha256=manifest.files[manifest.variants[0].file]["sha256"],
        ms=ms,
        truncated=given.truncated,
        baseline=found.baseline,
        settings=found.settings,
        position=question.position,
    )


def shared(scores: Values, groups: Sequence[Sequence[int]], length: int) -> npt.NDArray[np.float32]:
    """A score for each of `length` tokens: the tokens of a feature share its score."""
    tokens = np.zeros(length, dtype=np.float32)
    for score, places in zip(scores, groups, strict=True):
        tokens[places] = score / len(places)
    return tokens


def settings(
    method: Method, options: Options, budget: int, game: ValueFunction, groups: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """What every method says of itself; `rows` counts the row that was left whole as well."""
    chosen = {"seed": options.seed, "time_limit": options.time_limit}
    said = {name: value for name, value in chosen.items() if name in method.takes and value is not None}
    return {**said, "budget": budget, "rows": 1 + game.rows, "features": len(groups), "span": len(groups[0])}
