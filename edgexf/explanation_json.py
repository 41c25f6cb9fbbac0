"""An explanation as JSON, and back, so that an application can store one and show it later.

In: an `Explanation`, or the text that it once became. Out: JSON values, or the explanation.
Law: ``Explanation.from_json(why.to_json())`` has the values of ``why``, to the last bit of every number.

`data`, the input's bytes, is text where they are UTF-8 and base64 where they are not; `encoding` says which. A score has
the digits that tell its float32 from every other. `words` is there for other readers: what it says follows from the
rest, so that it is not read back.

Reading is strict. A file of another version, with a key too many or too few, or a value of the wrong kind is refused,
since a page that shows half of what a newer edgexf meant would be silently wrong. Pickle, the shorter way, would run
what a file says.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from edgexf.checks import require
from edgexf.errors import EdgexfError, InputError
from edgexf.report import Explanation, Prediction, score_text

SCHEMA_VERSION = 2  # version 1 had no data, from which nothing can be shown
REMEDY = "write it with this edgexf's to_json"


def to_values(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has values."""
    values = {item.name: getattr(explanation, item.name) for item in fields(explanation)}
    return {
        "schema_version": SCHEMA_VERSION,
        **values,
        **data_values(explanation.data),
        "tokens": list(explanation.tokens),
        "offsets": [list(offset) for offset in explanation.offsets],
        "scores": shortest(explanation.scores),
        "words": [[word.text, word.start, word.end, score_text(word.score)] for word in explanation.words],
        "prediction": None if explanation.prediction is None else prediction_values(explanation.prediction),
        "settings": dict(explanation.settings),
    }


def shortest(scores: npt.NDArray[np.float32]) -> list[float]:
    """Each score in the fewest digits that tell its float32 from every other."""
    short = np.array([float(str(score)) for score in scores])
    exact: list[float] = np.where(short.astype(np.float32) == scores, short, scores.astype(np.float64)).tolist()
    return exact


def data_values(data: bytes) -> dict[str, str]:
    try:
        return {"encoding": "utf-8", "data": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": b64encode(data).decode("ascii")}


def prediction_values(prediction: Prediction) -> dict[str, Any]:
    """All of it, unrounded."""
    return {**asdict(prediction), "top": [[label, score] for label, score in prediction.top]}


def from_text(text: str | bytes) -> Explanation:
    """The explanation that became this text. InputError for any other text."""
    try:
        values = json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"an explanation must be JSON, got something else ({error}); {REMEDY}.") from error
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(
            f"schema_version of an explanation must be {SCHEMA_VERSION}, got {found!r}; explain the input again, or read it with the edgexf that wrote it."
        )
    try:
        return Explanation(**restored(values))
    except (TypeError, ValueError, KeyError, OverflowError, EdgexfError) as error:
        raise InputError(
            f"an explanation must hold what to_json writes, got other values ({error}); {REMEDY}."
        ) from error


def no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments. ValueError for other keys, and for values of other kinds."""
    check_keys(Explanation, values, {"schema_version", "encoding", "words"})
    for name in ("input", "method", "baseline", "model", "model_sha256", "graph_sha256"):
        of_kind(values, name, str)
    listed(values["words"], None)
    prediction = values["prediction"]
    return {
        **{item.name: values[item.name] for item in fields(Explanation)},
        "data": data_of(values),
        "tokens": tuple(listed(values["tokens"], None, str)),
        "offsets": tuple(tuple(listed(offset, 2, int)) for offset in listed(values["offsets"], None)),
        "scores": scores_of(values["scores"]),
        "target": {label: number(weight) for label, weight in of_kind(values, "target", dict).items()},
        **{name: number(values[name]) for name in ("explained", "residual", "ms")},
        "prediction": None if prediction is None else prediction_of(prediction),
        "truncated": of_kind(values, "truncated", bool),
        "settings": of_kind(values, "settings", dict),
    }


def scores_of(values: Any) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is over float32 becomes infinite, and is refused for it
        return np.array(listed(values, None, int, float), dtype=np.float32)


def prediction_of(values: Any) -> Prediction:
    check_keys(Prediction, values, set())
    for name, kind in (("input", str), ("label", str), ("truncated", bool), ("windows", int), ("probabilities", bool)):
        of_kind(values, name, kind)
    top = [listed(row, 2) for row in listed(values["top"], None)]
    require(all(isinstance(label, str) for label, _ in top), "labels must be text", values["top"])
    return Prediction(
        **{
            **values,
            "top": tuple((label, number(score)) for label, score in top),
            **{name: number(values[name]) for name in ("score", "ms")},
        }
    )


def data_of(values: Mapping[str, Any]) -> bytes:
    data, encoding = of_kind(values, "data", str), values["encoding"]
    require(encoding in ("utf-8", "base64"), "encoding must be utf-8 or base64", encoding)
    return b64decode(data, validate=True) if encoding == "base64" else data.encode("utf-8")


def check_keys(kind: type, values: Any, further: set[str]) -> None:
    require(isinstance(values, dict), f"{kind.__name__} must be an object", values)
    wanted = {item.name for item in fields(kind)} | further
    other = sorted(set(values) ^ wanted)
    require(not other, f"{kind.__name__} takes exactly its keys", other)


def of_kind(values: Mapping[str, Any], name: str, kind: type) -> Any:
    require(type(values[name]) is kind, f"{name} must be of kind {kind.__name__}", values[name])
    return values[name]


def listed(values: Any, count: int | None, *kinds: type) -> list[Any]:
    """A list of so many values, each of one of the kinds; true and false are no numbers."""
    require(isinstance(values, list), "a list must be one", type(values).__name__)
    require(count in (None, len(values)), f"a list must have {count} values", len(values))
    others = [value for value in values if kinds and type(value) not in kinds]
    require(not others, f"a list must hold values of kind {kinds[0].__name__ if kinds else ''}", others[:1])
    return list(values)


def number(value: Any) -> float:
    require(type(value) in (int, float), "a number must be one", value)
    return float(value)
