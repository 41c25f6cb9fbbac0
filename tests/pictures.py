"""Pictures for tests: real shapes of files, made here and small."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

# Height and width: larger and smaller than what models read, odd, one pixel wide, of one pixel.
SIZES = [(50, 70), (33, 31), (9, 100), (1, 7), (300, 2), (1, 1)]


def pixels(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Smooth patches with noise: a resize of noise alone would be grey everywhere."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    noise = random.integers(-40, 41, (height, width, 3))
    return np.clip(coarse.repeat(8, 0).repeat(8, 1)[:height, :width] + noise, 0, 255).astype(np.uint8)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
