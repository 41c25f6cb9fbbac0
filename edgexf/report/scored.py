"""What the explanations of texts and of pictures have in common: the values beside their scores, and their JSON.

In: values by name, or the JSON text of an earlier explanation. Out: a `Scored`, which `Explanation` and
`PictureExplanation` extend; and `shared`, which reads its values from JSON strictly.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from edgexf.errors import EdgexfError, InputError
from edgexf.names import SHARES
from edgexf.report.prediction import Prediction, shortest
from edgexf.report.reading import number, of_kind

REMEDY = "write it with this edgexf's to_json"
TEXTS = ("input", "method", "baseline", "model", "model_sha256", "graph_sha256", "date", "machine", "truth")


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored(ABC):
    """Signed, raw scores of the parts of an input, and how they came about.

    The scores and the residual add up: explained = sum(scores) + residual, in logits for a model with labels. The
    residual means nothing where scores are shares of attention; see `scores_are_attention`.

    EdgexfError for a number that is not finite.

    Attributes:
        input: the name of the input.
        scores: float32, a score for each part.
        target: the weight of each label in the explained value.
        explained: the explained value.
        residual: the part of the explained value that the scores do not explain.
        method: the explanation method.
        prediction: the answer of the model; None for a model that gives no label.
        model: the name of the model.
        model_sha256: the digest of the manifest of the bundle, which covers every file in the bundle.
        graph_sha256: the digest of the graph that answered.
        ms: the time of the explanation, in milliseconds.
        truncated: whether the input continues behind the part that the model read.
        baseline: the name of what replaced parts of the input; empty for a method that replaces none.
        settings: values of the method, in types that JSON has, such as its seed, its samples or its error.
        date: when the input was explained, in UTC by ISO 8601; empty if it is not known.
        machine: the device that explained it, in words; empty if it is not known.
        truth: the true label, if the caller knows it; else empty.
    """

    input: str
    scores: npt.NDArray[np.float32]
    target: dict[str, float]
    explained: float
    residual: float
    method: str
    prediction: Prediction | None
    model: str
    model_sha256: str
    graph_sha256: str
    ms: float
    truncated: bool
    baseline: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    machine: str = ""
    truth: str = ""

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, those of the scores to the last bit."""
        return self.to_dict() == other.to_dict() if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # scores can change

    def __post_init__(self) -> None:
        numbers = [self.explained, self.residual, self.ms, *self.target.values(), *self.scores.ravel().tolist()]
        if not np.isfinite(numbers).all():
            raise EdgexfError(
                f"scores must be finite numbers, got others from {self.method} of {self.model}; explain by another method."
            )

    @property
    def total(self) -> float:
        """The sum of the scores, in float64."""
        return float(self.scores.sum(dtype=float))

    @property
    def scores_are_attention(self) -> bool:
        """Whether scores are shares of attention: they sum to 1, are neither for nor against, and leave no residual."""
        return self.method in SHARES

    def shared_values(self) -> dict[str, Any]:
        """All fields, those of this class as values of types that JSON has."""
        return {
            **{item.name: getattr(self, item.name) for item in fields(self)},
            "scores": shortest(self.scores),
            "prediction": None if self.prediction is None else self.prediction.to_dict(),
            "settings": dict(self.settings),
        }

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON."""

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @abstractmethod
    def to_html(self) -> str:
        """One self-contained HTML page."""

    def save_html(self, path: Path) -> None:
        path.write_text(self.to_html(), encoding="utf-8")


def parsed(text: str | bytes) -> Any:
    """The values of a JSON text. InputError for any other text."""
    try:
        return json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"an explanation must be JSON, got something else ({error}); {REMEDY}.") from error


def no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def other_values(error: Exception) -> InputError:
    """The error for values that `to_json` does not write."""
    return InputError(f"an explanation must hold what to_json writes, got other values ({error}); {REMEDY}.")


def shared(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `Scored` but `scores`, from JSON values. ValueError for values of the wrong kind."""
    for name in TEXTS:
        of_kind(values, name, str)
    prediction = values["prediction"]
    return {
        **{item.name: values[item.name] for item in fields(Scored) if item.name != "scores"},
        "target": {label: number(weight) for label, weight in of_kind(values, "target", dict).items()},
        **{name: number(values[name]) for name in ("explained", "residual", "ms")},
        "prediction": None if prediction is None else Prediction.from_dict(prediction),
        "truncated": of_kind(values, "truncated", bool),
        "settings": of_kind(values, "settings", dict),
    }
