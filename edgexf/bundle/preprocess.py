"""How text or bytes become token ids: the part of a manifest that says what a model reads.

In: keyword arguments. Out: frozen values that were checked for kind and range. A model without such a record takes
arrays.
"""

from __future__ import annotations

from edgexf.checks import is_count, require
from edgexf.records import Record


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

    def check(self, vocab: int, max_length: int) -> None:
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

    def check(self, vocab: int, _: int) -> None:
        """ValueError if `padding_id` is not below `vocab`. The tokenizer keeps to the longest length by itself."""
        require(self.padding_id < vocab, f"ids must be below vocab ({vocab})", self.padding_id)
