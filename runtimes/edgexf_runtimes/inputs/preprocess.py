"""Turns files, bytes and text into token arrays, and checks every array before a session sees it.

In: paths, bytes, text or arrays. Out: int64 arrays [batch, sequence] within the bundle's limits, for a custom module
arrays of its dtypes and shapes, or an InputError. These checks are needed because ONNX Runtime accepts an id of -1 and
an empty sequence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.formula import formula, known, size_of
from edgexf.bundle.manifest import Decoder, Globals, Limits, Manifest, Segments
from edgexf.bundle.preprocess import Bytes
from edgexf.bundle.signature import Signature, Within
from edgexf.errors import InputError, UsageError
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, read_file
from edgexf_runtimes.inputs.text import Encoded, Text, token_text

Tokens = npt.NDArray[np.int64]
Source = str | bytes | os.PathLike[str]

MAX_TEXT = 1 << 26  # bytes of one text: a bound, far above the limit of every model
SEPARATORS = 3  # in a pair of question and text, as RoBERTa's family writes it
BATCH_TOKENS = 16_384  # tokens that run together, padding included: more is slower per token on a CPU


@dataclass(frozen=True)
class Raw:
    """An input as it was read.

    Attributes:
        name: the path, or ``text``, ``bytes`` or ``pair``.
        data: the bytes of the input that the model reads.
        truncated: the input goes on after `data`.
        text: for a text model, the text itself or a pair of texts.
    """

    name: str
    data: bytes
    truncated: bool
    text: Text | None = None


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


def named(source: Source, size: int, timeout: float) -> tuple[str, bytes]:
    """The name and the bytes of a source, at most `size` bytes of a file. Raises InputError for an empty source."""
    if isinstance(source, str):
        name, data = "text", as_bytes(source)
    elif isinstance(source, bytes):
        name, data = "bytes", source
    else:
        name, data = os.fspath(source), read_file(Path(source), size, timeout)
    if not data:
        raise InputError(f"an input must hold at least one byte, got {name}, which is empty; leave it out.")
    return name, data


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


def checked(name: str, value: Any, axes: int = 2) -> Tokens:
    """Checks that `value` has `axes` axes and that no axis is empty. The result is int64."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.ndim != axes or array.dtype.kind not in "iu" or 0 in array.shape:
        shape = "[batch, sequence]" if axes == 2 else "[batch, choices, sequence]"
        raise InputError(
            f"{name} must be whole numbers {shape} with at least one row, got {array.dtype} {list(array.shape)}; reshape it."
        )
    return array.astype(np.int64)


def check_length(name: str, array: Tokens, least: int, most: int) -> None:
    if not least <= array.shape[-1] <= most:
        raise InputError(
            f"{name} must have {least} to {most} tokens a row, got {array.shape[-1]}; cut it or cut it into parts."
        )


def check_own(given: Mapping[str, Any], manifest: Manifest, signature: Signature) -> dict[str, npt.NDArray[Any]]:
    """Checks the inputs of a custom module, by name.

    Raises UsageError for names other than the module's inputs. Raises InputError for an array of another kind, for a
    size that its axis does not allow, and for an id that is out of range.
    """
    wanted = {tensor.name: tensor for tensor in manifest.variants[0].inputs}
    found = {name: value for name, value in given.items() if value is not None}
    if set(found) != set(wanted):
        raise UsageError(
            f"inputs must be the model's ({', '.join(wanted)}), got {', '.join(found) or 'none'}; give these."
        )
    arrays = {}
    for name, tensor in wanted.items():
        array = np.asarray(found[name])
        if array.ndim != len(tensor.shape) or not np.can_cast(array.dtype, tensor.dtype, "same_kind"):
            raise InputError(
                f"{name} must be {tensor.dtype} {list(tensor.shape)}, got {array.dtype} {list(array.shape)}; convert or reshape it."
            )
        arrays[name] = array.astype(tensor.dtype)
        if array.dtype.kind in "iu" and not np.array_equal(arrays[name], array):
            raise InputError(f"{name} must fit into {tensor.dtype}, got larger numbers; check its values.")
    if names.GLOBAL_ATTENTION_MASK in arrays and manifest.limits.max_global:
        check_globals((arrays[names.GLOBAL_ATTENTION_MASK] > 0).astype(np.int64), manifest.limits)
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    sizes = signature.sizes(shapes, {name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        for called, size in zip(shapes[name], array.shape, strict=True):
            check_axis(name, array, called, sizes, size, signature)
        if name in signature.below:
            check_range(name, array, signature.below[name])
        if name in signature.within:
            check_within(name, array, signature.within[name], sizes)
    return arrays


def check_axis(
    name: str, array: npt.NDArray[Any], called: int | str, sizes: Mapping[str, int], size: int, signature: Signature
) -> None:
    if isinstance(called, int):
        if size != called:
            raise InputError(
                f"{name} must have {called} entries where it has {size}, got {list(array.shape)}; reshape it."
            )
        return
    if not known(called, sizes):
        raise InputError(f"{name} must have {called} entries, got {size} in {list(array.shape)}; reshape it.")
    wanted = size_of(called, sizes)
    if size != wanted:
        raise InputError(f"inputs must agree on {called}, got {wanted} and {size} in {name}; make them alike.")
    for axis in map(signature.axis, formula(called).names):
        if not axis.allows(sizes[axis.name]):
            steps = f" in steps of {axis.step}" if axis.step > 1 else ""
            raise InputError(
                f"{axis.name} must be {axis.least} to {axis.most}{steps}, got {sizes[axis.name]} in {name}; cut it, or export with dynamic_shapes that allow it."
            )


def check_within(name: str, array: npt.NDArray[Any], within: Within, sizes: Mapping[str, int]) -> None:
    most = within.most(sizes)
    if array.size and (array.min() < within.least or array.max() > most):
        raise InputError(
            f"{name} must be {within.least} to {most}, as {within.axis} is {sizes[within.axis]}, got {array.min()} to {array.max()}; check its values."
        )


def check_inputs(given: Mapping[str, Any], manifest: Manifest) -> dict[str, Tokens]:
    """Checks the inputs of the graph, by name, and fills in missing ones.

    By default, every token is real, and the model's own rules say which tokens are global, to which segment each token
    belongs, and what the decoder begins with. Raises InputError for arrays outside the limits, and UsageError for an
    input that the model does not have.
    """
    if manifest.signature is not None:
        return check_own(given, manifest, manifest.signature)
    given = {names.INPUT_IDS: None, names.ATTENTION_MASK: None, **given}
    wanted = {tensor.name: len(tensor.shape) for tensor in manifest.variants[0].inputs}
    unknown = sorted(name for name in given if name not in wanted)
    if unknown:
        raise UsageError(
            f"inputs must be among the model's ({', '.join(wanted)}), got {', '.join(unknown)}; leave it out."
        )
    arrays = {
        name: checked(name, value, wanted[name])
        for name, value in given.items()
        if value is not None or name == names.INPUT_IDS
    }
    shape = arrays[names.INPUT_IDS].shape
    for name, array in arrays.items():
        if name != names.DECODER_INPUT_IDS and array.shape != shape:
            raise InputError(
                f"{name} must have the shape of input_ids {list(shape)}, got {list(array.shape)}; make them alike."
            )
    written = arrays.pop(names.DECODER_INPUT_IDS, None)
    rows = {name: array.reshape(-1, shape[-1]) for name, array in arrays.items()}  # each choice becomes a row
    inputs = {name: array.reshape(shape) for name, array in check_rows(rows, manifest).items()}
    if manifest.decoder is not None:
        inputs[names.DECODER_INPUT_IDS] = check_written(written, inputs[names.INPUT_IDS], manifest.decoder, manifest)
    return inputs


def check_rows(rows: Mapping[str, Tokens], manifest: Manifest) -> dict[str, Tokens]:
    """Checks the inputs of rows and fills in missing ones, int64 [rows, sequence]."""
    limits = manifest.limits
    ids, mask = check_tokens(rows[names.INPUT_IDS], rows.get(names.ATTENTION_MASK), limits)
    inputs = {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}
    if manifest.globals is not None:
        chosen = rows.get(names.GLOBAL_ATTENTION_MASK)
        if chosen is None:
            chosen = default_globals(ids, mask, manifest.globals)
        check_range(names.GLOBAL_ATTENTION_MASK, chosen, 2)
        check_globals(chosen * mask, limits)
        inputs[names.GLOBAL_ATTENTION_MASK] = chosen
    if manifest.segments is not None:
        types = rows.get(names.TOKEN_TYPE_IDS)
        types = default_segments(ids, manifest.segments) if types is None else types
        check_range(names.TOKEN_TYPE_IDS, types, limits.token_types)
        inputs[names.TOKEN_TYPE_IDS] = types
    return inputs


def check_written(written: Tokens | None, ids: Tokens, decoder: Decoder, manifest: Manifest) -> Tokens:
    """Checks decoder_input_ids, int64 [batch, decoder_sequence]. The default is the input, shifted one place to the
    right as in the model's library.
    """
    name = names.DECODER_INPUT_IDS
    if written is None:
        written = np.concatenate((np.full_like(ids[:, :1], decoder.start_id), ids[:, :-1]), axis=1)
    if len(written) != len(ids):
        raise InputError(
            f"{name} must have a row for each of input_ids ({len(ids)}), got {len(written)}; make them alike."
        )
    check_length(name, written, 1, decoder.max_length)
    check_range(name, written, manifest.limits.vocab)
    return written


def check_range(name: str, array: Tokens, below: int) -> None:
    if array.min() < 0 or array.max() >= below:
        raise InputError(f"{name} must be 0 to {below - 1}, got {array.min()} to {array.max()}; check its values.")


def default_globals(ids: Tokens, mask: Tokens, rule: Globals) -> Tokens:
    """int64 [rows, sequence], 1 at the tokens that the model's rule makes global."""
    chosen = np.zeros_like(ids)
    if rule.rule == "first":
        chosen[:, 0] = 1
    if rule.rule in ("question", "answer"):
        separators = (ids == rule.separator_id) & (mask > 0)
        if np.any(separators.sum(axis=1) != SEPARATORS):
            raise InputError(
                f"a row must hold {SEPARATORS} separators {rule.separator_id}, the first behind the question, got "
                f"{separators.sum(axis=1).tolist()}; encode the two texts as a pair, or give the global_attention_mask."
            )
        end, place = separators.argmax(axis=1)[:, None], np.arange(ids.shape[1])
        chosen[:] = place < end if rule.rule == "question" else place > end + 1
    return chosen


def default_segments(ids: Tokens, rule: Segments) -> Tokens:
    """The segment of each token by the model's rule, int64 [rows, sequence]. Without a separator, the context begins
    after the first token.
    """
    if rule.rule == "zeros":
        return np.zeros_like(ids)
    end = (ids == rule.separator_id).argmax(axis=1)[:, None]
    behind: Tokens = (np.arange(ids.shape[1]) > end).astype(np.int64)
    return behind


def check_globals(chosen: Tokens, limits: Limits) -> None:
    most = int(chosen.sum(axis=1).max())
    if most > limits.max_global:
        raise InputError(
            f"a row may have at most {limits.max_global} global tokens, got {most}; choose fewer, or export with --max-global {most}."
        )


def check_tokens(ids: Tokens, mask: Tokens | None, limits: Limits) -> tuple[Tokens, Tokens]:
    """Checks input_ids and attention_mask. Without a mask, every token is real."""
    mask = np.ones_like(ids) if mask is None else mask
    check_length(names.INPUT_IDS, ids, limits.min_length, limits.max_length)
    if ids.min() < 0 or ids.max() >= limits.vocab:
        raise InputError(
            f"input_ids must be 0 to {limits.vocab - 1}, got {ids.min()} to {ids.max()}; encode the input as the bundle says."
        )
    appended = np.all(mask[:, 1:] <= mask[:, :-1]) and np.all(mask[:, 0] == 1) and mask.min() >= 0
    if not appended:
        raise InputError(
            "attention_mask must be ones and then zeros in each row, got another order; pad behind the real tokens."
        )
    return ids, mask
