"""Turns files, bytes and text into token arrays, and forms batches of them.

In: paths, bytes or text. Out: int64 arrays [batch, sequence], or an InputError. `checks` then checks them, as it checks
the arrays of a caller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.manifest import Limits
from edgexf.bundle.preprocess import Bytes
from edgexf.checks import each
from edgexf.errors import InputError, UsageError
from edgexf.records import Record
from edgexf_runtimes.calls.call import go_on
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, read_file
from edgexf_runtimes.inputs.text import Encoded, Text, token_text

Tokens = npt.NDArray[np.int64]
Source = str | bytes | os.PathLike[str]

MAX_TEXT = 1 << 26  # bytes of one text: a bound, far above the limit of every model
BATCH_TOKENS = 16_384  # tokens that run together, padding included: more is slower per token on a CPU


class Raw(Record):
    """An input as it was read.

    Attributes:
        name: the path, or ``text``, ``bytes`` or ``pair``.
        data: the bytes of the input that the model reads.
        truncated: the input goes on after `data`.
        text: for a text model, the text itself or a pair of texts.
        prompt: the beginning of the text that is a prompt; empty without one.
    """

    name: str
    data: bytes
    truncated: bool
    text: Text | None = None
    prompt: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.data, bytes):
            kinds = f"{type(self.name).__name__} and {type(self.data).__name__}"
            raise UsageError(f"a Raw must hold a name and bytes, got {kinds}; call session.read.")


def read_raw(source: Source, max_bytes: int, timeout: float = INPUT_TIMEOUT) -> Raw:
    """Reads the first `max_bytes` of a source: text as UTF-8, bytes as they are, the content of a path.

    `timeout` is the time in seconds that a pipe may give nothing.

    Raises InputError for a path that can't be read and for an empty input.
    """
    name, data = named(source, max_bytes + 1, timeout)
    return Raw(name, data[:max_bytes], len(data) > max_bytes)


def read_text(source: Source | tuple[str, str], timeout: float = INPUT_TIMEOUT) -> Raw:
    """Reads a whole source as text. A pair of texts stays as it is.

    Raises InputError for a source that is not UTF-8, is empty or has more than `MAX_TEXT` bytes.
    """
    if isinstance(source, tuple):
        if len(source) != 2 or not all(isinstance(text, str) for text in source):
            kinds = [type(text).__name__ for text in source]
            raise UsageError(f"a tuple must be a pair of texts, got {len(source)} values of {kinds}; make it two.")
        return Raw("pair", as_bytes("\n".join(source)), False, source)
    name, data = named(source, MAX_TEXT + 1, timeout)
    if len(data) > MAX_TEXT:
        raise InputError(f"a text must have at most {MAX_TEXT:,} bytes, got more in {name}; cut it into parts.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"an input of this model must be UTF-8 text, got {name} with {error.reason} at byte {error.start}; convert it."
        ) from error
    return Raw(name, data, False, text)


def paired(given: str | Raw, other: str, before: bool = False) -> Raw:
    """A text and another one as a pair; the other one stands before it if asked. The name stays that of the text.

    UsageError for a `Raw` without a single text.
    """
    name, text = ("text", given) if isinstance(given, str) else (given.name, given.text)
    if not isinstance(text, str):
        raise UsageError(f"a text must be single to be paired, got {name} without one; give its text.")
    if not text:
        raise InputError(f"an input must hold at least one byte, got {name}, which is empty; leave it out.")
    pair = (other, text) if before else (text, other)
    return Raw(name, as_bytes("\n".join(pair)), False, pair)


def named(source: Source, size: int, timeout: float) -> tuple[str, bytes]:
    """The name and the bytes of a source, at most `size` bytes of a file. Raises InputError for an empty source."""
    if isinstance(source, str):
        name, data = "text", as_bytes(source)
    elif isinstance(source, bytes):
        name, data = "bytes", source
    else:
        name = path_of(source)
        data = read_file(Path(name), size, timeout)
    if not data:
        raise InputError(f"an input must hold at least one byte, got {name}, which is empty; leave it out.")
    return name, data


def path_of(source: Any) -> str:
    """The path of a source as text. Raises UsageError for a source that is none of those that a model reads."""
    try:
        return os.fsdecode(source)
    except Exception as error:  # an object's own __fspath__ may raise anything
        raise wrong_source(source) from error


def wrong_source(source: Any, place: int | None = None) -> UsageError:
    """The error for an input of a wrong type. `place` is its index among several."""
    where = "" if place is None else f" at place {place}"
    if isinstance(source, bytearray | memoryview):
        remedy = "give bytes(...) of it"
    elif hasattr(source, "__array__"):
        remedy = "call session.run with arrays"
    else:
        remedy = "convert it"
    return UsageError(
        f"an input must be text, bytes, a path or a pair of texts, got {type(source).__name__}{where}; {remedy}."
    )


SINGLE: Any = str | bytes | os.PathLike | tuple | Raw
OfDict = Callable[[Mapping[str, Any]], Any]


def is_single(inputs: Any, of_dict: OfDict | None = None) -> bool:
    """Whether a caller gave one input, and no list of them. A dict is one where `of_dict` makes an input of it."""
    return isinstance(inputs, SINGLE) or (of_dict is not None and isinstance(inputs, Mapping))


def listed(inputs: Any, of_dict: OfDict | None = None) -> list[Any]:
    """The inputs as a list. A single input becomes a list of one. `of_dict` makes an input of a dict.

    Raises UsageError for what is no input.
    """
    sources = iter([inputs]) if is_single(inputs, of_dict) else each(inputs)
    if sources is None:
        raise wrong_source(inputs)
    found: list[Any] = []
    for source in sources:
        go_on()  # what gives the inputs may take its time
        given = of_dict(source) if of_dict is not None and isinstance(source, Mapping) else source
        if not is_single(given):
            raise wrong_source(given, len(found))
        found.append(given)
    return found


def as_bytes(text: str) -> bytes:
    """Encodes a text as UTF-8. Bytes that a command line could not decode become the same bytes again.

    Raises InputError for other surrogates.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InputError("a text must be valid Unicode, got lone surrogates in it; decode it again.") from error


def encode(raw: Raw, preprocess: Bytes) -> Encoded:
    """Encodes bytes: the class token and one id for each byte, [1 + bytes]."""
    ids = np.concatenate(([preprocess.class_id], np.frombuffer(raw.data, dtype=np.uint8)), dtype=np.int64)
    tokens = ("[class]", *(token_text(byte) for byte in raw.data))
    offsets = ((0, 0), *((place, place + 1) for place in range(len(raw.data))))
    return Encoded(ids, np.zeros_like(ids), tokens, offsets, raw.truncated)


def pad(sequences: Sequence[Tokens], padding_id: int) -> tuple[Tokens, Tokens]:
    """Pads sequences to the longest: input_ids and attention_mask, int64 [batch, longest]."""
    lengths = np.array([len(tokens) for tokens in sequences])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full_like(mask, padding_id)
    for row, tokens in enumerate(sequences):
        ids[row, : len(tokens)] = tokens
    return ids, mask


def batches(
    lengths: Sequence[int], limits: Limits, alone: bool = False, most: int | None = None
) -> Iterator[list[int]]:
    """Yields the indices of inputs that may run together, shortest first, so that there is little padding.

    If padding changes answers, a batch holds only lengths that the model itself would pad alike. With `alone`, each
    input is a batch, for graphs in which rows depend on each other. A batch has at most `most` inputs, if it is given.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        fits = not alone and len(batch) != most and (len(batch) + 1) * lengths[index] <= BATCH_TOKENS
        same = not batch or limits.padded(lengths[batch[0]]) == limits.padded(lengths[index])
        if batch and not (fits and same):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
