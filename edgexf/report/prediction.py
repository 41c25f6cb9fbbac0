"""Predictions and features as values, with their JSON.

Each is also what the pipeline of transformers gives: a `Prediction` is a dict of label and score, and `Features` are a list
of one text's vectors.

Law: ``Prediction.from_json(given.to_json()) == given``, and the same for `Features`. `to_line` is the rounded form that
`edgexf run` prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.checks import require
from edgexf.errors import InputError
from edgexf.records import Record
from edgexf.report.reading import check_keys, listed, number, of_kind, offsets_of

KINDS = {
    "input": str,
    "label": str,
    "truncated": bool,
    "windows": int,
    "probabilities": bool,
    "batch": int,
    "finite": bool,
}


def score_text(value: float) -> float:
    """Rounds a score to the seven digits that float32 carries."""
    return float(f"{value:.7g}")


def shown(score: float) -> float | None:
    return score if isfinite(score) else None


def score_of(value: Any) -> float:
    """The inverse of `shown`. ValueError for other values."""
    return nan if value is None else number(value)


class Prediction(Record, dict[str, Any]):  # type: ignore[misc]  # a dict has no hash, a record has one
    """The answer of a model to one input: a dict ``{"label": label, "score": score}`` that knows more.

    For an input that is read in several windows, the scores come from the mean logits.

    Attributes:
        input: the name of the input.
        label: the best label, or the text of an answer to a question.
        score: the score of the best label.
        top: the best labels with their scores, best first.
        truncated: whether the input continues behind the part that the model read.
        ms: the time in milliseconds; of inputs that ran together, each has an equal share of their time.
        windows: the number of windows in which the model read the input.
        batch: the most windows, of this input or of others, that shared the time of one run.
        probabilities: whether scores are probabilities, as for every model that tells classes apart.
        finite: whether all numbers of the model's answer are finite. If not, which `edgexf.load` lets pass with
            ``nan="flag"``, the label says nothing.
    """

    input: str
    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    truncated: bool
    ms: float
    windows: int = 1
    probabilities: bool = True
    batch: int = 1
    finite: bool = True

    def __post_init__(self) -> None:
        self.update(label=self.label, score=self.score)

    def __ne__(self, other: object) -> bool:
        """The opposite of `==`, which compares all fields; that of a dict would compare label and score alone."""
        return not self == other

    def to_dict(self) -> dict[str, Any]:
        """All fields, unrounded, in types that JSON has; `finite` only where it is False, since earlier readers don't
        know it. JSON has no NaN, so a score that is no finite number becomes null.
        """
        values = {
            **asdict(self),
            "score": shown(self.score),
            "top": [[label, shown(score)] for label, score in self.top],
        }
        if self.finite:
            del values["finite"]
        return values

    def to_line(self) -> dict[str, Any]:
        """What `edgexf run` prints: rounded values, and `windows` and `batch` only where they are more than one."""
        several = {name: value for name in ("windows", "batch") if (value := getattr(self, name)) > 1}
        several |= {} if self.finite else {"finite": False}
        return {
            "input": self.input,
            "label": self.label,
            "score": shown(round(self.score, 6)),
            "top": [[label, shown(round(score, 6))] for label, score in self.top],
            "truncated": self.truncated,
            "ms": round(self.ms, 3),
            **several,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @staticmethod
    def from_json(text: str | bytes) -> Prediction:
        """The inverse of `to_json`. InputError for any other text."""
        return read(Prediction, text)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`. ValueError for other values."""
        values = {"finite": True, **values} if isinstance(values, dict) else values
        check_keys(cls, values)
        for name, kind in KINDS.items():
            of_kind(values, name, kind)
        top = [listed(row, 2) for row in listed(values["top"], None)]
        require(all(isinstance(label, str) for label, _ in top), "labels must be text", values["top"])
        numbers = {"score": score_of(values["score"]), "ms": number(values["ms"])}
        return cls(**{**values, **numbers, "top": tuple((label, score_of(score)) for label, score in top)})


@dataclass(frozen=True, eq=False)
class Features:
    """The answer of a model that gives no label to a whole input: its outputs.

    As the pipeline does, it holds one element, the rows of the first output: ``numpy.array(features)`` is float32
    [1, tokens, width] for a model of vectors.

    Attributes:
        input: the name of the input.
        tokens: the tokens of the input as text.
        offsets: the [start, end) of each token in the bytes of the input.
        outputs: the outputs by name; the padding is cut off outputs that have a row for each token.
        truncated: whether the input continues behind the part that the model read.
        ms: the time in milliseconds; of inputs that ran together, each has an equal share of their time.
        batch: the number of inputs that ran together.
        windows: the number of windows in which the model read the input.
    """

    input: str
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    outputs: dict[str, npt.NDArray[np.float32]]
    truncated: bool
    ms: float
    batch: int = 1
    windows: int = 1

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, those of the outputs to the last bit. What is no finite number equals another one."""
        return self.to_dict() == other.to_dict() if isinstance(other, Features) else NotImplemented

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Any:
        return [next(iter(self.outputs.values()))][place].tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter([self[0]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        found = next(iter(self.outputs.values()))[None]
        return found.astype(dtype or found.dtype, copy=bool(copy))

    __hash__ = None  # type: ignore[assignment]  # outputs can change

    def to_dict(self) -> dict[str, Any]:
        """All fields in types that JSON has; `windows` only where they are several, since earlier readers don't know it. Each
        number of an output has the digits that tell its float32. What is no finite number becomes null, which `from_dict`
        reads as NaN.
        """
        return {
            **{name: getattr(self, name) for name in ("input", "truncated", "ms", "batch")},
            **({"windows": self.windows} if self.windows > 1 else {}),
            "tokens": list(self.tokens),
            "offsets": [list(offset) for offset in self.offsets],
            "outputs": {name: shortest(array) for name, array in self.outputs.items()},
        }

    def to_line(self) -> dict[str, Any]:
        """What `edgexf run` prints: rounded values; `windows` and `batch` only where they are more than one. Where there is
        one vector for the whole input, it stands alone.
        """
        pooled = self.outputs.get(names.SENTENCE_EMBEDDING)
        if pooled is None:
            shown = {
                "tokens": list(self.tokens),
                "offsets": [list(offset) for offset in self.offsets],
                "outputs": {name: rounded(array.tolist()) for name, array in self.outputs.items()},
            }
        else:
            shown = {names.SENTENCE_EMBEDDING: rounded(pooled.tolist())}
        return {
            "input": self.input,
            **shown,
            "truncated": self.truncated,
            "ms": round(self.ms, 3),
            **{name: value for name in ("windows", "batch") if (value := getattr(self, name)) > 1},
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> Features:
        """The inverse of `to_json`. InputError for any other text."""
        return read(Features, text)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`. ValueError for other values."""
        values = {"windows": 1, **values} if isinstance(values, dict) else values
        check_keys(cls, values)
        for name, kind in (("input", str), ("truncated", bool), ("batch", int), ("windows", int), ("outputs", dict)):
            of_kind(values, name, kind)
        return cls(
            **{
                **values,
                "tokens": tuple(listed(values["tokens"], None, str)),
                "offsets": offsets_of(values["offsets"]),
                "outputs": {name: np.array(rows, dtype=np.float32) for name, rows in values["outputs"].items()},
                "ms": number(values["ms"]),
            }
        )


Answer = TypeVar("Answer", Prediction, Features)


def read(kind: type[Answer], text: str | bytes) -> Answer:
    """Reads the JSON of an answer. InputError for any other text."""
    try:
        return kind.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"the JSON of a {kind.__name__} must be what to_json writes, got something else ({error}); write it again."
        ) from error


def shortest(values: npt.NDArray[np.float32]) -> Any:
    """The values as nested lists, each with the fewest digits that tell its float32 from every other float32; None for
    what is no finite number.
    """
    short = np.array([float(str(value)) for value in values.ravel()]).reshape(values.shape)
    found = np.where(short.astype(np.float32) == values, short, values.astype(np.float64))
    if np.isfinite(found).all():
        return found.tolist()
    values_or_none = found.astype(object)
    values_or_none[~np.isfinite(found)] = None
    return values_or_none.tolist()


def rounded(values: Any) -> Any:
    """Rounds the numbers in nested lists to the seven digits that float32 carries; None for what is no finite number."""
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return score_text(values) if isfinite(values) else None
