"""Checks every array before a session sees it, and fills in what a caller leaves out.

In: arrays by name, as the caller gives them. Out: arrays of the graph's dtypes within the bundle's limits, or an error
that names the input, the rule and the row. These checks are needed because ONNX Runtime accepts an id of -1, an empty
sequence and a mask of any numbers, and answers as if nothing were wrong.

    sizes of all inputs   before anything is converted or copied
    conversion            whole numbers become int64
    values                ids, masks, segments and global tokens within their ranges, row by row
    defaults              by the model's own rules

Most calls bring int64 arrays that are right. `TokenChecks.accepted` recognizes these in a few steps, each over whole arrays,
and leaves every other call to the steps above, which know what to say. `own.OwnChecks` serves custom modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.manifest import Decoder, Globals, Limits, Manifest, Segments
from edgexf.errors import InputError, UsageError, enumerated
from edgexf_runtimes.inputs.contract import Contract
from edgexf_runtimes.inputs.convert import Shape, array_of, count, described, first_place, sized
from edgexf_runtimes.inputs.limits import CallLimits
from edgexf_runtimes.inputs.own import OwnChecks

Tokens = npt.NDArray[np.int64]

SEPARATORS = 3  # in a pair of question and text, as RoBERTa's family writes it
INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)
LARGEST = np.iinfo(np.int64).max
FEW = 4  # rows that are looked at one by one faster than together
RESHAPE = "convert or reshape it"
largest = np.maximum.reduce  # the method `max` calls this through Python


def checks_of(
    manifest: Manifest, limits: CallLimits | None = None, contract: Contract | None = None
) -> TokenChecks | OwnChecks:
    """The checks of a bundle's inputs. They are made once for a session."""
    limits = limits or CallLimits()
    if manifest.signature is not None:
        return OwnChecks(manifest, manifest.signature, limits, contract or Contract(None, manifest))
    return TokenChecks(manifest, limits)


def check_inputs(given: Mapping[str, Any], manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """Checks the inputs of one call. A session keeps its checks; see `checks_of`."""
    return checks_of(manifest)(given)


class TokenChecks:
    """Checks token ids and what belongs to them: masks, segments, global tokens, and what a decoder begins with."""

    def __init__(self, manifest: Manifest, limits: CallLimits) -> None:
        self._manifest, self._limits, self._call = manifest, manifest.limits, limits
        self._wanted = {tensor.name: len(tensor.shape) for tensor in manifest.variants[0].inputs}
        plain = {names.INPUT_IDS: 2, names.ATTENTION_MASK: 2}
        self._plain = self._wanted == plain
        self._marks = manifest.embedding is not None and not manifest.embedding.include_prompt
        self._few = limits.rows(FEW)
        self._least, self._most, self._vocab = self._limits.min_length, self._limits.max_length, self._limits.vocab

    def __call__(self, given: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """The inputs of the graph, by name, with missing ones filled in.

        By default, every token is real, and the model's own rules say which tokens are global, to which segment each
        token belongs, and what the decoder begins with. Raises InputError for arrays outside the limits, and UsageError
        for an input that the model does not have.
        """
        return self.accepted(given) or self.checked(given)

    def accepted(self, given: Mapping[str, Any]) -> dict[str, Tokens] | None:
        """The inputs of a call that is right as it is, or None for a call that needs a closer look.

        After a long run the processor's caches hold none of this. So the steps are few, and they share what they call:
        `argmax` and `argmin` take half the time of `max` and `min`.
        """
        ids, mask = given.get(names.INPUT_IDS), given.get(names.ATTENTION_MASK)
        if not self._plain or len(given) != 1 + (names.ATTENTION_MASK in given) or type(ids) is not np.ndarray:
            return None
        shape = ids.shape
        if ids.dtype is not INT64 or len(shape) != 2:
            return None
        rows, length = shape
        if not 0 < rows <= self._few or not self._least <= length <= self._most or 2 * ids.nbytes > self._call.bytes:
            return None
        if ids.item(ids.argmax()) >= self._vocab or ids.item(ids.argmin()) < 0:
            return None
        if mask is None:
            return {names.INPUT_IDS: ids, names.ATTENTION_MASK: np.ones_like(ids)}
        if type(mask) is not np.ndarray or mask.dtype is not INT64 or mask.shape != shape:
            return None
        if not all(map(appended, mask if rows > 1 else (mask,))):
            return None
        return {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}

    def checked(self, given: Mapping[str, Any]) -> dict[str, Tokens]:
        """The inputs of the graph, one step after the other."""
        arrays = self._arrays(given)
        shape = arrays[names.INPUT_IDS].shape
        for name, array in arrays.items():
            if name != names.DECODER_INPUT_IDS and array.shape != shape:
                raise InputError(
                    f"{name} must have the shape of input_ids {list(shape)}, got {list(array.shape)}; make them alike."
                )
        written = arrays.pop(names.DECODER_INPUT_IDS, None)
        rows = {name: array.reshape(-1, shape[-1]) for name, array in arrays.items()}  # each choice becomes a row
        inputs = {name: array.reshape(shape) for name, array in self._rows(rows, shape).items()}
        if self._manifest.decoder is not None:
            inputs[names.DECODER_INPUT_IDS] = self._written(written, inputs[names.INPUT_IDS], self._manifest.decoder)
        return inputs

    def _arrays(self, given: Mapping[str, Any]) -> dict[str, Tokens]:
        """The arrays that were given, int64 of the right number of axes, and within the limits of a call."""
        unknown = [name for name in given if name not in self._wanted]
        if unknown:
            raise UsageError(
                f"inputs must be among the model's ({', '.join(self._wanted)}), got {enumerated(unknown)}; leave it out."
            )
        there = {name: value for name, value in given.items() if value is not None}
        if names.INPUT_IDS not in there:
            got = ", ".join(there) or "none"
            raise UsageError(f"a call must bring {names.INPUT_IDS}, got {got}; give the ids of the tokens.")
        values, shapes = {}, {}
        for name, value in there.items():
            axes = self._wanted[name]
            values[name], shapes[name] = sized(name, value, rule_of(axes), RESHAPE)
            if len(shapes[name]) != axes or 0 in shapes[name]:
                got = described(value, shapes[name])
                raise InputError(f"{name} must be {rule_of(axes)}, got {got}; {RESHAPE}.")
        self._sizes(shapes)
        return {name: whole_numbers(name, value, shapes[name]) for name, value in values.items()}

    def _sizes(self, shapes: Mapping[str, Shape]) -> None:
        ids = shapes[names.INPUT_IDS]
        check_length(names.INPUT_IDS, ids[-1], self._limits.min_length, self._limits.max_length)
        made = len(self._wanted) - len(shapes)  # inputs that are filled in, as large as the ids
        size = INT64.itemsize * (sum(map(count, shapes.values())) + made * count(ids))
        self._call.check(count(ids[:-1]), size)

    def _rows(self, rows: Mapping[str, Tokens], shape: Shape) -> dict[str, Tokens]:
        """Checks the inputs of rows and fills in missing ones, int64 [rows, sequence]."""
        limits, manifest = self._limits, self._manifest
        ids = rows[names.INPUT_IDS]
        check_range(names.INPUT_IDS, ids, limits.vocab, shape, "encode the input as the bundle says")
        mask = rows.get(names.ATTENTION_MASK)
        mask = np.ones_like(ids) if mask is None else mask
        inputs = {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}
        if self._marks:
            mask = np.where(mask == names.PROMPT_MARK, 1, mask)
        check_mask(mask, shape, limits.pads_left)
        if manifest.globals is not None:
            chosen = rows.get(names.GLOBAL_ATTENTION_MASK)
            if chosen is None:
                chosen = default_globals(ids, mask, manifest.globals)
            check_range(names.GLOBAL_ATTENTION_MASK, chosen, 2, shape)
            check_globals(chosen * mask, limits, shape)
            inputs[names.GLOBAL_ATTENTION_MASK] = chosen
        if manifest.segments is not None:
            types = rows.get(names.TOKEN_TYPE_IDS)
            types = default_segments(ids, manifest.segments) if types is None else types
            check_range(names.TOKEN_TYPE_IDS, types, limits.token_types, shape)
            inputs[names.TOKEN_TYPE_IDS] = types
        return inputs

    def _written(self, written: Tokens | None, ids: Tokens, decoder: Decoder) -> Tokens:
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
        check_length(name, written.shape[-1], 1, decoder.max_length)
        check_range(name, written, self._limits.vocab, written.shape)
        return written


def appended(mask: Tokens) -> bool:
    """Whether a mask of one row is ones, at least one, and then zeros."""
    place = mask.argmin()  # the first of the smallest entries: the first zero, if the row has zeros
    smallest = mask.item(place)
    if mask.item(mask.argmax()) != 1:
        return False
    return smallest == 1 or bool(smallest == 0 and not mask.reshape(-1)[place:].any())


def rule_of(axes: int) -> str:
    shape = "[batch, sequence]" if axes == 2 else "[batch, choices, sequence]"
    return f"whole numbers {shape} with at least one row"


def whole_numbers(name: str, value: Any, shape: Shape) -> Tokens:
    """An array of whole numbers as int64. Raises InputError for any other, and for numbers that int64 can't hold."""
    rule = rule_of(len(shape))
    array = array_of(name, value, rule, RESHAPE)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be {rule}, got {described(array)}; {RESHAPE}.")
    if array.dtype == UINT64 and array.max() > LARGEST:
        wrong = array.reshape(-1, shape[-1]) > LARGEST
        row = row_of(np.any(wrong, axis=1), shape)
        raise InputError(f"{name} must fit into int64, got {array.max()}{row}; check its values.")
    return array.astype(np.int64, copy=False)


def row_of(wrong: Any, shape: Shape) -> str:
    """The first wrong row, of bool [rows], in words. Rows of choices count through all samples."""
    row = int(wrong.argmax())
    if len(shape) == 3:
        sample, choice = divmod(row, shape[1])
        return f" in row {sample}, choice {choice}"
    return f" in row {row}"


def check_length(name: str, length: int, least: int, most: int) -> None:
    if not least <= length <= most:
        raise InputError(f"{name} must have {least} to {most} tokens a row, got {length}; cut it or cut it into parts.")


def check_range(name: str, array: Tokens, below: int, shape: Shape, remedy: str = "check its values") -> None:
    """Raises InputError for numbers other than 0 to `below` - 1 in rows [rows, sequence]."""
    if largest(array.view(UINT64), None) < below:
        return
    wrong = (array < 0) | (array >= below)
    where = row_of(wrong.any(axis=1), shape)
    raise InputError(f"{name} must be 0 to {below - 1}, got {array[first_place(wrong)]}{where}; {remedy}.")


def check_mask(mask: Tokens, shape: Shape, pads_left: bool = False) -> Tokens:
    """Raises InputError unless each row is ones, at least one, and then zeros, or with `pads_left` zeros and then ones."""
    wrong = (mask[:, 1:] > mask[:, :-1]).any(axis=1) | (mask[:, 0] != 1)
    if pads_left and wrong.any():
        wrong &= (mask[:, 1:] < mask[:, :-1]).any(axis=1) | (mask[:, -1] != 1)
    wrong |= (mask.view(UINT64) > 1).any(axis=1)
    if wrong.any():
        row = mask[wrong.argmax()]
        other = (row < 0) | (row > 1)
        what = f"{row[other][0]}" if other.any() else "another order" if row.any() else "zeros alone"
        order, remedy = (
            ("ones, with zeros on one side,", "pad on one side of")
            if pads_left
            else ("ones and then zeros", "pad behind")
        )
        raise InputError(
            f"attention_mask must be {order} in each row, got {what}{row_of(wrong, shape)}; {remedy} the real tokens."
        )
    return mask


def check_globals(chosen: Tokens, limits: Limits, shape: Shape) -> None:
    counts = chosen.sum(axis=1)
    most = int(counts.max())
    if most > limits.max_global:
        raise InputError(
            f"a row may have at most {limits.max_global} global tokens, got {most}{row_of(counts == most, shape)}; choose fewer, or export with --max-global {most}."
        )


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
