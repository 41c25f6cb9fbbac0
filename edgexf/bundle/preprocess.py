"""How text or bytes become token ids, and a picture numbers: the part of a manifest that says what a model reads.

In: keyword arguments. Out: frozen values that were checked for kind and range. A model without such a record takes
arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgexf.bundle.steps import CHANNELS, Step, check_steps, size_of
from edgexf.checks import is_count, require
from edgexf.records import Record

PIXELS = "pixel_values"
Shapes = Mapping[str, tuple[int | str, ...]]  # of the inputs of the graph, by name


class Bytes(Record):
    """How raw bytes become token ids: `class_id` first, then the value of each byte, then padding.

    Attributes:
        kind: ``bytes``.
        class_id: the id of the first token.
        padding_id: the id of each token behind a shorter input.
        max_bytes: the largest number of bytes of an input.
    """

    kind: str
    class_id: int
    padding_id: int
    max_bytes: int

    def __post_init__(self) -> None:
        require(self.kind == "bytes", "kind of a preprocessing must be bytes", self.kind)
        for name, least in (("class_id", 0), ("padding_id", 0), ("max_bytes", 1)):
            value = getattr(self, name)
            require(is_count(value, least), f"{name} must be a whole number of at least {least}", value)

    def check(self, vocab: int, max_length: int, _: Shapes) -> None:
        """ValueError if the ids or the length of the tokens break the limits of the model."""
        ids = (255, self.class_id, self.padding_id)
        require(max(ids) < vocab, f"ids of bytes must be below vocab ({vocab})", max(ids))
        require(self.max_bytes < max_length, "max_bytes must leave room for the class token", self)


class Text(Record):
    """How text becomes token ids: by the bundle's tokenizer.json, with special tokens, then padding.

    Attributes:
        kind: ``text``.
        padding_id: the id of each token behind a shorter input.
        segments: whether the tokenizer gives the segments of a pair of texts; if not, the model's rule gives them.
    """

    kind: str
    padding_id: int
    segments: bool

    def __post_init__(self) -> None:
        require(self.kind == "text", "kind of a preprocessing must be text", self.kind)
        require(is_count(self.padding_id, 0), "padding_id must be a token's id", self.padding_id)
        require(isinstance(self.segments, bool), "segments must be true or false", self.segments)

    def check(self, vocab: int, _: int, __: Shapes) -> None:
        """ValueError if `padding_id` is not below `vocab`. The tokenizer keeps to the longest length by itself."""
        require(self.padding_id < vocab, f"ids must be below vocab ({vocab})", self.padding_id)


class Image(Record):
    """How a picture becomes the input ``pixel_values``, float32 [batch, 3, height, width].

    A picture is read as RGB, upright by its EXIF tag, with 8 bits a channel; the steps follow.

    Attributes:
        kind: ``image``.
        steps: what happens to the picture, in order; see `edgexf.bundle.steps`.
        patch: the side in pixels of the squares of which the model makes tokens; 0 for a model without such squares.
    """

    kind: str
    steps: tuple[Step, ...]
    patch: int

    def __post_init__(self) -> None:
        require(self.kind == "image", "kind of a preprocessing must be image", self.kind)
        require(is_count(self.patch, 0), "patch must be a number of pixels, or 0", self.patch)
        check_steps(self.steps)

    def check(self, _: int, __: int, shapes: Shapes) -> None:
        """ValueError for a model that reads something else beside pictures, and for pictures of a size it doesn't take."""
        shape = shapes.get(PIXELS, ())
        fits = len(shapes) == 1 and len(shape) == 4 and (shape[1] == CHANNELS or isinstance(shape[1], str))
        require(fits, f"a reader of pictures needs {PIXELS} [batch, {CHANNELS}, height, width] alone", dict(shapes))
        size, wanted = size_of(self.steps), shape[2:]
        pairs = zip(wanted, size or (0, 0), strict=True)  # 0 stands for a side that varies, which no fixed one equals
        same = all(isinstance(side, str) or side == mine for side, mine in pairs)
        require(same, f"pictures must become {list(wanted)}, as the model takes them", size or "each of its own size")


def gives_tokens(preprocess: Bytes | Text | Image | None) -> bool:
    """Whether token ids are made of what is read."""
    return isinstance(preprocess, Bytes | Text)
