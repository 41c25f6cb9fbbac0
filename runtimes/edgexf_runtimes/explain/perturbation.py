"""Explains with the predict graph alone, so that explanations work for any bundle.

In: a predictor, an input and a run-time method. Out: an `Explanation`. Its scores and residual add up to the explained
value, as with an explain graph. Its `settings` say what the method did: its seed and budget, the number of forward
passes (each row of a batch counts as one), the features and the tokens in each, and how good a fit is.

A method scores features. Each token is a feature, unless the budget is too small for so many features. Then several
tokens form one feature and share its score equally, so sums stay the same. Special tokens are never left out and have
the score 0.

The explained value is a number that is computed from one row's outputs (`Value`); see `edgexf_runtimes.explain.target`.

The packages `shap` and `lime` were weighed for the methods themselves. Each of them runs all rows in one call, which
has no time limit. They also bring numba and pandas, or matplotlib and scikit-image, to a device. The methods here are
short: they draw coalitions and fit a linear model, for which scikit-learn (extra `explain`) or numpy is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.checks import is_count, is_seconds
from edgexf.errors import EdgexfError, MissingExtraError, UsageError, quoted
from edgexf.progress import Steps
from edgexf.report.explanation import Explanation
from edgexf_runtimes.device.device import machine, now
from edgexf_runtimes.explain.coalitions import Array, Outputs, ValueFunction, Values, real_places, spans
from edgexf_runtimes.inputs.convert import is_whole
from edgexf_runtimes.inputs.preprocess import BATCH_TOKENS

if TYPE_CHECKING:
    from edgexf_runtimes.explain.target import ExplanationTarget
    from edgexf_runtimes.inputs.baseline import Baseline
    from edgexf_runtimes.predictor import Predictor

FEWEST_ROWS, MOST_ROWS = 8, 1_000_000  # limits of a budget

Value = Callable[[Outputs], float]


@dataclass(frozen=True)
class Options:
    """What a caller may choose of a run-time method. Raises UsageError for a value out of range.

    Attributes:
        seed: the seed of random draws.
        budget: the largest number of forward passes; for integrated gradients, of steps. None is the method's default.
        span: the number of adjacent tokens that occlusion leaves out together, or more if the budget is too small.
        time_limit: in seconds; None for no limit.
        baseline: the replacement for a token that is left out, by its text or its id; None is the bundle's default.
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
            if not (is_count(value, least) and value <= most) and not (name == "budget" and value is None):
                raise UsageError(
                    f"{name} must be a whole number of {least:,} to {most:,}, got {quoted(value)}; choose another."
                )
        if self.baseline is not None and not (isinstance(self.baseline, str) or is_whole(self.baseline)):
            raise UsageError(
                f"baseline must be the text of a token or its id, got {quoted(self.baseline)}; say what stands in for a token."
            )
        if self.time_limit is not None and not is_seconds(self.time_limit):
            raise UsageError(f"time_limit must be seconds above 0, got {quoted(self.time_limit)}; choose another.")

    def check(self, method: str, takes: Sequence[str]) -> None:
        """Raises UsageError for an option that was chosen and that the method does not take."""
        chosen = [option.name for option in fields(self) if getattr(self, option.name) != option.default]
        wrong = [name for name in chosen if name not in takes]
        if wrong:
            known = ", ".join(takes) or "none"
            raise UsageError(
                f"options of {method} must be among its own ({known}), got {', '.join(wrong)}; leave it out."
            )


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found.

    Attributes:
        scores: a score for each feature.
        complete: whether the method ran everything that it planned.
        settings: what the method adds to the settings of an `Explanation`.
    """

    scores: Values
    complete: bool
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A run-time method.

    Attributes:
        name: the name that callers use.
        attribute: scores the features of a `ValueFunction` within a number of rows.
        takes: the names of the `Options` that the method takes.
        budget: the default budget, in forward passes.
        rows_per_feature: the forward passes that the method needs for each feature.
        needs: the package that the method imports, by the name in Python and the name at the registry; None for none.
        extra: the extra of edgexf that installs the package.
    """

    name: str
    attribute: Callable[[ValueFunction, int, Options], Found]
    takes: tuple[str, ...]
    budget: int
    rows_per_feature: int
    needs: tuple[str, str] | None = None
    extra: str = ""

    @property
    def installed(self) -> bool:
        """Whether Python finds the package that the method imports."""
        return self.needs is None or find_spec(self.needs[0]) is not None

    def check_installed(self) -> None:
        """Raises MissingExtraError, which names the extra, if the method's package is not installed."""
        if self.needs is not None and not self.installed:
            raise MissingExtraError(
                f"{self.name} needs the extra `{self.extra}`, got no {self.needs[1]} in this environment; install it with: pip install 'edgexf[{self.extra}]'."
            )


def too_few(what: str, rows: int, complete: bool) -> EdgexfError:
    """The error for too few forward passes. The budget is the reason if the run is `complete`, else the time limit."""
    bound, more = ("budget", "a larger one, or another seed") if complete else ("time limit", "more time")
    return EdgexfError(f"a {bound} must leave room for {what}, got {rows} forward passes; give {more}.")


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method says about one row.

    Attributes:
        outputs: the outputs of the unchanged row.
        explained: the explained value.
        scores: float32 [sequence].
        baseline: the name of the replacement.
        settings: what the method did.
    """

    outputs: dict[str, Array]
    explained: float
    scores: npt.NDArray[np.float32]
    baseline: str
    settings: dict[str, Any]


def attribute_row(
    predictor: Predictor, method: Method, inputs: Mapping[str, Array], places: Sequence[int], replacement: Baseline,
    value_of: Callable[[Outputs], Value], options: Options, progress: Steps | None = None,
    first: str = names.INPUT_IDS, fixed: Collection[str] = (),
) -> Attribution:  # fmt: skip
    """Scores the tokens of one row at `places`. It leaves them out of the input `first`, in spans that the budget
    allows.

    Arrays that are `fixed` have no rows. `value_of` chooses what is explained from the outputs of the unchanged row, so
    "the predicted label" stays the same label while tokens are left out. Raises EdgexfError if the time limit leaves
    too little to score.
    """
    end = inf if options.time_limit is None else time.perf_counter() + options.time_limit
    outputs = {name: array[0] for name, array in predictor.run(inputs).items()}
    value, budget = value_of(outputs), options.budget or method.budget
    groups = spans(places, options.span, max((budget - 1) // method.rows_per_feature, 1))
    size = sum(array.nbytes for array in inputs.values())
    together = min(predictor.most_rows(size), max(BATCH_TOKENS // inputs[first][0].size, 1))
    game = ValueFunction(
        predictor.run, inputs, groups, replacement.token_id, value, value(outputs),
        over=lambda: time.perf_counter() >= end, progress=progress, together=together, first=first,
        fixed=fixed,
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
    progress: Steps | None = None,
) -> Explanation:
    """Explains the `question` about one row, whose arrays are `inputs`.

    Raises UsageError for options that the method does not take, and EdgexfError as `attribute_row` does.
    """
    options.check(method.name, method.takes)
    manifest, start = predictor.manifest, time.perf_counter()
    given, (window,) = question.given, question.given.windows
    replacement, places = predictor.baseline(options.baseline), real_places(window.offsets)
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
        date=now(),
        machine=machine(),
    )


def shared(scores: Values, groups: Sequence[Sequence[int]], length: int) -> npt.NDArray[np.float32]:
    """A score for each of `length` tokens. The tokens of a feature share its score."""
    tokens = np.zeros(length, dtype=np.float32)
    for score, places in zip(scores, groups, strict=True):
        tokens[places] = score / len(places)
    return tokens


def settings(
    method: Method, options: Options, budget: int, game: ValueFunction, groups: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """The settings of every method. `rows` also counts the row in which no token is left out."""
    chosen = {"seed": options.seed, "time_limit": options.time_limit}
    said = {name: value for name, value in chosen.items() if name in method.takes and value is not None}
    return {**said, "budget": budget, "rows": 1 + game.rows, "features": len(groups), "span": len(groups[0])}
