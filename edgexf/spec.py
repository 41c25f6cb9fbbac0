"""The specification of a reference model: sizes and attention, as frozen dataclasses that reject unknown keys.

In: keyword arguments, or the dictionary that `to_dict` wrote. Out: the same values, checked.
Law: ``EncoderSpec.from_dict(spec.to_dict()) == spec``. Standard library only.

Two alternatives were weighed for the sizes of an attention. One flat dataclass with the fields of every attention is
shorter, but then a window on a Linformer is silently ignored. A free dictionary accepts anything, typing errors
included. A small dataclass for each attention keeps the checks beside the fields, and a new attention adds one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from edgexf.checks import is_count, require_choice, wrong_keys
from edgexf.errors import UsageError

# The reference task: which kind of content do these bytes hold?
LABELS = (
    "python", "c", "javascript", "perl", "shell", "sql", "cmake", "html", "xml", "json",
    "yaml", "css", "rst", "markdown", "elf", "png", "zip", "gzip", "pyc", "gettext",
)  # fmt: skip
PADDING_ID = 256
CLASS_ID = 257
VOCABULARY = 258
MAX_BYTES = 4096
MAX_LENGTH = MAX_BYTES + 1  # tokens: the class token comes first


def arguments(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as keyword arguments of `cls`; UsageError names unknown and missing keys."""
    wrong = wrong_keys(cls, values)
    if wrong:
        raise UsageError(f"{cls.__name__} {wrong}; use the specification that edgexf wrote.")
    return dict(values)


@dataclass(frozen=True)
class AttentionSpec:
    """The sizes of an attention. `kind` is the name of the attention in files."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require_choice(
                is_count(value, 1),
                f"{field.name} of {self.kind} attention must be a whole number of at least 1",
                value,
                "choose another value",
            )

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class FullAttentionSpec(AttentionSpec):
    """Softmax attention of every token to every token (Vaswani et al. 2017, eq. 1)."""

    kind: ClassVar[str] = "full"


@dataclass(frozen=True)
class WindowedAttentionSpec(AttentionSpec):
    """Longformer (Beltagy et al. 2020, section 3.1): `window` tokens to each side and a global first token."""

    kind: ClassVar[str] = "windowed"
    window: int = 64


@dataclass(frozen=True)
class HashedAttentionSpec(AttentionSpec):
    """Reformer (Kitaev et al. 2020, section 2): `rounds` hashes into `buckets`, sorted, in chunks of `chunk` tokens."""

    kind: ClassVar[str] = "hashed"
    buckets: int = 16
    rounds: int = 2
    chunk: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(
            self.buckets % 2 == 0,
            "buckets of hashed attention must be even, since each rotation serves x and -x",
            self.buckets,
            "choose an even number",
        )


@dataclass(frozen=True)
class ProjectedAttentionSpec(AttentionSpec):
    """Linformer (Wang et al. 2020, section 4): keys and values are projected from the length to `rank` slots."""

    kind: ClassVar[str] = "projected"
    rank: int = 32


ATTENTIONS: tuple[type[AttentionSpec], ...] = (
    FullAttentionSpec,
    WindowedAttentionSpec,
    HashedAttentionSpec,
    ProjectedAttentionSpec,
)


def attention_from_dict(values: Mapping[str, Any]) -> AttentionSpec:
    """The inverse of `AttentionSpec.to_dict`; UsageError names an unknown kind or key."""
    rest = dict(values)
    kind = rest.pop("kind", None)
    for cls in ATTENTIONS:
        if cls.kind == kind:
            return cls(**arguments(cls, rest))
    known = [cls.kind for cls in ATTENTIONS]
    raise UsageError(f"kind of an attention must be one of {known}, got {kind!r}; check the specification.")


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder that classifies sequences of tokens. Sizes are counts; lengths are in tokens.

    Attributes:
        attention: the attention of every layer.
        labels: the names of the classes.
        vocabulary: the number of token ids.
        max_length: the longest input, with the class token.
        width: the number of values in the vector of a token.
        layers: the number of layers.
        heads: the number of attention heads.
        feedforward: the width inside the feed-forward part of a layer.
        context: the number of neighbouring tokens that a layer's n-gram context joins, the token itself included.
    """

    attention: AttentionSpec
    labels: tuple[str, ...] = LABELS
    vocabulary: int = VOCABULARY
    max_length: int = MAX_LENGTH
    width: int = 128
    layers: int = 2
    heads: int = 4
    feedforward: int = 512
    context: int = 5

    def __post_init__(self) -> None:
        for name in ("vocabulary", "max_length", "width", "layers", "heads", "feedforward", "context"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            require_choice(
                whole and value >= 1, f"{name} must be a whole number of at least 1", value, "choose another value"
            )
        require_choice(self.max_length >= 2, "max_length must be at least 2", self.max_length, "leave room for a token")
        require_choice(
            self.width % self.heads == 0,
            f"width must be a multiple of heads ({self.heads})",
            self.width,
            "change one of them",
        )
        require_choice(
            self.width % 2 == 0, "width must be even, for pairs of sine and cosine", self.width, "choose an even width"
        )
        require_choice(
            self.context % 2 == 1,
            "context must be odd, the token itself being its middle",
            self.context,
            "choose an odd number",
        )
        require_choice(
            len(set(self.labels)) == len(self.labels) >= 2,
            "labels must be two or more different names",
            self.labels,
            "check them",
        )

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"attention": self.attention.to_dict(), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        parts = arguments(cls, values)
        parts["attention"] = attention_from_dict(parts["attention"])
        parts["labels"] = tuple(parts["labels"])
        return cls(**parts)
