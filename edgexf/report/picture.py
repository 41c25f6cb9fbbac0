"""The explanation of a picture as plain values, and its JSON.

In: the values that the runtime computed, or the JSON text of an earlier explanation. Out: a `PictureExplanation`, or JSON.
Law: ``PictureExplanation.from_json(why.to_json())`` has the values of ``why``, to the last bit of every number.

The picture is the one that the model read, after its resize and crop: in the JSON key `png` as a PNG in base64. A score
belongs to a square of it, a `cell`: the patches of a model that has patches, or some of them together, so that a person
can see them. Reading is strict, as that of `edgexf.report.explanation`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgexf.checks import is_count, require
from edgexf.errors import EdgexfError, InputError, quoted
from edgexf.report.png import Pixels, read_png, write_png
from edgexf.report.reading import check_keys, listed, of_kind
from edgexf.report.scored import Scored, other_values, parsed, shared

SCHEMA_VERSION = 1
KIND = "picture"


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureExplanation(Scored):
    """Why a model answered as it did: one signed, raw score for each cell of the picture.

    ValueError for values that don't fit each other, EdgexfError for a number that is not finite.

    Attributes:
        scores: float32 [rows, columns], a number for each cell.
        truncated: whether the file holds further pictures, which were not read.
        pixels: what the model read, uint8 [height, width, 3].
        cell: the side of a cell in pixels; those at the right and below may be smaller.

    The other attributes are those of `Scored`.
    """

    pixels: Pixels
    cell: int

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        require(len(shape) == 3 and shape[2] == 3 and self.pixels.size > 0, "pixels must be [height, width, 3]", shape)
        require(is_count(self.cell, 1), "cell must be a number of pixels", self.cell)
        cells = tuple(-(-side // self.cell) for side in shape[:2])
        require(self.scores.shape == cells, f"scores must be {list(cells)}, one a cell", self.scores.shape)
        super().__post_init__()

    @property
    def peak(self) -> float:
        """The largest |score|."""
        return float(np.abs(self.scores).max())

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON; see the module's docstring."""
        values = self.shared_values()
        del values["pixels"]
        png = b64encode(write_png(self.pixels)).decode("ascii")
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **values, "png": png}

    @staticmethod
    def from_json(text: str | bytes) -> PictureExplanation:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        values = parsed(text)
        found = values.get("schema_version") if isinstance(values, dict) else None
        if type(found) is not int or found != SCHEMA_VERSION or values.get("kind") != KIND:
            raise InputError(
                f"the explanation of a picture must have the kind {KIND} and the schema_version {SCHEMA_VERSION}, got {quoted(found)}; explain the picture again, or read it with the edgexf that wrote it."
            )
        try:
            return PictureExplanation(**restored(values))
        except (TypeError, ValueError, KeyError, OverflowError, EdgexfError) as error:
            raise other_values(error) from error

    def to_html(self) -> str:
        """One self-contained HTML page; see `edgexf.report.html.picture`."""
        from edgexf.report.html.picture import picture_page

        return picture_page([self])


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `PictureExplanation`. ValueError for wrong keys, and for values of the wrong kind."""
    kept = {name: value for name, value in values.items() if name != "png"}
    check_keys(PictureExplanation, {**kept, "pixels": None}, {"schema_version", "kind"})
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which the record refuses
        scores = np.array([listed(row, None, int, float) for row in listed(values["scores"], None)], dtype=np.float32)
    pixels = read_png(b64decode(of_kind(values, "png", str), validate=True))
    return {**shared(values), "scores": scores, "pixels": pixels, "cell": values["cell"]}
