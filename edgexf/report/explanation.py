"""An explanation as plain values, and its JSON. An application can store an explanation and show it later.

In: the values that the runtime computed, or the JSON text of an earlier explanation. Out: an `Explanation`, or JSON.
Law: ``Explanation.from_json(why.to_json())`` has the values of ``why``, to the last bit of every number.

The JSON key `data` holds the bytes of the input, as text if they are UTF-8 and in base64 if they are not; `encoding`
says which. Each score has the digits that tell its float32 from every other float32. `words` is for other readers
only: it follows from the other keys, so `from_json` does not use it.

Reading is strict. `from_json` refuses another schema version, an unknown or a missing key, and a value of the wrong
kind: a page that shows half of what a newer edgexf wrote would be silently wrong. Pickle would be shorter, but it runs
code from the file.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count, require
from edgexf.errors import EdgexfError, InputError, quoted
from edgexf.names import SHARES
from edgexf.report.prediction import Prediction, score_text, shortest
from edgexf.report.reading import check_keys, listed, number, of_kind, offsets_of
from edgexf.report.words import Word, words_of

SCHEMA_VERSION = 3  # version 2 named no date, machine and true label; version 1 had no `data`, so no view can show it
READ_VERSIONS = (2, SCHEMA_VERSION)
REMEDY = "write it with this edgexf's to_json"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model answered as it did: one signed, raw score for each token of the input.

    The scores and the residual add up: explained = sum(scores) + residual, in logits for a model with labels. The
    residual means nothing where scores are shares of attention; see `scores_are_attention`.

    ValueError for values that don't fit each other, EdgexfError for a number that is not finite.

    Attributes:
        input: the name of the input.
        data: the bytes of the input.
        tokens: the tokens of the input as text.
        offsets: the [start, end) of each token in `data`; (0, 0) for the class token and every special token of a
            tokenizer.
        scores: float32 [tokens].
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
        baseline: the name of what replaced tokens; empty for a method that replaces none.
        settings: values of the method, in types that JSON has, such as its seed, its samples or its error.
        position: the token whose logits are explained; None for a model with one answer to its input.
        date: when the input was explained, in UTC by ISO 8601; empty if it is not known.
        machine: the device that explained it, in words; empty if it is not known.
        truth: the true label, if the caller knows it; else empty.
    """

    input: str
    data: bytes
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
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
    position: int | None = None
    date: str = ""
    machine: str = ""
    truth: str = ""

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, those of the scores to the last bit."""
        return to_values(self) == to_values(other) if isinstance(other, Explanation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # scores can change

    def __post_init__(self) -> None:
        count = len(self.tokens)
        require(len(self.offsets) == count, f"offsets must be {count}, one a token", len(self.offsets))
        require(self.scores.shape == (count,), f"scores must be {count}, one a token", self.scores.shape)
        for start, end in self.offsets:
            require(0 <= start <= end <= len(self.data), "offsets must lie in data", (start, end))
        numbers = [self.explained, self.residual, self.ms, *self.target.values(), *self.scores.tolist()]
        if not np.isfinite(numbers).all():
            raise EdgexfError(
                f"scores must be finite numbers, got others from {self.method} of {self.model}; explain by another method."
            )
        placed = self.position is None or (is_count(self.position, 0) and self.position < count)
        require(placed, "position must be the place of a token", self.position)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words with the sums of their scores; see `edgexf.report.words` for what counts as a word."""
        return words_of(self.data, self.offsets, self.scores.tolist())

    @property
    def total(self) -> float:
        """The sum of the scores, in float64."""
        return float(self.scores.sum(dtype=float))

    @property
    def scores_are_attention(self) -> bool:
        """Whether scores are shares of attention: they sum to 1, are neither for nor against, and leave no residual."""
        return self.method in SHARES

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON; see the module's docstring."""
        return to_values(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> Explanation:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        return from_text(text)

    def to_html(self) -> str:
        """One self-contained HTML page; see `edgexf.report.html.explanation`."""
        from edgexf.report.html.explanation import explanation_page

        return explanation_page(self)

    def save_html(self, path: Path) -> None:
        path.write_text(self.to_html(), encoding="utf-8")


def to_values(explanation: Explanation) -> dict[str, Any]:
    """The explanation as values of types that JSON has."""
    values = {item.name: getattr(explanation, item.name) for item in fields(explanation)}
    return {
        "schema_version": SCHEMA_VERSION,
        **values,
        **data_values(explanation.data),
        "tokens": list(explanation.tokens),
        "offsets": [list(offset) for offset in explanation.offsets],
        "scores": shortest(explanation.scores),
        "words": [[word.text, word.start, word.end, score_text(word.score)] for word in explanation.words],
        "prediction": None if explanation.prediction is None else explanation.prediction.to_dict(),
        "settings": dict(explanation.settings),
    }


def data_values(data: bytes) -> dict[str, str]:
    try:
        return {"encoding": "utf-8", "data": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": b64encode(data).decode("ascii")}


def from_text(text: str | bytes) -> Explanation:
    """Reads the JSON of an explanation. InputError for any other text."""
    try:
        values = json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"an explanation must be JSON, got something else ({error}); {REMEDY}.") from error
    found = values.get("schema_version") if isinstance(values, dict) else None
    if type(found) is not int or found not in READ_VERSIONS:
        raise InputError(
            f"schema_version of an explanation must be {' or '.join(map(str, READ_VERSIONS))}, got {quoted(found)}; explain the input again, or read it with the edgexf that wrote it."
        )
    try:
        return Explanation(**restored(values if found == SCHEMA_VERSION else renewed(values)))
    except (TypeError, ValueError, KeyError, OverflowError, EdgexfError) as error:
        raise InputError(
            f"an explanation must hold what to_json writes, got other values ({error}); {REMEDY}."
        ) from error


def no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def renewed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of version 2 as those of today."""
    prediction = values.get("prediction")
    added = {"prediction": {"batch": 1, **prediction}} if isinstance(prediction, dict) else {}
    return {"date": "", "machine": "", "truth": "", **values, **added}


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Explanation`. ValueError for wrong keys, and for values of the wrong kind."""
    check_keys(Explanation, values, {"schema_version", "encoding", "words"})
    for name in ("input", "method", "baseline", "model", "model_sha256", "graph_sha256", "date", "machine", "truth"):
        of_kind(values, name, str)
    listed(values["words"], None)
    prediction = values["prediction"]
    return {
        **{item.name: values[item.name] for item in fields(Explanation)},
        "data": data_of(values),
        "tokens": tuple(listed(values["tokens"], None, str)),
        "offsets": offsets_of(values["offsets"]),
        "scores": scores_of(values["scores"]),
        "target": {label: number(weight) for label, weight in of_kind(values, "target", dict).items()},
        **{name: number(values[name]) for name in ("explained", "residual", "ms")},
        "prediction": None if prediction is None else Prediction.from_dict(prediction),
        "truncated": of_kind(values, "truncated", bool),
        "settings": of_kind(values, "settings", dict),
    }


def scores_of(values: Any) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which `Explanation` refuses
        return np.array(listed(values, None, int, float), dtype=np.float32)


def data_of(values: Mapping[str, Any]) -> bytes:
    data, encoding = of_kind(values, "data", str), values["encoding"]
    require(encoding in ("utf-8", "base64"), "encoding must be utf-8 or base64", encoding)
    return b64decode(data, validate=True) if encoding == "base64" else data.encode("utf-8")
