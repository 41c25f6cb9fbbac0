"""From files, bytes and text to token arrays, and the checks that an array must pass before a session sees it.

In: paths, bytes, text or arrays. Out: int64 arrays [batch, sequence] within the bundle's limits, or an
InputError. The checks are ours because ONNX Runtime lets an id of -1 and an empty sequence pass.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import InputError, UsageError
from edgexf.manifest import Bytes, Globals, Limits, Manifest

Tokens = npt.NDArray[np.int64]
Source = str | bytes | os.PathLike[str]

STDIN = "-"
SEPARATORS = 3  # in a pair of question and text, as RoBERTa's family writes it
BATCH_TOKENS = 16_384  # tokens that run together, padding included: more is slower per token on a CPU


@dataclass(frozen=True)
class Raw:
    """An input's name and the bytes of it that the model reads."""

    name: str
    data: bytes
    truncated: bool


def read_raw(source: Source, max_bytes: int) -> Raw:
    """The first `max_bytes` of a source: text as UTF-8, bytes as they are, a path's content.

    InputError for a path that can't be read and for an input without a byte.
    """
    if isinstance(source, str):
        name, data = "text", source.encode(errors="surrogateescape")
    elif isinstance(source, bytes):
        name, data = "bytes", source
    else:
        name, data = os.fspath(source), read_file(Path(source), max_bytes + 1)
    if not data:
        raise InputError(f"an input must hold at least one byte, got {name}, which is empty; leave it out.")
    return Raw(name, data[:max_bytes], len(data) > max_bytes)


def read_file(path: Path, size: int) -> bytes:
    """At most `size` bytes of a file, or of standard input for ``-``."""
    if str(path) == STDIN:
        if sys.stdin is None:
            raise InputError("an input of - must be an open standard input, got a closed one; name a file.")
        return sys.stdin.buffer.read(size)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except IsADirectoryError as error:
        raise InputError(f"an input must be a file, got {path}, which is a folder; name the files in it.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"an input must be a readable file, got {path} ({reason}); check the path and its permissions."
        ) from error


def encode(raw: Raw, preprocess: Bytes) -> Tokens:
    """The class token and one id a byte, int64 [1 + bytes]."""
    return np.concatenate(([preprocess.class_id], np.frombuffer(raw.data, dtype=np.uint8)), dtype=np.int64)


def pad(sequences: Sequence[Tokens], padding_id: int) -> tuple[Tokens, Tokens]:
    """input_ids and attention_mask, int64 [batch, longest]."""
    lengths = np.array([len(tokens) for tokens in sequences])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full_like(mask, padding_id)
    for row, tokens in enumerate(sequences):
        ids[row, : len(tokens)] = tokens
    return ids, mask


def batches(lengths: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Indices that may run together, shortest first, so that little is padded.

    Where padding changes answers only equal lengths share a batch.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        fits = (len(batch) + 1) * lengths[index] <= BATCH_TOKENS
        same = not batch or limits.padding == "invariant" or lengths[batch[0]] == lengths[index]
        if batch and not (fits and same):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def checked(name: str, value: Any, limits: Limits) -> Tokens:
    """`value` as int64 [batch, sequence] with a length inside the limits."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise InputError(
            f"{name} must be whole numbers [batch, sequence] with at least one row, got {array.dtype} {list(array.shape)}; reshape it."
        )
    if not limits.min_length <= array.shape[1] <= limits.max_length:
        raise InputError(
            f"{name} must have {limits.min_length} to {limits.max_length} tokens a row, got {array.shape[1]}; cut it or cut it into parts."
        )
    return array.astype(np.int64)


def check_inputs(given: Mapping[str, Any], manifest: Manifest) -> dict[str, Tokens]:
    """The graph's inputs by name, checked. What is not given is filled in: every token is real, and the model's own
    rule says which are global. InputError for arrays outside the limits, UsageError for an input that the model lacks.
    """
    wanted = [tensor.name for tensor in manifest.variants[0].inputs]
    unknown = sorted(name for name in given if name not in wanted)
    if unknown:
        raise UsageError(
            f"inputs must be among the model's ({', '.join(wanted)}), got {', '.join(unknown)}; leave it out."
        )
    ids, mask = check_tokens(given[names.INPUT_IDS], given.get(names.ATTENTION_MASK), manifest.limits)
    inputs = {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}
    if manifest.globals is not None:
        chosen = given.get(names.GLOBAL_ATTENTION_MASK)
        inputs[names.GLOBAL_ATTENTION_MASK] = (
            default_globals(ids, mask, manifest.globals)
            if chosen is None
            else alike(names.GLOBAL_ATTENTION_MASK, chosen, ids, 2, manifest.limits)
        )
        check_globals(inputs[names.GLOBAL_ATTENTION_MASK] * mask, manifest.limits)
    if manifest.limits.token_types:
        types = given.get(names.TOKEN_TYPE_IDS)
        inputs[names.TOKEN_TYPE_IDS] = (
            np.zeros_like(ids)
            if types is None
            else alike(names.TOKEN_TYPE_IDS, types, ids, manifest.limits.token_types, manifest.limits)
        )
    return inputs


def alike(name: str, value: Any, ids: Tokens, below: int, limits: Limits) -> Tokens:
    """`value` as whole numbers from 0 to `below` - 1 in the shape of `ids`."""
    array = checked(name, value, limits)
    if array.shape != ids.shape:
        raise InputError(
            f"{name} must have the shape of input_ids {list(ids.shape)}, got {list(array.shape)}; make them alike."
        )
    if array.min() < 0 or array.max() >= below:
        raise InputError(f"{name} must be 0 to {below - 1}, got {array.min()} to {array.max()}; check its values.")
    return array


def default_globals(ids: Tokens, mask: Tokens, rule: Globals) -> Tokens:
    """int64 [batch, sequence], 1 at the tokens that the model's rule makes global."""
    chosen = np.zeros_like(ids)
    if rule.rule == "first":
        chosen[:, 0] = 1
    if rule.rule == "question":
        separators = (ids == rule.separator_id) & (mask > 0)
        if np.any(separators.sum(axis=1) != SEPARATORS):
            raise InputError(
                f"a row must hold {SEPARATORS} separators {rule.separator_id}, the first behind the question, got "
                f"{separators.sum(axis=1).tolist()}; encode question and text as a pair, or give the global_attention_mask."
            )
        chosen[:] = np.arange(ids.shape[1]) < separators.argmax(axis=1)[:, None]
    return chosen


def check_globals(chosen: Tokens, limits: Limits) -> None:
    most = int(chosen.sum(axis=1).max())
    if most > limits.max_global:
        raise InputError(
            f"a row may have at most {limits.max_global} global tokens, got {most}; choose fewer, or export with --max-global {most}."
        )


def check_tokens(input_ids: Any, attention_mask: Any | None, limits: Limits) -> tuple[Tokens, Tokens]:
    """Both inputs, checked; without a mask every token is real."""
    ids = checked("input_ids", input_ids, limits)
    mask = np.ones_like(ids) if attention_mask is None else checked("attention_mask", attention_mask, limits)
    if ids.min() < 0 or ids.max() >= limits.vocab:
        raise InputError(
            f"input_ids must be 0 to {limits.vocab - 1}, got {ids.min()} to {ids.max()}; encode the input as the bundle says."
        )
    if mask.shape != ids.shape:
        raise InputError(
            f"attention_mask must have the shape of input_ids {list(ids.shape)}, got {list(mask.shape)}; make them alike."
        )
    appended = np.all(mask[:, 1:] <= mask[:, :-1]) and np.all(mask[:, 0] == 1) and mask.min() >= 0
    if not appended:
        raise InputError(
            "attention_mask must be ones and then zeros in each row, got another order; pad behind the real tokens."
        )
    return ids, mask
