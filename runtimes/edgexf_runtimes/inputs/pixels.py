"""Runs the steps of a bundle on the pixels of a picture, in numpy, and in Pillow for a resize.

In: uint8 [height, width, 3] and the steps (`edgexf.bundle.steps`). Out: what the model reads, float32 [3, height, width],
and the same picture as people see it, uint8 [height, width, 3].

The numbers are those of transformers with its PIL backend, to the last bits of float32: a factor is applied in float64
and rounded to float32, mean and std are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.steps import (
    BETWEEN,
    EXACT,
    FILTERS,
    SHAPES,
    SHORTEST,
    Crop,
    Flip,
    Normalize,
    Pad,
    Rescale,
    Resize,
    Step,
)
from edgexf.errors import InputError, MissingExtraError

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

MOST_PIXELS = 1 << 26  # of a picture behind a resize: a long and narrow one grows by a resize of its shorter side


def pillow() -> Any:
    """The module `PIL.Image`. Raises MissingExtraError where Pillow is not installed."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "pictures need the extra `image`, got no Pillow in this environment; install it with: pip install 'edgexf[image]'."
        ) from error
    return Image


def pixel_values(pixels: Pixels, steps: Sequence[Step]) -> npt.NDArray[np.float32]:
    """What the model reads of a picture, float32 [3, height, width]. Raises InputError for a picture too narrow."""
    found: Array = pixels
    for step in steps:
        found = RUN[type(step)](found, step)
    channels: npt.NDArray[np.float32] = np.ascontiguousarray(found.transpose(2, 0, 1), dtype=np.float32)
    return channels


def seen(pixels: Pixels, steps: Sequence[Step]) -> Pixels:
    """The part of a picture that the model reads, in the size in which it reads it."""
    found: Array = pixels
    for step in steps:
        if isinstance(step, SHAPES):
            found = RUN[type(step)](found, step)
    return found


def resized(pixels: Array, step: Resize) -> Array:
    module = pillow()
    height, width = SIZES[step.rule](pixels.shape[0], pixels.shape[1], *step.size)
    if not 0 < height * width <= MOST_PIXELS:
        raise InputError(
            f"a picture must keep 1 to {MOST_PIXELS:,} pixels in the size that the model reads, got {pixels.shape[0]} x {pixels.shape[1]}, which becomes {height} x {width}; cut it."
        )
    resample = module.Resampling(FILTERS.index(step.filter))
    picture = module.fromarray(pixels).resize((width, height), resample=resample)
    return np.asarray(picture)


def by_shorter_side(height: int, width: int, edge: int) -> tuple[int, int]:
    """The longer side is rounded down, as in transformers."""
    longer = int(edge * max(height, width) / min(height, width))
    return (longer, edge) if width <= height else (edge, longer)


def between(height: int, width: int, edge: int, most: int) -> tuple[int, int]:
    """The shorter side is `edge`, or what makes the longer one `most`.

    As in transformers, the longer side follows from the shorter one before it is rounded where `most` decides, and a
    picture whose shorter side fits already keeps its size.
    """
    short, long, shorter = min(height, width), max(height, width), float(edge)
    if long / short * edge > most:
        shorter = most * float(short) / float(long)
    edge = round(shorter)
    longer = long if short == edge else int(shorter * long / short)
    return (edge, longer) if height <= width else (longer, edge)


SIZES: Mapping[str, Callable[..., tuple[int, int]]] = {
    EXACT: lambda _height, _width, *size: size,
    SHORTEST: by_shorter_side,
    BETWEEN: between,
}


def cropped(pixels: Array, step: Crop) -> Array:
    """The middle. Where the picture is larger, half of what goes stands before it; where it is smaller, half of the zeros,
    rounded up.
    """
    found = np.zeros((*step.size, pixels.shape[2]), dtype=pixels.dtype)
    here, there = [], []
    for side, wanted in zip(pixels.shape[:2], step.size, strict=True):
        first = (side - wanted) // 2 if step.half == "down" else round((side - wanted) / 2)
        kept = min(side, wanted)
        here.append(slice(max(first, 0), max(first, 0) + kept))
        there.append(slice(max(-first, 0), max(-first, 0) + kept))
    found[tuple(there)] = pixels[tuple(here)]
    return found


def padded(pixels: Array, step: Pad) -> Array:
    """Raises InputError for a picture larger than the wanted size."""
    (height, width), channels = pixels.shape[:2], pixels.shape[2]
    if height > step.size[0] or width > step.size[1]:
        raise InputError(
            f"a picture must fit into the model's {step.size[0]} x {step.size[1]}, got {height} x {width}; make it smaller."
        )
    found = np.zeros((*step.size, channels), dtype=pixels.dtype)
    found[:height, :width] = pixels
    return found


def flipped(pixels: Array, _: Flip) -> Array:
    return pixels[:, :, ::-1]


def rescaled(pixels: Array, step: Rescale) -> Array:
    values = (pixels.astype(np.float64) * step.factor).astype(np.float32)
    return values + np.float32(step.offset) if step.offset else values


def normalized(pixels: Array, step: Normalize) -> Array:
    mean, std = (np.array(one, dtype=np.float32) for one in (step.mean, step.std))
    values: Array = (pixels.astype(np.float32) - mean) / std
    return values


RUN: Mapping[type[Step], Callable[[Array, Any], Array]] = {
    Resize: resized, Crop: cropped, Flip: flipped, Rescale: rescaled, Normalize: normalized, Pad: padded,
}  # fmt: skip
