"""The explanation of a picture as plain values, and its JSON.

In: the values that the runtime computed, or the JSON text of an earlier explanation. Out: a `PictureExplanation`, or JSON.
Law: ``PictureExplanation.from_json(why.to_json())`` has the values of ``why``, to the last bit of every number.

The picture is the one that the model read, after its resize and crop: in the JSON key `png` as a PNG in base64. A score
belongs to a square of it, a `cell`: the patches of a model that has patches, or some of them together, so that a person
can see them. Reading is strict, as that of `edgexf.report.explanation`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count, require
from edgexf.errors import EdgexfError, InputError, quoted
from edgexf.names import SHARES
from edgexf.report.explanation import REMEDY, no_number
from edgexf.report.png import Pixels, read_png, write_png
from edgexf.report.prediction import Prediction, shortest
from edgexf.report.reading import check_keys, listed, number, of_kind

SCHEMA_VERSION = 1
KIND = "picture"
TEXTS = ("input", "method", "baseline", "model", "model_sha256", "graph_sha256", "date", "machine", "truth")


@dataclass(frozen=True, eq=False)
class PictureExplanation:
    """Why a model answered as it did: one signed, raw score for each cell of the picture.

    The scores and the residual add up: explained = sum(scores) + residual, in logits for a model with labels.

    ValueError for values that don't fit each other, EdgexfError for a number that is not finite.

    Attributes:
        input: the name of the picture.
        pixels: what the model read, uint8 [height, width, 3].
        scores: float32 [rows, columns], a number for each cell.
        cell: the side of a cell in pixels; those at the right and below may be smaller.
        target, explained, residual, method, prediction, model, model_sha256, graph_sha256, ms, baseline, settings, date,
            machine, truth: as in `Explanation`.
        truncated: whether the file holds further pictures, which were not read.
    """

    input: str
    pixels: Pixels
    scores: npt.NDArray[np.float32]
    cell: int
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
        return self.to_dict() == other.to_dict() if isinstance(other, PictureExplanation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # scores can change

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        require(len(shape) == 3 and shape[2] == 3 and self.pixels.size > 0, "pixels must be [height, width, 3]", shape)
        require(is_count(self.cell, 1), "cell must be a number of pixels", self.cell)
        cells = tuple(-(-side // self.cell) for side in shape[:2])
        require(self.scores.shape == cells, f"scores must be {list(cells)}, one a cell", self.scores.shape)
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
    def peak(self) -> float:
        """The largest |score|."""
        return float(np.abs(self.scores).max())

    @property
    def scores_are_attention(self) -> bool:
        """As in `Explanation`."""
        return self.method in SHARES

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON; see the module's docstring."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "pixels"}
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            **values,
            "png": b64encode(write_png(self.pixels)).decode("ascii"),
            "scores": shortest(self.scores),
            "prediction": None if self.prediction is None else self.prediction.to_dict(),
            "settings": dict(self.settings),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> PictureExplanation:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        try:
            values = json.loads(text, parse_constant=no_number)
        except (ValueError, RecursionError) as error:
            raise InputError(f"an explanation must be JSON, got something else ({error}); {REMEDY}.") from error
        found = values.get("schema_version") if isinstance(values, dict) else None
        if type(found) is not int or found != SCHEMA_VERSION or values.get("kind") != KIND:
            raise InputError(
                f"the explanation of a picture must have the kind {KIND} and the schema_version {SCHEMA_VERSION}, got {quoted(found)}; explain the picture again, or read it with the edgexf that wrote it."
            )
        try:
            return PictureExplanation(**restored(values))
        except (TypeError, ValueError, KeyError, OverflowError, EdgexfError) as error:
            raise InputError(
                f"an explanation must hold what to_json writes, got other values ({error}); {REMEDY}."
            ) from error

    def to_html(self) -> str:
        """One self-contained HTML page; see `edgexf.report.html.picture`."""
        from edgexf.report.html.picture import picture_page

        return picture_page([self])

    def save_html(self, path: Path) -> None:
        path.write_text(self.to_html(), encoding="utf-8")


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `PictureExplanation`. ValueError for wrong keys, and for values of the wrong kind."""
    kept = {name: value for name, value in values.items() if name != "png"}
    check_keys(PictureExplanation, {**kept, "pixels": None}, {"schema_version", "kind"})
    for name in TEXTS:
        of_kind(values, name, str)
    prediction = values["prediction"]
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which the record refuses
        scores = np.array([listed(row, None, int, float) for row in listed(values["scores"], None)], dtype=np.float32)
    return {
        **{item.name: values[item.name] for item in fields(PictureExplanation) if item.name != "pixels"},
        "pixels": read_png(b64decode(of_kind(values, "png", str), validate=True)),
        "scores": scores,
        "target": {label: number(weight) for label, weight in of_kind(values, "target", dict).items()},
        **{name: number(values[name]) for name in ("explained", "residual", "ms")},
        "prediction": None if prediction is None else Prediction.from_dict(prediction),
        "truncated": of_kind(values, "truncated", bool),
        "settings": of_kind(values, "settings", dict),
    }
