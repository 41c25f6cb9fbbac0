"""The longest text and the size of an image, as a config and a processor say them.

In: the config of a model of transformers, and the values of preprocessor_config.json. Out: numbers of tokens, channels
and pixels. A config may keep them in a part, such as `text_config` or `vision_config`, and calls them by many names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
)
IMAGES = ("image_size", "img_size", "input_size", "crop_size")
PROCESSOR = ("crop_size", "size")
CHANNELS = ("num_channels", "in_channels", "in_chans", "num_input_channels")
FRAMES = ("num_frames", "frames_per_clip")
EDGES = ("shortest_edge", "longest_edge")
RGB = 3


def parts(config: Any) -> Iterator[Any]:
    """Yields a config and the configs inside it, the outermost first."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            yield from parts(value)


def said(config: Any, names: tuple[str, ...]) -> Any:
    """The first value that a config or a part of it gives under one of these names; None if none gives any.

    Values alone are read: an attribute of a config may raise, where it differs from layer to layer.
    """
    found = (vars(part).get(name) for part in parts(config) for name in names)
    return next((value for value in found if value is not None), None)


def longest_text(config: Any) -> int | None:
    """The number of positions of a model; None for a model that counts positions without a table."""
    found = said(config, LENGTHS)
    return found if isinstance(found, int) and found > 0 else None


def image_size(config: Any, processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """The height and width of an image in pixels; None if neither the config nor the processor says them."""
    told = [said(config, IMAGES), *(processor.get(name) for name in PROCESSOR)]
    return next((pair for pair in map(pair_of, told) if pair is not None), None)


def pair_of(value: Any) -> tuple[int, int] | None:
    """Height and width of a size that is a number, two numbers, or a dictionary of a processor."""
    if isinstance(value, Mapping):
        edge = next((value[name] for name in EDGES if name in value), None)
        value = (value["height"], value["width"]) if {"height", "width"} <= value.keys() else edge
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value, value)
    if not isinstance(value, list | tuple) or len(value) < 2 or not all(isinstance(one, int) for one in value[-2:]):
        return None
    return value[-2], value[-1]


def channels(config: Any) -> int:
    """The number of channels of an image; three where no config says it."""
    found = said(config, CHANNELS)
    return found if isinstance(found, int) and found > 0 else RGB


def frames(config: Any) -> int | None:
    """The number of images of a video; None for a model of single images."""
    found = getattr(config, FRAMES[0], getattr(config, FRAMES[1], None))
    return found if isinstance(found, int) and found > 0 else None
