"""The cells of the contract grid: the sizes at which algorithms break, and inputs of these sizes.

In: a source, the block of its graphs, and ``quick`` or ``full``. Out: `Cell`s. A cell makes inputs of one length,
batch, mask and set of global tokens from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from edgexf import names
from edgexf.bundle.signature import Signature
from edgexf.products import ROWS
from edgexf_exporters.hard_values import KINDS, ids_apart, kind_of, repeated, with_ids
from edgexf_exporters.source import Source
from edgexf_exporters.verify.declared import sizes_of

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

GLOBALS = ("none", "first", "scattered")  # global tokens: none, the first one, as many as the model takes, anywhere
MASKS = ("none", "right", "one")  # no padding; padding behind two thirds of the tokens; one real token
LEFT = "left"  # padding before two thirds of the tokens, for models that allow it
CHOICES = 2  # the choices of a row; every other cell of a multiple-choice model has one more
DECODED = (1, 5, 32)  # the tokens that a decoder has written, in turn; as many as it may for the longest input
NOMINAL_BLOCK = 64  # a model without blocks is checked around this length
OTHER_LENGTHS = 200  # the largest size, in steps, of an axis of tokens that is not the first


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Attributes:
        length: the number of tokens of the inputs.
        batch: the number of samples.
        mask: the kind of the mask, as in `MASKS`.
        seed: the seed of the tokens.
        globals: the kind of global tokens, as in `GLOBALS`; empty for a model without global tokens.
        values: the kind of the values, where a cell repeats the sizes of another one for the sake of its values.
    """

    length: int
    batch: int
    mask: str
    seed: int
    globals: str = ""
    values: str = ""

    @property
    def name(self) -> str:
        parts = (f"length{self.length}", f"batch{self.batch}", self.mask, self.globals, self.values)
        return "-".join(filter(None, parts))

    def feeds(self, source: Source) -> Feeds:
        """The inputs of the source, and what an explain graph takes besides.

        The inputs of a model of text are int64 [batch, length]. Each row has another number of padding tokens.
        """
        if source.module_inputs is not None:
            drawn = source.module_inputs.draw(self.sizes(source.signature), self.seed, self.real)
            return self.with_target(source, drawn)
        written = 0
        if source.decoder is not None:
            most, whole = source.decoder.max_length, self.length == source.limits.max_length
            written = most if whole else min(most, DECODED[self.seed % len(DECODED)])
        return self.with_target(source, self.of_text(source, CHOICES + self.seed % 2, written))

    def of_text(self, source: Source, choices: int, written: int) -> Feeds:
        """The inputs of a model of text, with this number of choices in a row and of tokens that a decoder has written."""
        chance = np.random.default_rng(self.seed)
        choices = choices if source.multiple_choice else 1
        rows = self.batch * choices
        ids = chance.integers(0, source.limits.vocab, (rows, self.length))
        if kind_of(self.seed) == "repeated":
            ids = repeated(ids, chance)
        elif kind_of(self.seed) == "apart":
            ids = with_ids(ids, apart(source), chance)
        ids[ids == source.padding_id] = (source.padding_id + 1) % source.limits.vocab  # only padding has this id
        real = np.array([self.real(row, self.length) for row in range(rows)])
        first = self.length - real if self.mask == LEFT else np.zeros_like(real)
        ids[np.arange(rows), first] = source.first_id
        places = np.arange(self.length) - first[:, None]
        mask = ((places >= 0) & (places < real[:, None])).astype(np.int64)
        values = {
            names.INPUT_IDS: np.where(mask > 0, ids, source.padding_id),
            names.ATTENTION_MASK: mask,
            names.GLOBAL_ATTENTION_MASK: self.global_mask(real, source.limits.max_global, chance),
            names.TOKEN_TYPE_IDS: chance.integers(0, max(source.limits.token_types, 1), ids.shape),
        }
        sizes = (self.batch, choices, self.length) if source.multiple_choice else ids.shape
        feeds = {name: values[name].reshape(sizes) for name in source.inputs if name in values}
        if source.decoder is not None:
            decoded = chance.integers(0, source.limits.vocab, (self.batch, written))
            decoded[:, 0] = source.decoder.start_id
            feeds[names.DECODER_INPUT_IDS] = decoded
        return feeds

    def real(self, row: int, length: int) -> int:
        """The number of real tokens of a row."""
        if self.mask in ("right", LEFT):
            return max(length - length // 3 - row * (length // 8), 1)
        return 1 if self.mask == "one" else length

    def sizes(self, signature: Signature) -> dict[str, int]:
        """The sizes of a custom module's axes. All axes of tokens but the first one take other lengths, in turn."""
        tokens = [axis for axis in signature.axes if axis.name != signature.samples]
        found = {signature.samples: self.batch} if signature.samples else {}
        for place, axis in enumerate(tokens):
            lengths = stepped(axis.least, min(axis.most, OTHER_LENGTHS * axis.step), axis.step, 1)
            found[axis.name] = self.length if place == 0 else lengths[(self.seed + place) % len(lengths)]
        return found

    def global_mask(self, real: Array, most: int, chance: np.random.Generator) -> Array:
        """The global tokens, int64 [rows, length]. Scattered sets differ between rows, also in their size."""
        chosen = np.zeros((len(real), self.length), dtype=np.int64)
        chosen[:, 0] = self.globals == "first"
        if self.globals == "scattered":
            for row, tokens in enumerate(real):
                chosen[row, chance.permutation(tokens)[: max(most - row, 1)]] = 1
        return chosen

    def with_target(self, source: Source, feeds: Feeds) -> Feeds:
        """The inputs, and what an explain graph takes besides: a baseline, a path and the arrays of the target."""
        if source.target is None:
            return feeds
        sizes = sizes_of(source, feeds)
        shown = source.shown(feeds) if source.mask is not None else None
        first = feeds[source.inputs[0]]
        chance = np.random.default_rng(self.seed)
        ids = first.dtype.kind in "iu"
        other = (
            chance.integers(0, max(int(first.max()), 1), first.shape) if ids else chance.permutation(first.reshape(-1))
        )
        other = other.reshape(first.shape).astype(first.dtype)
        path = {
            names.BASELINE: other if shown is None else np.where(shown, other, first),
            names.PATH: np.linspace(0.1, 0.8, 1 + self.seed % 2, dtype=np.float32),
        }
        target = source.target.draw(sizes, self.seed, shown)
        if shown is not None and names.TARGET_START in target and ids:
            name_tied_ends(target, first, shown)
        if names.TARGET in target and not source.target.head.has_fixed_columns and ids and first.ndim == CHOICE_AXES:
            name_tied_choices(target, first if shown is None else np.where(shown, first, -1))
        return {**feeds, **path, **target}


CHOICE_AXES = 3  # of ids [rows, choices, tokens]


def name_tied_choices(target: Feeds, ids: Array) -> None:
    """Names a choice to explain in rows of ids [rows, choices, tokens] that hold a choice twice, in place: the best one may
    be a tie.
    """
    for weights, choices in zip(target[names.TARGET], ids, strict=True):
        if not weights.any() and len(np.unique(choices, axis=0)) < len(choices):
            weights[0] = 1.0


def name_tied_ends(target: Feeds, ids: Array, shown: Array) -> None:
    """Names the ends to explain in rows of one id alone, in place.

    Without absolute positions all tokens of such a row answer alike, so the best one would be a tie.
    """
    alike = ~np.where(shown, ids != np.take_along_axis(ids, shown.argmax(axis=1)[:, None], axis=1), False).any(axis=1)
    for name in (names.TARGET_START, names.TARGET_END):
        rows = alike & ~target[name].any(axis=1)
        target[name][rows, shown[rows].argmax(axis=1)] = 1.0


def drawn(source: Source, sizes: Mapping[str, int], seed: int) -> Feeds:
    """Inputs of a source whose axes have these sizes. All tokens are real."""
    if source.module_inputs is not None:
        return source.module_inputs.draw(sizes, seed)
    chosen = GLOBALS[1] if source.limits.max_global else ""
    cell = Cell(sizes[names.SEQUENCE], sizes[names.BATCH], MASKS[0], seed, chosen)
    return cell.of_text(source, sizes.get(names.CHOICES, 1), sizes.get(names.DECODER_SEQUENCE, 0))


def apart(source: Source) -> Array:
    """The ids of a model of text whose rows of the token embedding stand out."""
    tables = (part.weight for part in source.module.modules() if isinstance(part, nn.Embedding))
    table = next((table for table in tables if len(table) == source.limits.vocab), None)
    return np.array([], dtype=int) if table is None else ids_apart(table, source.limits.vocab)


def lengths(source: Source, block: int) -> list[int]:
    """The lengths at which algorithms break: the shortest, around a block, several blocks and a rest, the longest.

    A model with a switch also gets the lengths around its switch, and one that slices its queries a length of two slices.
    """
    limits = source.limits
    if source.module_inputs is not None:
        return own_lengths(source.module_inputs.signature)
    wanted = set(stepped(limits.min_length, limits.max_length, 1, block))
    if limits.switch:
        wanted |= {limits.switch - 1, limits.switch, limits.switch + 1}
    if source.sliced:
        wanted.add(ROWS + 1)
    return sorted(length for length in wanted if limits.min_length <= length <= limits.max_length)


def own_lengths(signature: Signature) -> list[int]:
    """The lengths of a custom module's first axis of tokens; one length of 1 for a module without such an axis."""
    tokens = [axis for axis in signature.axes if axis.name != signature.samples]
    return stepped(tokens[0].least, tokens[0].most, tokens[0].step, 1) if tokens else [1]


def batches(source: Source) -> tuple[int, ...]:
    """The batches: one sample and three samples, within the bounds of the axis of samples."""
    if source.module_inputs is None or not source.module_inputs.signature.samples:
        return (1, 3)
    axis = source.module_inputs.signature.axis(source.module_inputs.signature.samples)
    return tuple(sorted({min(max(size, axis.least), axis.most) for size in (1, 3)}))


def stepped(least: int, most: int, step: int, block: int) -> list[int]:
    """The lengths from `least` to `most` at which algorithms break, each a multiple of `step`."""
    block = block if block > 1 else max(NOMINAL_BLOCK, step)
    wanted = {
        -(-length // step) * step for length in (least, block - 1, block, block + 1, 3 * block + 5, most // step * step)
    }
    return sorted(length for length in wanted if least <= length <= most)


def cells(source: Source, block: int, grid: str) -> Iterator[Cell]:
    """Yields the cells of a grid.

    At the longest length, `quick` takes the smallest batch and two masks only. For a model with global tokens it takes
    one set of global tokens in each cell. The sets take turns, so that each set meets every batch and every mask at
    some length. All sets in every cell would be three times the work, and the work of the eager model is most of the
    export of a large model.
    """
    seed, full, limits = 0, grid == "full", source.limits
    padded = (*(MASKS if source.mask is not None else MASKS[:1]), *((LEFT,) if limits.pads_left else ()))
    for turn, length in enumerate(lengths(source, block)):
        short = full or length < limits.max_length
        rows, masks = batches(source) if short else batches(source)[:1], padded if short else padded[:2]
        for (place, batch), (row, mask) in product(enumerate(rows), enumerate(masks)):
            taken = GLOBALS if full else (GLOBALS[(turn + place + row) % len(GLOBALS)],)
            for chosen in taken if limits.max_global and source.module_inputs is None else ("",):
                seed += 1
                yield Cell(length, batch, mask, seed, chosen)
    for later in range(seed + 1, len(KINDS) + 1):  # a module with few sizes meets values of each kind too
        yield Cell(lengths(source, block)[-1], batches(source)[-1], "none", later, "", kind_of(later))
