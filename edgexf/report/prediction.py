"""Predictions and features as plain values, with their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


def score_text(value: float) -> float:
    """Rounds a score to the seven digits that float32 carries."""
    return float(f"{value:.7g}")


@dataclass(frozen=True)
class Prediction:
    """The answer of a model to one input.

    For an input that is read in several windows, the scores come from the mean logits.

    Attributes:
        input: the name of the input.
        label: the best label, or the text of an answer to a question.
        score: the score of the best label.
        top: the best labels with their scores, best first.
        truncated: whether the input continues behind the part that the model read.
        ms: the share of the input in the time of its batch, in milliseconds.
        windows: the number of windows in which the model read the input.
        probabilities: whether scores are probabilities, as for every model that tells classes apart.
    """

    input: str
    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    truncated: bool
    ms: float
    windows: int = 1
    probabilities: bool = True

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        del values["probabilities"]  # the same for all answers of a model; the manifest says it
        if self.windows == 1:
            del values["windows"]
        return {
            **values,
            "score": round(self.score, 6),
            "top": [[label, round(score, 6)] for label, score in self.top],
            "ms": round(self.ms, 3),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


@dataclass(frozen=True, eq=False)
class Features:
    """The answer of a model that gives no label to a whole input: its outputs.

    Attributes:
        input: the name of the input.
        tokens: the tokens of the input as text.
        offsets: the [start, end) of each token in the bytes of the input.
        outputs: the outputs by name; the padding is cut off outputs that have a row for each token.
        truncated: whether the input continues behind the part that the model read.
        ms: the share of the input in the time of its batch, in milliseconds.
    """

    input: str
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    outputs: dict[str, npt.NDArray[np.float32]]
    truncated: bool
    ms: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "input": self.input,
            "tokens": list(self.tokens),
            "offsets": [list(offset) for offset in self.offsets],
            "outputs": {name: rounded(array.tolist()) for name, array in self.outputs.items()},
            "truncated": self.truncated,
            "ms": round(self.ms, 3),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


def rounded(values: Any) -> Any:
    """Rounds the numbers in nested lists to the seven digits that float32 carries."""
    return [rounded(value) for value in values] if isinstance(values, list) else score_text(values)
