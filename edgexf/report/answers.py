"""Answers in the shapes of transformers' pipelines, which also know how they came about.

In: what a task found, and the `Facts` of the call. Out: an `AnswerDict` or an `AnswerList`. Each equals the plain dict or
list that the pipeline of the same task gives, and `json.dumps` takes it. Its attributes hold the facts.

Two alternatives were weighed. A record of its own for each task reads well, but no code that was written for a pipeline
would run with it. Plain dicts and lists can't say that a text was cut, or how long it took.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from edgexf.records import Record

DIGITS = 6  # of a score in a line


class Facts(Record):
    """How an answer came about.

    Attributes:
        input: the name of the input.
        truncated: whether the input continues behind the part that the model read.
        ms: the time in milliseconds; of inputs that ran together, each has an equal share of their time.
        windows: the number of windows in which the model read the input.
        batch: the most windows, of this input or of others, that shared the time of one run.
        finite: whether all numbers of the model's answer are finite. If not, which `edgexf.load` lets pass with
            ``nan="flag"``, the answer says nothing.
    """

    input: str
    truncated: bool
    ms: float
    windows: int = 1
    batch: int = 1
    finite: bool = True

    def line(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """What `edgexf run` prints of an answer: rounded scores; `windows` and `batch` only where they are more than one."""
        several = {name: value for name in ("windows", "batch") if (value := getattr(self, name)) > 1}
        several |= {} if self.finite else {"finite": False}
        shown = {name: rounded(value) for name, value in answer.items()}
        return {"input": self.input, **shown, "truncated": self.truncated, "ms": round(self.ms, 3), **several}


def rounded(value: Any) -> Any:
    """The value with every number rounded for a line; None for what is no finite number, which JSON does not have."""
    if isinstance(value, float):
        return round(value, DIGITS) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value


class Told:
    """What dicts and lists of answers have in common: the facts, as attributes.

    Attributes:
        facts: how the answer came about.
    """

    facts: Facts

    @property
    def input(self) -> str:
        return self.facts.input

    @property
    def truncated(self) -> bool:
        return self.facts.truncated

    @property
    def ms(self) -> float:
        return self.facts.ms

    @property
    def windows(self) -> int:
        return self.facts.windows

    @property
    def batch(self) -> int:
        return self.facts.batch

    @property
    def finite(self) -> bool:
        return self.facts.finite


class AnswerDict(Told, dict[str, Any]):
    """An answer that is a dict, such as ``{"score": 0.9, "start": 4, "end": 9, "answer": "Paris"}``."""

    def __init__(self, values: Mapping[str, Any], facts: Facts) -> None:
        super().__init__(values)
        self.facts = facts

    def to_line(self) -> dict[str, Any]:
        return self.facts.line(self)


class AnswerList(Told, list[Any]):
    """An answer that is a list, such as the entities of a text. `name` says in a line what it holds."""

    def __init__(self, values: Iterable[Any], facts: Facts, name: str) -> None:
        super().__init__(values)
        self.facts, self.name = facts, name

    def to_line(self) -> dict[str, Any]:
        return self.facts.line({self.name: list(self)})


class Labels(AnswerList):
    """Labels with their scores, best first. A line shows them as that of a `Prediction` does."""

    def __init__(self, values: Iterable[Any], facts: Facts) -> None:
        super().__init__(values, facts, "labels")

    @property
    def label(self) -> str:
        """The best label."""
        return str(self[0]["label"])

    @property
    def score(self) -> float:
        """The score of the best label."""
        return float(self[0]["score"])

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        return tuple((row["label"], row["score"]) for row in self)

    def to_line(self) -> dict[str, Any]:
        return self.facts.line({"label": self.label, "score": self.score, "top": list(self.top)})
