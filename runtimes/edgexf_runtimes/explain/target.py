"""What an explanation explains of one input, for each kind of head.

In: a predictor, an input, and a target as a caller names it. Out: an `ExplanationTarget`. It gives the arrays that an
explain graph takes. For methods without a graph, it gives the same number as a function of the predict graph's outputs.
It also gives the names of what is explained.

    head                        target                                     explained
    labels of an input          a label, weights by label                  weighted logits
    labels or words of tokens   the same, at a `position`                  weighted logits at the position
    an answer in the input      its text, {"start": place, "end": place}   the sum of both logits
    vectors                     a text or a vector to be similar to        cosine of the target and the tokens' mean
    an embedding                the same                                   cosine of the target and the embedding

Without a target, what the model predicts is explained. For vectors, that is the direction of the input itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.heads import CLASSES, EMBEDDING, SPAN, TOKEN_CLASSES, VECTORS, Kind
from edgexf.checks import is_choice
from edgexf.errors import InputError, UsageError, quoted
from edgexf.report.prediction import Prediction
from edgexf_runtimes.explain.place import place, tokens_at
from edgexf_runtimes.head import NamedHead
from edgexf_runtimes.inputs.convert import is_whole, shaped
from edgexf_runtimes.scores import best_places, softmax
from edgexf_runtimes.tasks.question_answering import QuestionAnswering
from edgexf_runtimes.tasks.spans import Span, best_spans

if TYPE_CHECKING:
    from edgexf_runtimes.decoding import Prepared
    from edgexf_runtimes.predictor import Predictor

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]  # outputs of the predict graph, of one row
Value = Callable[[Outputs], float]
Target = str | Mapping[str, float] | npt.ArrayLike | None

TINY = 1e-12
LARGEST = float(np.finfo(np.float32).max)  # of a weight, which a graph takes as float32
ITSELF = "itself"


class ExplanationTarget(ABC):
    """What is explained of one prepared input.

    Attributes:
        position: the index of the token whose answer is explained, or None for a head with one answer.
    """

    position: int | None = None

    def __init__(self, predictor: Predictor, given: Prepared) -> None:
        self.predictor, self.given = predictor, given
        (self.window,) = given.windows

    @abstractmethod
    def arrays(self) -> dict[str, Any]:
        """The arrays that `Session.run_explain` takes besides the inputs, for one row."""

    @abstractmethod
    def named(self, outputs: Outputs) -> dict[str, float]:
        """The names of what is explained, and the weight of each."""

    @abstractmethod
    def value(self, outputs: Outputs) -> Value:
        """The explained value as a function of a row's outputs.

        `outputs` are the outputs of the unchanged input. They decide what is predicted.
        """

    @abstractmethod
    def prediction(self, outputs: Outputs, ms: float) -> Prediction | None:
        """The model's answer, or None if the answer is not a label or a text."""


def columns(head: NamedHead) -> int:
    """The size of the output's last axis. Raises UsageError if the graph does not fix the size."""
    last = head.compared.shape[-1]
    if not isinstance(last, int):
        raise UsageError(
            f"an explanation by name needs an output of fixed columns, got {list(head.compared.shape)}; call session.run_explain with arrays."
        )
    return last


def column_of(head: NamedHead, name: str) -> int:
    """The column of a label, or of a word of the vocabulary. Raises UsageError for an unknown name."""
    labels = head.manifest.labels
    if is_choice(name, labels):
        return labels.index(name)
    found = None if labels or not isinstance(name, str) else head.tokenizer().vocabulary().get(name)
    if found is None or found >= columns(head):
        known = f"the model's labels ({', '.join(labels)})" if labels else "the tokens of the model's vocabulary"
        raise UsageError(f"target must be among {known}, got {quoted(name)}; choose one of them.")
    return found


def name_of(head: NamedHead, column: int) -> str:
    """The label or the word of a column."""
    labels = head.manifest.labels
    return labels[column] if labels else head.tokenizer().token(column) or f"id {column}"


def weight_of(name: str, weight: Any) -> float:
    """The weight of a label. Raises UsageError for what is no finite number."""
    number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
    if not number or not abs(weight) <= LARGEST:  # False for NaN
        raise UsageError(f"the weight of a label must be a finite number, got {quoted(weight)} for {name}; correct it.")
    return float(weight)


def weighted(logits: Array, weights: Mapping[int, float]) -> float:
    return sum(weight * float(logits[column]) for column, weight in weights.items())


class Labelled(ExplanationTarget):
    """The target for logits of labels. With a position, these are the labels or words of one token."""

    def __init__(self, predictor: Predictor, given: Prepared, target: Target, position: int | None) -> None:
        super().__init__(predictor, given)
        self.position = position
        if target is not None and not isinstance(target, str | Mapping):
            raise UsageError(
                f"target must be a label or weights by label, got {type(target).__name__}; name what to explain."
            )
        weights = {} if target is None else {target: 1.0} if isinstance(target, str) else dict(target)
        self.weights = {column_of(predictor.head, name): weight_of(name, weight) for name, weight in weights.items()}
        if weights and not any(self.weights.values()):
            raise UsageError(f"target must weigh a label, got {weights}; leave it out to explain the predicted label.")

    def logits(self, outputs: Outputs) -> Array:
        logits = outputs[self.predictor.head.output.name]
        return logits if self.position is None else logits[self.position]

    def chosen(self, outputs: Outputs) -> dict[int, float]:
        return self.weights or {int(self.logits(outputs).argmax()): 1.0}

    def arrays(self) -> dict[str, Any]:
        row = np.zeros((1, columns(self.predictor.head)), dtype=np.float32)
        for column, weight in self.weights.items():
            row[0, column] = weight
        return {names.TARGET: row, **({} if self.position is None else {names.POSITION: [self.position]})}

    def named(self, outputs: Outputs) -> dict[str, float]:
        return {name_of(self.predictor.head, column): weight for column, weight in self.chosen(outputs).items()}

    def value(self, outputs: Outputs) -> Value:
        weights = self.chosen(outputs)
        return lambda other: weighted(self.logits(other), weights)

    def prediction(self, outputs: Outputs, ms: float) -> Prediction | None:
        if self.position is None:
            return self.predictor.prediction(self.given, outputs, ms)
        scores = softmax(self.logits(outputs))
        best = best_places(scores)
        top = tuple((name_of(self.predictor.head, int(column)), float(scores[column])) for column in best)
        return Prediction(self.given.raw.name, top[0][0], top[0][1], top, self.given.truncated, ms)


def is_place(value: Any, count: int) -> bool:
    """Whether a value is the place of one of `count` tokens."""
    return is_whole(value) and 0 <= value < count


ENDS = dict(zip(("start", "end"), SPAN.outputs, strict=True))


class Answer(ExplanationTarget):
    """The target for the logits of an answer's start and end.

    By default it is the best answer in the context, as `edgexf_runtimes.tasks.question_answering` finds it. A text is an
    answer that the caller asks about: the first place where the context holds it.
    """

    def __init__(self, predictor: Predictor, given: Prepared, target: Target, _: int | None = None) -> None:
        super().__init__(predictor, given)
        count = len(self.window.ids)
        if isinstance(target, str):
            self.places = dict(zip(ENDS, tokens_at(given, self.window, target, "target"), strict=True))
            return
        places = dict(target) if isinstance(target, Mapping) else {}
        known = set(places) <= set(ENDS) and all(is_place(place, count) for place in places.values())
        if not known or not (target is None or places):
            raise UsageError(
                f"target of an answer must be the places of its start and end, each of 0 to {count - 1}, or its text, got {quoted(target)}; "
                'give {"start": place, "end": place}, or leave it out.'
            )
        self.places = {end: int(place) for end, place in places.items()} or self.best()

    def best(self) -> dict[str, int]:
        """The places of the best answer; nothing for a model that reads arrays, whose graph then finds the best ends."""
        if self.window.source is None:
            return {}
        outputs = {name: array[0] for name, array in self.predictor.run(self.given.rows[0]).items()}
        span = best_answer(self.predictor, self.given, outputs)
        if span is None:
            raise InputError(
                f"an explained answer must be in the context, got {self.given.raw.name} without a token there; give another context."
            )
        return {"start": span.first, "end": span.last}

    def chosen(self, outputs: Outputs) -> dict[str, int]:
        real = len(self.window.ids)
        return self.places or {end: int(outputs[name][:real].argmax()) for end, name in ENDS.items()}

    def arrays(self) -> dict[str, Any]:
        found = {}
        for end, name in zip(ENDS, SPAN.weights, strict=True):
            found[name] = np.zeros((1, len(self.window.ids)), dtype=np.float32)
            if end in self.places:
                found[name][0, self.places[end]] = 1.0
        return found

    def named(self, outputs: Outputs) -> dict[str, float]:
        tokens = self.window.tokens
        return {f"{end} at {tokens[place]} ({place})": 1.0 for end, place in self.chosen(outputs).items()}

    def value(self, outputs: Outputs) -> Value:
        places = self.chosen(outputs)
        return lambda other: sum(float(other[ENDS[end]][place]) for end, place in places.items())

    def prediction(self, outputs: Outputs, ms: float) -> Prediction | None:
        """The best answer in the context, with its score; no text where there is none."""
        span = None if self.window.source is None else best_answer(self.predictor, self.given, outputs)
        if span is None:
            return None
        offsets = self.window.offsets
        text = self.given.data[offsets[span.first][0] : offsets[span.last][1]].decode("utf-8", "replace")
        return Prediction(self.given.raw.name, text, span.score, ((text, span.score),), self.given.truncated, ms)


def best_answer(predictor: Predictor, given: Prepared, outputs: Outputs) -> Span | None:
    """The best answer among the tokens of the context, or of the whole text of an input that is no pair."""
    (window,) = given.windows
    count = len(window.ids)
    allowed = window.places.texts == int(isinstance(given.raw.text, tuple))
    none_at = window.ids == predictor.named_id("cls_token")
    start, end = (outputs[name][:count] for name in SPAN.outputs)
    found = best_spans(start, end, allowed, none_at, 1, QuestionAnswering.max_answer_len)
    return found[0] if found else None


class Vector(ExplanationTarget):
    """The target for vectors: the mean of the tokens' vectors is compared with a direction."""

    def __init__(self, predictor: Predictor, given: Prepared, target: Target, _: int | None = None) -> None:
        super().__init__(predictor, given)
        self.name, self.direction = ITSELF, np.zeros(columns(predictor.head), dtype=np.float64)
        if isinstance(target, str):
            found = predictor.run(predictor.encode(target))
            self.name = target
            self.direction = self.vector({name: array[0] for name, array in found.items()})
        elif target is not None:
            width = columns(predictor.head)
            rule = f"a text or {width} finite numbers"
            self.name, self.direction = (
                "vector",
                shaped("target", target, (width,), np.float64, rule, "give one vector"),
            )

    def arrays(self) -> dict[str, Any]:
        return {names.TARGET: self.direction.astype(np.float32)[None]}

    def named(self, _: Outputs) -> dict[str, float]:
        return {self.name: 1.0}

    def value(self, outputs: Outputs) -> Value:
        count = len(self.window.ids)
        return cosine(self.direction, lambda other: self.vector(other, count), outputs)

    def vector(self, outputs: Outputs, count: int | None = None) -> Array:
        """The vector of a row, float64 [width]: of its first `count` tokens, if the row is padded."""
        return mean(outputs[self.predictor.head.output.name][:count])

    def prediction(self, _: Outputs, __: float) -> Prediction | None:
        return None


class Embedded(Vector):
    """The target for embeddings, of which a row has one."""

    def vector(self, outputs: Outputs, _: int | None = None) -> Array:
        found: Array = outputs[names.SENTENCE_EMBEDDING].astype(np.float64)
        return found


def mean(vectors: Array) -> Array:
    """The mean of vectors [tokens, width], float64 [width]."""
    found: Array = vectors.astype(np.float64).mean(axis=0)
    return found


def cosine(target: Array, read: Callable[[Outputs], Array], outputs: Outputs) -> Value:
    """The cosine of `target` and the vector that `read` makes of outputs, as a function of outputs.

    If `target` is zeros, the vector of the row's own `outputs` takes its place. In this case the length of that vector
    also stands for the length of every other vector, so the length counts as a constant.
    """
    asks, own = bool(np.any(target)), read(outputs).astype(np.float64)
    direction = target if asks else own

    def value(other: Outputs) -> float:
        vector = read(other).astype(np.float64)
        length = float(np.linalg.norm(vector if asks else own)) * float(np.linalg.norm(direction))
        return float(vector @ direction) / max(length, TINY)

    return value


TARGETS: dict[Kind, type[Labelled | Answer | Vector]] = {
    CLASSES: Labelled,
    TOKEN_CLASSES: Labelled,
    SPAN: Answer,
    EMBEDDING: Embedded,
    VECTORS: Vector,
}


def target_of(predictor: Predictor, given: Prepared, target: Target, position: int | str | None) -> ExplanationTarget:
    """What is explained of one input.

    Raises UsageError for a head without an explained value, for a position if the model does not answer at each token,
    and for a missing position.
    """
    head = predictor.head
    if position is not None and not head.tagged:
        raise UsageError(
            f"a position is for models that answer at each token, got {quoted(position)} for one without; leave it out."
        )
    named = {CLASSES: head.classifies, TOKEN_CLASSES: head.tagged}
    if head.kind is None or not named.get(head.kind, True):
        raise UsageError(
            f"an explanation needs logits or vectors, got {predictor.manifest.name} without; call edgexf_runtimes.attribute with arrays."
        )
    return TARGETS[head.kind](predictor, given, target, place(predictor, given, position) if head.tagged else None)
