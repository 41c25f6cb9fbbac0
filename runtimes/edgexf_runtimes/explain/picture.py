"""What the outputs of an explain graph say about a picture.

In: a target whose input is a picture, and relevance float32 [1, height, width]. Out: a `PictureExplanation`, with the sum
of the relevance of each cell. A cell is a patch of the model, or as many of them together as keep the cells of the longer
side to `CELLS`: of single pixels nobody sees more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.preprocess import Image
from edgexf.errors import UsageError, quoted
from edgexf.report.picture import PictureExplanation
from edgexf_runtimes.device.device import machine, now
from edgexf_runtimes.explain.target import ExplanationTarget
from edgexf_runtimes.inputs.image import Picture
from edgexf_runtimes.inputs.pixels import pixel_values, seen

if TYPE_CHECKING:
    from edgexf_runtimes.predictor import Predictor

Array = npt.NDArray[Any]

CELLS = 28  # of the longer side: 224 pixels in cells of 8
COLOURS = {"black": 0, "grey": 127, "white": 255}  # pictures of one colour at which a path may begin


def cell_of(reader: Image, height: int, width: int) -> int:
    """The side of a cell in pixels."""
    patch = reader.patch or 1
    return patch * max(-(-max(height, width) // (patch * CELLS)), 1)


def sums(relevance: Array, cell: int) -> npt.NDArray[np.float32]:
    """The sum of the relevance of each cell, float32 [rows, columns]. The last cells may be smaller."""
    found: Array = relevance.astype(np.float64)
    for axis, side in enumerate(relevance.shape):
        found = np.add.reduceat(found, np.arange(0, side, cell), axis=axis)
    return found.astype(np.float32)


def baseline(reader: Image, picture: Picture, chosen: str | int | None) -> tuple[Array, str]:
    """What the model reads of a picture of one colour, by default black (Sundararajan et al. 2017, section 3), and its name.

    Raises UsageError for another colour.
    """
    name = "black" if chosen is None else chosen
    if not isinstance(name, str) or name not in COLOURS:
        raise UsageError(
            f"the baseline of a picture must be one of {', '.join(COLOURS)}, got {quoted(chosen)}; choose one of them."
        )
    return pixel_values(np.full_like(picture.pixels, COLOURS[name]), reader.steps)[None], name


def picture_explanation(
    predictor: Predictor, reader: Image, method: str, question: ExplanationTarget, found: Mapping[str, Array], ms: float,
    started: str, settings: Mapping[str, Any],
) -> PictureExplanation:  # fmt: skip
    """The explanation of one picture. `started` names the baseline of a path, and `settings` are those of the path."""
    raw = question.given.raw
    assert isinstance(raw, Picture)  # noqa: S101 (tells mypy: the predictor of a model of images reads pictures)
    outputs = {name: array[0] for name, array in found.items()}
    relevance = outputs[names.RELEVANCE]
    cell, manifest = cell_of(reader, *relevance.shape), predictor.manifest
    scores, residual = sums(relevance, cell), float(outputs[names.RESIDUAL])
    return PictureExplanation(
        input=raw.name,
        pixels=seen(raw.pixels, reader.steps),
        scores=scores,
        cell=cell,
        target=question.named(outputs),
        explained=residual + float(scores.sum(dtype=np.float64)),
        residual=residual,
        method=method,
        prediction=question.prediction(outputs, ms),
        model=manifest.name,
        model_sha256=predictor.model_sha256,
        graph_sha256=manifest.files[manifest.graph(method, predictor.dtype).file]["sha256"],
        ms=ms,
        truncated=question.given.truncated,
        baseline=started,
        settings=settings,
        date=now(),
        machine=machine(),
    )
