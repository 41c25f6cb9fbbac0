"""Pictures on their way to a graph: read, prepared, and put together into batches of one size.

In: what a caller gives as pictures, and the record `Image` of a bundle. Out: `Prepared` inputs, whose rows hold
``pixel_values`` float32 [1, 3, height, width], and batches of such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.preprocess import PIXELS, Image
from edgexf.errors import InputError, UsageError, quoted
from edgexf_runtimes.decoding import Prepared
from edgexf_runtimes.inputs.text import Encoded

if TYPE_CHECKING:  # an application waits for the imports of the runtime
    from edgexf_runtimes.inputs.image import Picture

Array = npt.NDArray[Any]
Row = Mapping[str, Array]
Check = Callable[[Mapping[str, Any]], dict[str, Array]]

TOGETHER = 8  # pictures of a run: bounds the memory of the layers, which of large pictures is far more than the input's


def listed(inputs: Any) -> list[Any]:
    from edgexf_runtimes.inputs import image

    return image.listed(inputs)


def read(source: Any, timeout: float) -> Picture:
    from edgexf_runtimes.inputs import image

    return image.read_picture(source, timeout)


def prepared(reader: Image, picture: Picture, truncate: bool, stride: int | None, check: Check) -> Prepared:
    """A picture with the checked inputs of the graph. Raises InputError for a picture of a size that the model does not
    take, and UsageError for a stride, or where it is to be truncated.
    """
    from edgexf_runtimes.inputs.pixels import pixel_values

    if truncate:
        raise UsageError("a text is truncated, got truncate=True for pictures, which are read whole; leave it out.")
    if stride is not None:
        raise UsageError(f"a stride is for models that read text, got {quoted(stride)} for pictures; leave it out.")
    try:
        row = check({PIXELS: pixel_values(picture.pixels, reader.steps)[None]})
    except InputError as error:
        raise InputError(f"{picture.name}: {error}") from error
    nothing = np.empty(0, dtype=np.int64)
    return Prepared(picture, [Encoded(nothing, nothing, (), ())], [row])


def batches(rows: Sequence[Row], alone: bool, most_rows: Callable[[int], int]) -> list[list[int]]:
    """The places of pictures that run together: those of one size, in their order. `most_rows` bounds the rows of a run
    by the bytes of each. With `alone`, each picture is a batch.
    """
    found: list[list[int]] = []
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        batch = by_size.get(row[PIXELS].shape)
        if batch is None or alone or len(batch) >= min(TOGETHER, most_rows(row[PIXELS].nbytes)):
            batch = by_size[row[PIXELS].shape] = []
            found.append(batch)
        batch.append(place)
    return found


def together(rows: Sequence[Row], check: Check) -> dict[str, Array]:
    """The rows as one batch. Raises UsageError for none, and for pictures of different sizes."""
    if not rows:
        raise UsageError("pictures to encode must be at least one, got none; give one.")
    sizes = {row[PIXELS].shape[2:] for row in rows}
    if len(sizes) != 1:
        raise UsageError(
            f"pictures that run together must have one size, got {len(sizes)}; encode them one by one, or call predict."
        )
    return check({PIXELS: np.concatenate([row[PIXELS] for row in rows])})
