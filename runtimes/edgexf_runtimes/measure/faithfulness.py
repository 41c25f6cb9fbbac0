"""Deletion curves: does the model lose its answer when the tokens that an explanation calls relevant are left out?

In: a session, inputs, and explanation methods. Out: a `Faithfulness`, whose table has one row for each method.

    MoRF(s): the explained label's value when the share s of the tokens is left out, most relevant first
    LeRF(s): the same, least relevant first
    area   = integral over s of LeRF(s) - MoRF(s), by the trapezoid rule        (one number for each input)

A faithful explanation loses the value early if the most relevant tokens go first, and keeps it if the least relevant
tokens go first. So a large area is good. A random order, the control ``random``, has an area of 0 on average. Sources:
Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned", section III (MoRF and
LeRF); Achtibat et al. 2024, "AttnLRP", section 4.1, which compares methods for transformers by the area between the two
curves.

The label is the one that the model predicts. A curve asks whether the explanation fits the model, not whether the model
is right.

A token is left out by putting another token in its place. Two alternatives were weighed. Taking the token out of the
row shifts all tokens behind it, and then the shift changes the answer. Hiding the token in the attention mask
breaks the graph's contract, in which padding stands only behind the real tokens.

Intervals are percentile bootstraps of the mean (Efron and Tibshirani 1993, chapter 13). Two methods are compared by the
differences on the same inputs, which is far sharper than comparing their two intervals.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import UsageError, quoted
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.explain.coalitions import real_places
from edgexf_runtimes.explain.methods import find
from edgexf_runtimes.inputs.labelled import Labelled
from edgexf_runtimes.inputs.preprocess import BATCH_TOKENS, Raw
from edgexf_runtimes.scores import SCORES
from edgexf_runtimes.session import Session

Array = npt.NDArray[Any]
Advance = Callable[[int], None]

RANDOM = "random"  # the control: an order that knows nothing
FOLLOWED = ("logit", "score")
SCHEMA_VERSION = 2  # of the JSON of curves
STEPS = 10
FEWEST = 2  # inputs: fewer have no spread
DRAWS = 10_000  # samples of a bootstrap
DRAWN_AT_ONCE = 1 << 22  # values: limits the memory of a bootstrap


@dataclass(frozen=True)
class Curves:
    """The curves of one input under one method.

    Attributes:
        most_first: the explained value at each step, most relevant tokens first.
        least_first: the same, least relevant tokens first.
        passes: the cost of the method, in predictions of the same input. For a run-time method, the predictions that it
            ran. For a compiled method, its time divided by the time of a prediction just before it. 0 for the control.
    """

    most_first: tuple[float, ...]
    least_first: tuple[float, ...]
    passes: float

    @property
    def area(self) -> float:
        """The integral of least_first - most_first over the share of tokens left out."""
        gap = np.subtract(self.least_first, self.most_first)
        return float((gap.sum() - (gap[0] + gap[-1]) / 2) / (len(gap) - 1))


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of `values` and the 2.5th and 97.5th percentile of the means of `DRAWS` samples of them."""
    given, chance = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    at_once = max(DRAWN_AT_ONCE // len(given), 1)
    means = [
        given[chance.integers(0, len(given), (min(at_once, DRAWS - start), len(given)))].mean(axis=1)
        for start in range(0, DRAWS, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Estimate(float(given.mean()), float(low), float(high))


@dataclass(frozen=True)
class Measured:
    """One method over all its inputs.

    Attributes:
        areas: the area of each input.
        most_first: the mean of the curves at each step, most relevant tokens first.
        least_first: the same, least relevant tokens first.
        passes: the median cost over the inputs.
    """

    areas: tuple[float, ...]
    most_first: tuple[float, ...]
    least_first: tuple[float, ...]
    passes: float

    @classmethod
    def of(cls, curves: Sequence[Curves]) -> Self:
        most, least = np.mean([[curve.most_first, curve.least_first] for curve in curves], axis=0).tolist()
        passes = float(np.median([curve.passes for curve in curves]))
        return cls(tuple(curve.area for curve in curves), tuple(most), tuple(least), passes)


@dataclass(frozen=True)
class Faithfulness:
    """The result of an evaluation, by method. A method that ran on fewer inputs than another ran on the first of them.

    Attributes:
        model: the name of the model.
        follow: ``logit`` or ``score``: the value that the curves follow.
        baseline: the name of the replacement for a token that is left out.
        seed: the seed of random draws.
        right: the share of labelled inputs that the model answers with their label; None if no input has a label.
        methods: the measured figures, by the name of the method.
    """

    model: str
    follow: str
    baseline: str
    seed: int
    right: float | None
    methods: Mapping[str, Measured]

    def area(self, method: str) -> Estimate:
        """The mean area of a method over its inputs."""
        return estimate(self.methods[method].areas, self.seed)

    def difference(self, method: str, other: str) -> Estimate:
        """How much larger the area of `method` is than the area of `other`, input by input."""
        pairs = zip(self.methods[method].areas, self.methods[other].areas, strict=False)
        return estimate([one - another for one, another in pairs], self.seed)

    def table(self, against: Sequence[str] = (RANDOM,)) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The header and the rows, largest area first. Each method is compared with the methods `against`."""
        others = [other for other in against if other in self.methods]
        minus = (f"minus {other}" for other in others)
        header = ("method", "inputs", f"area, {self.follow}", *minus, "cost, passes")
        rows = []
        for method in sorted(self.methods, key=lambda name: -self.area(name).mean):
            found = self.methods[method]
            differences = ("-" if method == other else str(self.difference(method, other)) for other in others)
            cost = "-" if method == RANDOM else f"{found.passes:,.1f}"
            rows.append((method, str(len(found.areas)), str(self.area(method)), *differences, cost))
        return header, rows

    def legend(self) -> str:
        """What the table's numbers mean, and how often the model is right."""
        right = "" if self.right is None else f"; {self.right:.1%} of the labels are answered"
        return (
            f"area: {self.follow} lost when the most relevant tokens go first, over the least relevant first; mean [95 %]\n"
            f"tokens left out are {self.baseline}; cost in predictions of one input{right}"
        )

    def to_dict(self) -> dict[str, Any]:
        estimates = {
            method: {"area": asdict(self.area(method)), "minus_random": asdict(self.difference(method, RANDOM))}
            for method in self.methods
        }
        return {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "methods": {method: {**asdict(found), **estimates[method]} for method, found in self.methods.items()},
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def to_markdown(self, against: Sequence[str] = (RANDOM,)) -> str:
        return markdown_table(*self.table(against))


@dataclass(frozen=True, eq=False)
class Subject:
    """An input whose tokens can be left out.

    Attributes:
        session: the model.
        raw: the input as it was read.
        truncate: reads only the beginning of a text that is too long.
        arrays: the graph's inputs for this input alone.
        places: the indices of the tokens that stand for something in the input.
        column: the column of the predicted label.
        replacement: the id that replaces a token that is left out.
        follow: ``logit`` or ``score``: the value that is read from an answer.
    """

    session: Session
    raw: Raw
    truncate: bool
    arrays: Mapping[str, Array]
    places: Array
    column: int
    replacement: int
    follow: str

    @property
    def label(self) -> str:
        return self.session.manifest.labels[self.column]

    def values(self, kept: Array) -> Array:
        """The explained value, float64 [rows]. `kept`, bool [rows, tokens], says which tokens stay."""
        ids = np.where(kept, self.arrays[names.INPUT_IDS], self.replacement)
        size = sum(array.nbytes for array in self.arrays.values())
        at_once = min(self.session.most_rows(size), max(BATCH_TOKENS // ids.shape[1], 1))
        found = [self._logits(ids[start : start + at_once]) for start in range(0, len(ids), at_once)]
        logits = np.concatenate(found)
        scores = logits if self.follow == "logit" else SCORES[self.session.manifest.scores](logits)
        return scores[:, self.column].astype(np.float64)

    def _logits(self, ids: Array) -> Array:
        rest = {name: np.repeat(array, len(ids), axis=0) for name, array in self.arrays.items()}
        return self.session.run({**rest, names.INPUT_IDS: ids})[names.LOGITS]


def subject(session: Session, given: Labelled, replacement: int, follow: str, truncate: bool = False) -> Subject:
    """Prepares an input for the curves. Raises InputError if the input can't be read or has no token to leave out."""
    prepared = session.prepare(given.source, truncate)
    places = np.array(real_places(prepared.windows[0].offsets))
    arrays = session.encode([prepared.raw], truncate)
    column = int(session.run(arrays)[names.LOGITS][0].argmax())
    return Subject(session, prepared.raw, truncate, arrays, places, column, replacement, follow)


def follow_orders(about: Subject, scores: Array, steps: int, chance: np.random.Generator) -> tuple[Array, Array]:
    """The explained value at each of `steps` + 1 shares, most relevant first and least relevant first.

    `scores` [tokens] are raw relevance. Equal scores are ordered at random: an explanation that says nothing must not
    gain from the order of the tokens.
    """
    places = about.places
    order = places[np.lexsort((chance.random(len(places)), -scores[places]))]  # most relevant first
    counts = np.rint(np.linspace(0, len(order), steps + 1)).astype(int)
    kept = np.ones((2, steps + 1, len(scores)), dtype=bool)
    for step, count in enumerate(counts):
        kept[0, step, order[:count]] = False
        kept[1, step, order[len(order) - count :]] = False
    inner = kept[:, 1:-1].reshape(-1, len(scores))  # at both ends the two orders agree
    found = about.values(np.concatenate((kept[0, :1], inner, kept[0, -1:])))
    most, least = (np.concatenate((found[:1], half, found[-1:])) for half in found[1:-1].reshape(2, -1))
    return most, least


def measure_one(
    about: Subject, method: str, steps: int, chance: np.random.Generator, options: Mapping[str, Any] | None = None
) -> Curves:
    """The curves of one input under one method with its `options`, or under the control."""
    scores: Array = np.zeros(len(about.arrays[names.INPUT_IDS][0]))
    passes = 0.0
    if method != RANDOM:
        start = time.perf_counter()
        about.session.run(about.arrays)
        predict_ms = (time.perf_counter() - start) * 1e3
        why = about.session.explain(about.raw, about.label, method, about.truncate, **(options or {}))
        scores = why.scores
        passes = why.ms / predict_ms if find(method) is None else float(why.settings["rows"])
    most, least = follow_orders(about, scores, steps, chance)
    return Curves(tuple(most.tolist()), tuple(least.tolist()), passes)


def measure(
    session: Session,
    inputs: Sequence[Labelled],
    methods: Sequence[str] = (),
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    baseline: str | int | None = None,
    follow: str = "logit",
    steps: int = STEPS,
    seed: int = 0,
    truncate: bool = False,
    advance: Advance = lambda _: None,
) -> Faithfulness:
    """The curves of `methods` and of the control over `inputs`. By default, `methods` are all that the bundle holds.

    `options` are the options of run-time methods, by method. `baseline` is the replacement for a token in the curves;
    see `Session.baseline`. `advance` is called after each input under each method.

    Raises UsageError for a model that does not classify and for wrong choices, and InputError for an input that can't
    be read.
    """
    check(session, inputs, follow, steps)
    replacement = session.baseline(baseline)
    chosen = tuple(methods or session.manifest.methods) or (session.method(None),)
    found: dict[str, list[Curves]] = {method: [] for method in (*chosen, RANDOM)}
    answers = []
    for index, given in enumerate(inputs):
        about = subject(session, given, replacement.token_id, follow, truncate)
        answers.append(about.label)
        for method in found:
            if index == 0 and method in session.manifest.methods:
                session.explain(about.raw, method=method, truncate=truncate)  # opens the graph before the measurement
            chance, own = np.random.default_rng((seed, index)), (options or {}).get(method)
            found[method].append(measure_one(about, method, steps, chance, own))
            advance(1)
    labelled = [given.label == answer for given, answer in zip(inputs, answers, strict=True) if given.label is not None]
    return Faithfulness(
        model=session.manifest.name,
        follow=follow,
        baseline=replacement.name,
        seed=seed,
        right=float(np.mean(labelled)) if labelled else None,
        methods={method: Measured.of(rows) for method, rows in found.items()},
    )


def check(session: Session, inputs: Sequence[Labelled], follow: str, steps: int) -> None:
    """Raises UsageError for what can't be evaluated."""
    if not session.classifies:
        raise UsageError(
            f"deletion curves follow the value of a label, got {session.manifest.name}, which gives an input none; evaluate a classifier."
        )
    if follow not in FOLLOWED:
        raise UsageError(f"follow must be one of {', '.join(FOLLOWED)}, got {quoted(follow)}; choose one of them.")
    if steps < 2:
        raise UsageError(f"steps must be at least 2, got {steps}; choose more.")
    if any(given.arrays is not None for given in inputs):
        raise UsageError(
            "deletion curves leave tokens of a text or file out, got an input of ids or arrays; give `text` or `input`."
        )
    if len(inputs) < FEWEST:
        raise UsageError(f"an evaluation needs at least {FEWEST} inputs, got {len(inputs)}; add inputs.")
