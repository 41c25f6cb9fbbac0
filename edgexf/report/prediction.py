"""Predictions and features as plain values, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


def score_text(value: float) -> float:
    """A score with the digits that float32 carries."""
    return float(f"{value:.7g}")


@dataclass(frozen=True)
class Prediction:
    """An answer. `score` and `top` are the model's scores, best first, which are `probabilities` where it tells classes
    apart; `ms` is this input's share of its batch's time. Of an input in several `windows` they are the mean logits'
    scores.
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
        del values["probabilities"]  # one answer for a whole model, which its manifest gives
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
    """What a model without labels of inputs answers: its `outputs`, without padding, for each of the `tokens`.

    `offsets` are the tokens' [start, end) in the input's bytes.
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
    """Nested lists of numbers with the digits that float32 carries."""
    return [rounded(value) for value in values] if isinstance(values, list) else score_text(values)
