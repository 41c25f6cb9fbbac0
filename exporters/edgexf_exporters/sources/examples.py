"""Inputs of any size that are like the example inputs of a module.

In: example inputs, their axes, and what was found out about them. Out: arrays for sizes and a seed.

    ids      below the rows of the embedding that reads them, else values of the example
    mask     real tokens, and padding behind them as the grid asks
    square   of an example with one axis twice: the causal mask that it is, or its one value
    others   values of the example

Drawing from the example's own values keeps to what the module understands, of whatever meaning they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgexf.errors import UsageError
from edgexf_exporters.sources.axes import Shapes, Sizes, is_whole

Array = npt.NDArray[Any]
MOST_VALUES = 4096  # of an example, to draw from


@dataclass(frozen=True)
class Draws:
    """`below` by the input that holds ids; `real` by mask is the value that marks a real token."""

    examples: Mapping[str, Tensor]
    shapes: Shapes
    below: Mapping[str, int] = field(default_factory=dict)
    real: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, sizes: Sizes, seed: int, padded: Callable[[int, int], int] | None = None) -> dict[str, Array]:
        """`padded` is the real tokens of a row, from the row and the length; by default all of them are."""
        chance = np.random.default_rng(seed)
        return {name: self.one(name, self.shapes.sizes(name, sizes), chance, padded) for name in self.examples}

    def one(
        self, name: str, shape: tuple[int, ...], chance: np.random.Generator, padded: Callable[[int, int], int] | None
    ) -> Array:
        example = self.examples[name].detach().cpu().numpy()
        if name in self.below:
            return chance.integers(0, self.below[name], shape).astype(example.dtype)
        if name in self.real:
            rows, length = shape
            real = np.array([padded(row, length) if padded else length for row in range(rows)])
            marked = np.arange(length) < real[:, None]
            return np.where(marked, self.real[name], 1 - self.real[name]).astype(example.dtype)
        axes = self.shapes.axes[name]
        if len(axes) > 1 and isinstance(axes[-1], str) and axes[-1] == axes[-2]:
            return self.square(name, example, shape)
        if example.size == 0:
            raise UsageError(
                f"an example must hold a value, got {list(example.shape)} for {name}; give one of a real size."
            )
        values = example.reshape(-1)[:: example.size // MOST_VALUES + 1]
        return chance.choice(values, shape).astype(example.dtype)

    def square(self, name: str, example: Array, shape: tuple[int, ...]) -> Array:
        """A mask over pairs of tokens, of the kind that the example is."""
        inner = example.reshape(-1, *example.shape[-2:])
        if np.all(example == example.flat[0]):
            return np.full(shape, example.flat[0])
        lower = np.tri(example.shape[-1], dtype=bool)
        for seen, hidden in ((inner[0, 0, 0], inner[0, 0, -1]), (inner[0, -1, 0], inner[0, 0, 0])):
            if np.array_equal(inner, np.broadcast_to(np.where(lower, seen, hidden), inner.shape)):
                found = np.where(np.tri(shape[-1], dtype=bool), seen, hidden).astype(example.dtype)
                return np.broadcast_to(found, shape).copy()
        raise UsageError(
            f"a mask over pairs of tokens must be causal or of one value to be made at other lengths, got another for {name}; "
            "make it inside forward."
        )


def is_mask(name: str, tensor: Tensor, axes: tuple[int | str, ...]) -> bool:
    """Whether an input tells real tokens from padding: by its name, its shape and its values."""
    rows = len(axes) == 2 and all(isinstance(axis, str) for axis in axes) and axes[0] != axes[1]
    kind = tensor.dtype == torch.bool or is_whole(tensor)
    return rows and kind and "mask" in name and bool(torch.all((tensor == 0) | (tensor == 1)))


def marks(name: str, tensor: Tensor) -> int:
    """What marks a real token: the one value of an example without padding; else torch.nn's padding masks are true at
    padding, and all others at real tokens.
    """
    if tensor.numel() and bool(torch.all(tensor == tensor.flatten()[0])):
        return int(tensor.flatten()[0])
    return 0 if "pad" in name else 1
