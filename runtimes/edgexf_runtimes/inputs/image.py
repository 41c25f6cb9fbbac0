"""Reads pictures: files, bytes, pictures of Pillow and numpy arrays. Needs only the package Pillow.

In: a path as text or `Path`, the bytes of a file, a `PIL.Image.Image`, or uint8 [height, width, 3]. Out: a `Picture`: RGB,
8 bits a channel, upright by its EXIF tag, as transformers' pipelines read a file. Transparent pixels keep the colour that
is stored below them, as there.

Where Pillow would answer silently with another picture, edgexf does not follow it: Pillow cuts 16 bits of grey off above
255, so that nearly everything becomes white; here they are scaled to 8 bits. 32 bits and floats have no such scale and are
refused. Of an animation the first frame is read, and the answer says that it is truncated.
"""

from __future__ import annotations

import os
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import each
from edgexf.errors import InputError, UsageError, said_by
from edgexf_runtimes.calls.call import go_on
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, read_file
from edgexf_runtimes.inputs.pixels import pillow
from edgexf_runtimes.inputs.preprocess import Raw

if TYPE_CHECKING:
    from PIL import Image

MOST_BYTES = 1 << 28  # of a file: a bound, far above every photograph
SIXTEEN_BITS = "I;16"
NO_RANGE = ("I", "F")  # modes whose numbers may mean anything
ONE_AXIS = 3  # of a picture as an array: height, width, channels
KINDS = "a path, the bytes of a file, a picture of Pillow, or uint8 [height, width, 3]"


class Picture(Raw):
    """A picture as it was read: `data` holds the bytes of its RGB pixels, row by row.

    Attributes:
        size: the height and the width.
    """

    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = self.size
        if height < 1 or width < 1 or len(self.data) != 3 * height * width:
            raise InputError(
                f"a picture must have pixels, three bytes each, got {self.name} of {height} x {width} with {len(self.data)} bytes; give another."
            )

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """uint8 [height, width, 3]."""
        return np.frombuffer(self.data, dtype=np.uint8).reshape(*self.size, 3)


def read_picture(source: Any, timeout: float = INPUT_TIMEOUT) -> Picture:
    """Reads one picture.

    `timeout` is the time in seconds that a pipe may give nothing. Raises InputError for a file that can't be read, for one
    that is no whole picture, and for a picture too large; UsageError for what is no picture at all.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return of_array(source)
    if is_pillow(source):
        return decoded("picture", source)
    if isinstance(source, bytes):
        return opened("bytes", source)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(f"a picture must be {KINDS}, got {type(source).__name__}; convert it.")
    name = os.fsdecode(source)
    data = read_file(Path(name), MOST_BYTES + 1, timeout)
    if len(data) > MOST_BYTES:
        raise InputError(f"a picture must have at most {MOST_BYTES >> 20} MiB, got more in {name}; make it smaller.")
    return opened(name, data)


def listed(inputs: Any) -> list[Any]:
    """The pictures as a list. A single picture becomes a list of one. Raises UsageError for what is no picture."""
    if is_one(inputs):
        return [inputs]
    sources = each(inputs)
    if sources is None:
        raise UsageError(f"pictures must be {KINDS}, or several of them, got {type(inputs).__name__}; convert it.")
    found: list[Any] = []
    for source in sources:
        go_on()  # what gives the pictures may take its time
        if not is_one(source):
            raise UsageError(
                f"a picture must be {KINDS}, got {type(source).__name__} at place {len(found)}; convert it."
            )
        found.append(source)
    return found


def is_one(source: Any) -> bool:
    """Whether a source is one picture. An array [pictures, height, width, 3] holds several."""
    if isinstance(source, np.ndarray):
        return source.ndim <= ONE_AXIS
    return isinstance(source, str | bytes | os.PathLike | Raw) or is_pillow(source)


def is_pillow(source: Any) -> bool:
    """Whether a source is a picture of Pillow, which is not imported for the question."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(source, module.Image)


def of_array(array: npt.NDArray[Any]) -> Picture:
    if array.dtype != np.uint8 or array.ndim != ONE_AXIS or array.shape[2] != 3 or not array.size:
        raise InputError(
            f"a picture as an array must be uint8 [height, width, 3], got {array.dtype} {list(array.shape)}; convert it, or call session.run with the pixel_values."
        )
    return Picture("array", array.tobytes(), False, size=(array.shape[0], array.shape[1]))


def opened(name: str, data: bytes) -> Picture:
    """The picture in the bytes of a file."""
    from_pillow = pillow()
    if not data:
        raise InputError(f"a picture must hold at least one byte, got {name}, which is empty; leave it out.")
    try:
        with warnings.catch_warnings():
            # The size is checked by `decoded`, with a sentence. Pillow only warns of some sizes.
            warnings.simplefilter("error", from_pillow.DecompressionBombWarning)
            picture = from_pillow.open(BytesIO(data))
    except (from_pillow.DecompressionBombError, from_pillow.DecompressionBombWarning) as error:
        raise InputError(
            f"a picture must have at most {from_pillow.MAX_IMAGE_PIXELS:,} pixels, got {name} with more; make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        ) from error
    except Exception as error:  # a decoder may raise anything at damaged bytes
        raise InputError(
            f"an input of this model must be a picture that Pillow reads, got {name}, which is none; convert it."
        ) from error
    return decoded(name, picture)


def decoded(name: str, picture: Image.Image) -> Picture:
    """A picture of Pillow as RGB. Raises InputError for one that is damaged, too large or of a mode without a scale."""
    from PIL import ImageOps

    most = pillow().MAX_IMAGE_PIXELS
    width, height = picture.size
    if most is not None and width * height > most:
        raise InputError(
            f"a picture must have at most {most:,} pixels, got {name} with {width * height:,}; make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        )
    if picture.mode in NO_RANGE:
        raise InputError(
            f"a picture must have 8 or 16 bits a channel, got {name} in Pillow's mode {picture.mode}, whose numbers have no range; convert it to RGB."
        )
    try:
        moves = bool(getattr(picture, "is_animated", False))
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith(SIXTEEN_BITS):
            upright = eight_bits(upright)
        colours = upright.convert("RGB")
    except Exception as error:  # a decoder may raise anything at damaged bytes
        raise InputError(
            f"a picture must be whole, got {name}, which Pillow can't decode ({said_by(error)}); save it again."
        ) from error
    return Picture(name, colours.tobytes(), moves, size=(colours.height, colours.width))


def eight_bits(picture: Image.Image) -> Image.Image:
    """16 bits of grey as 8: 65,535 becomes 255."""
    values = np.asarray(picture, dtype=np.uint32)
    scaled: Image.Image = pillow().fromarray(((values + 128) // 257).astype(np.uint8))
    return scaled
