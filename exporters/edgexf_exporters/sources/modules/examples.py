"""Makes inputs of any size that are like the example inputs of a custom module.

In: example inputs, their axes, and what is known about each of them. Out: arrays, for the sizes of the axes and a seed.

    ids      numbers below the rows of the embedding that reads the ids, without special ids; padding behind real
             tokens where the embedding has an id for it
    mask     real tokens, and padding behind them as the grid asks
    boxes    corners of boxes: the left and the upper one first, since models read their distances
    choice   a ``global_attention_mask``: up to `max_global` tokens of a row, anywhere among the real ones
    counts   whole numbers up to the size of an axis, such as the lengths of rows
    pairs    a mask over pairs of tokens: causal as in the example, of a single value, or scattered
    marks    other floats of two values, or with an infinite one: values of the example
    floats   random values, between those of the example; around 0 if the example has a single value; some draws
             repeat values, keep near 0 or go far from it (`edgexf_exporters.hard_values`)
    others   values of the example

The module understands whatever lies between the values of its example. Values of the example alone would verify little:
an example of zeros would verify nothing. A single value says nothing about its range, so the module is run to find out
which of `LEVELS` it understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgexf import names
from edgexf.bundle.formula import formula
from edgexf.bundle.signature import Within
from edgexf.errors import UsageError
from edgexf_exporters.hard_values import kind_of, large, repeated, small, with_ids
from edgexf_exporters.sources.modules.axes import Shapes, Sizes

Array = npt.NDArray[Any]
BOXES = "bbox"  # an input of this name holds left, top, right and bottom of a box
MOST_VALUES = 4096  # the largest number of values of an example to draw from
HIDES = -1e4  # an added mask hides by such a value or a smaller one
# How values are drawn where the example has a single value, the hardest first: of any sign, not negative, up to 1, and
# the value of the example itself.
LEVELS = ("any", "size", "share", "example")


@dataclass(frozen=True)
class Draws:
    """Draws the inputs of a custom module.

    Attributes:
        examples: the example inputs, by name.
        shapes: the axes of the inputs, and the sizes of the symbols in the examples.
        below: for each input that holds ids, the number that all its ids are below, by the name of the input.
        real: for each input that is a mask, the value that marks a real token, by the name of the input.
        within: for each input that counts along an axis, the range of its values, by the name of the input.
        levels: the level of `LEVELS` for each input, by name; the last level for an input that is missing.
        special: the ids that no real token has: a padding id inside a text is no text, and moves positions.
        padding: for each input whose embedding has a padding id, this id, by the name of the input.
        max_global: how many tokens of a row may be global.
        large: the floats that the module answers with numbers where they are large.
        ends: the id that the real tokens of each row end with, by the name of the input that needs one.
        apart: for each input that holds ids, those whose rows of the embedding stand out, by the name of the input.
    """

    examples: Mapping[str, Tensor]
    shapes: Shapes
    below: Mapping[str, int] = field(default_factory=dict)
    real: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, Within] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    special: frozenset[int] = frozenset()
    padding: Mapping[str, int] = field(default_factory=dict)
    max_global: int = 1
    apart: Mapping[str, Array] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    large: frozenset[str] = frozenset()

    def __call__(self, sizes: Sizes, seed: int, padded: Callable[[int, int], int] | None = None) -> dict[str, Array]:
        """An array for each input. `sizes` are the sizes of the symbols.

        `padded` takes the number of a row and its length, and gives the number of its real tokens. Without `padded` all
        tokens are real.
        """
        chance = np.random.default_rng(seed)
        drawn = {name: self.one(name, sizes, chance, padded, kind_of(seed)) for name in self.examples}
        return {name: np.sort(array, axis=-1) if name == BOXES else array for name, array in drawn.items()}

    def one(
        self, name: str, sizes: Sizes, chance: np.random.Generator, padded: Callable[[int, int], int] | None, kind: str
    ) -> Array:
        """The array of one input."""
        example, shape = self.examples[name].detach().cpu().numpy(), self.shapes.sizes(name, sizes)
        axes = self.shapes.axes[name]
        if name in self.below:
            ids = self.ids(self.below[name], shape, chance)
            if kind == "repeated" and ids.ndim:
                ids = repeated(ids, chance)
            elif kind == "apart" and name in self.apart:
                ids = with_ids(ids, np.setdiff1d(self.apart[name], sorted(self.special)), chance)
            masked = name in self.padding and any(self.shapes.axes[mask] == axes for mask in self.real)
            ids = np.where(marked(shape, padded), ids, self.padding[name]) if masked else ids
            if name in self.ends:
                ids = ended(ids, self.ends[name], padded)
            return ids.astype(example.dtype)
        if name in self.real:
            return np.where(marked(shape, padded), self.real[name], 1 - self.real[name]).astype(example.dtype)
        if is_choice(name) and len(shape) == 2:
            return few(marked(shape, padded), self.max_global, chance).astype(example.dtype)
        if name in self.within:
            return counted(example, shape, self.within[name].least, self.within[name].most(sizes), chance)
        if example.size == 0:
            raise UsageError(
                f"an example must hold a value, got {list(example.shape)} for {name}; give one of a real size."
            )
        if is_pairs(self.shapes.axes[name]) and has_marks(example):
            return pairs(example, shape, chance)
        if example.dtype.kind != "f" or has_marks(example):
            return chosen(example, shape, self.levels.get(name, LEVELS[-1]), chance)
        found = between(example, shape, self.levels.get(name, LEVELS[-1]), chance)
        if kind == "repeated" and found.ndim and len(found) > 1:
            return repeated(found, chance)
        if kind == "large" and name in self.large and found.size:
            return large(found)
        return small(found) if kind == "apart" and found.size else found

    def ids(self, below: int, shape: tuple[int, ...], chance: np.random.Generator) -> Array:
        """Token ids below a number, of any kind if all of them are special."""
        usual = np.setdiff1d(np.arange(below), sorted(self.special))
        return chance.choice(usual if len(usual) else below, shape)


def ended(ids: Array, end: int, padded: Callable[[int, int], int] | None) -> Array:
    """Ids [rows, tokens] whose last real token is `end`."""
    rows, length = ids.shape
    last = [(padded(row, length) if padded else length) - 1 for row in range(rows)]
    found = ids.copy()
    found[np.arange(rows), last] = end
    return found


def values_of(example: Array) -> Array:
    """An even sample of the values of an example."""
    sample: Array = example.reshape(-1)[:: example.size // MOST_VALUES + 1]
    return sample


def is_single(example: Array) -> bool:
    return bool(np.all(example == example.flat[0]))


def has_marks(example: Array) -> bool:
    """Whether the values of an example are marks, of which there is nothing in between."""
    if example.dtype.kind != "f":
        return True
    kinds = np.unique(values_of(example))
    return bool(np.isinf(kinds).any() or kinds.min() <= HIDES or (len(kinds) == 2 and np.all(kinds == (0, 1))))


def is_pairs(axes: tuple[int | str, ...]) -> bool:
    """Whether the last two axes are tokens and tokens, or tokens and all tokens so far."""
    if len(axes) < 2 or not (isinstance(axes[-1], str) and isinstance(axes[-2], str)):
        return False
    return bool({*formula(axes[-1]).names} & {*formula(axes[-2]).names})


def counted(example: Array, shape: tuple[int, ...], least: int, most: int, chance: np.random.Generator) -> Array:
    """Whole numbers from `least` to `most`. The first is `most`: some modules take the largest one for the size."""
    found = chance.integers(min(least, most), most + 1, shape)
    found.flat[:1] = most
    return found.astype(example.dtype)


def chosen(example: Array, shape: tuple[int, ...], level: str, chance: np.random.Generator) -> Array:
    """Values of the example. A single whole number gets another one beside it, if the module understands it.

    Ones may be a mask, so they get zeros beside them. A float mask and ones keep their largest value at the first place of
    the last axis, so that no row is hidden wholly.
    """
    values, ones = values_of(example), bool(np.all(example == 1))
    if example.dtype.kind in "iu" and is_single(example) and level == LEVELS[0]:
        values = np.array([example.flat[0], 0 if ones else example.flat[0] + 1])
    found = chance.choice(values, shape).astype(example.dtype)
    if (example.dtype.kind == "f" or ones) and found.ndim:
        found[..., :1] = values.max()
    return found


def between(example: Array, shape: tuple[int, ...], level: str, chance: np.random.Generator) -> Array:
    """Random floats, each between two values of the example; for an example of a single value, see `LEVELS`."""
    values = values_of(example)
    if not is_single(example):
        one, two = chance.choice(values, shape), chance.choice(values, shape)
        return np.asarray(one + chance.random(shape) * (two - one)).astype(example.dtype)
    if level == "example":
        return np.full(shape, example.flat[0])
    found = np.asarray(chance.random(shape) if level == "share" else chance.standard_normal(shape))
    return (found if level == "any" else np.abs(found)).astype(example.dtype)


def pairs(example: Array, shape: tuple[int, ...], chance: np.random.Generator) -> Array:
    """A mask over pairs of tokens, of the same kind as the example.

    A causal mask may begin with tokens so far, which all tokens see. In a scattered mask each token sees itself if all
    tokens do in the example.
    """
    if is_single(example):
        return np.full(shape, example.flat[0])
    rows, columns = example.shape[-2:]
    inner = example.reshape(-1, rows, columns)
    seen, hidden = inner[0, -1, 0], inner[0, 0, -1]
    for start in (0, -1):
        kept = np.tri(rows, columns, columns - rows + start, dtype=bool)
        if np.array_equal(inner, np.broadcast_to(np.where(kept, seen, hidden), inner.shape)):
            later = np.tri(shape[-2], shape[-1], shape[-1] - shape[-2] + start, dtype=bool)
            return np.broadcast_to(np.where(later, seen, hidden).astype(example.dtype), shape).copy()
    found = chance.choice(values_of(example), shape).astype(example.dtype)
    own = np.diagonal(inner, columns - rows, axis1=1, axis2=2)
    if own.size and is_single(own):
        itself = np.eye(shape[-2], shape[-1], shape[-1] - shape[-2], dtype=bool)
        found = np.where(itself, own.flat[0], found).astype(example.dtype)
    return found


def is_choice(name: str) -> bool:
    """Whether an input marks the tokens that attend to all others."""
    return name == names.GLOBAL_ATTENTION_MASK


def few(real: Array, most: int, chance: np.random.Generator) -> Array:
    """Marks up to `most` of the real tokens of each row, bool [rows, tokens]."""
    rank = np.where(real, chance.random(real.shape), np.inf).argsort(axis=1).argsort(axis=1)
    found: Array = real & (rank < chance.integers(0, most + 1, (len(real), 1)))
    return found


def marked(shape: tuple[int, ...], padded: Callable[[int, int], int] | None) -> Array:
    """Which tokens are real, bool [rows, tokens]; all of them without `padded`."""
    rows, length = shape
    real = np.array([padded(row, length) if padded else length for row in range(rows)])
    found: Array = np.arange(length) < real[:, None]
    return found


def special_ids(module: nn.Module) -> frozenset[int]:
    """The ids that the embeddings of a module, or the configs of library models inside it, call special."""
    configs = (part.config for part in module.modules() if hasattr(getattr(part, "config", None), "__dict__"))
    named = (value for config in configs for key, value in vars(config).items() if key.endswith("_token_id"))
    padding = (part.padding_idx for part in module.modules() if isinstance(part, nn.Embedding))
    return frozenset(one for one in (*named, *padding) if isinstance(one, int))


def is_mask(name: str, tensor: Tensor, axes: tuple[int | str, ...]) -> bool:
    """Whether an input marks real tokens, judged by its name, its shape and its values."""
    rows = len(axes) == 2 and not is_choice(name) and all(isinstance(axis, str) for axis in axes) and axes[0] != axes[1]
    added = tensor.is_floating_point() and not bool(torch.any(tensor == 1))  # zeros that are added to scores
    return rows and "mask" in name and not added and bool(torch.all((tensor == 0) | (tensor == 1)))


def marks(name: str, tensor: Tensor) -> int:
    """The value that marks a real token in a mask.

    An example without padding holds a single value, which marks real tokens. For other examples the name decides: the
    padding masks of torch.nn are true at padding, all other masks are true at real tokens.
    """
    if tensor.numel() and bool(torch.all(tensor == tensor.flatten()[0])):
        return int(tensor.flatten()[0])
    return 0 if "pad" in name else 1
