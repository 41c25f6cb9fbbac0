"""Makes inputs of any size that are like the example inputs of a custom module.

In: example inputs, their axes, and which of them hold ids or are masks. Out: arrays, for the sizes of the axes and a
seed.

    ids      numbers below the rows of the embedding that reads the ids; otherwise as for others
    mask     real tokens, and padding behind them as the grid asks
    square   if the last two axes are the same axis: a causal mask as in the example, or the single value of the example
    others   values of the example

The module understands the values of the example, whatever they mean. So the values are drawn from the example.
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
MOST_VALUES = 4096  # the largest number of values of an example to draw from


@dataclass(frozen=True)
class Draws:
    """Draws the inputs of a custom module.

    Attributes:
        examples: the example inputs, by name.
        shapes: the axes of the inputs, and the sizes of the symbols in the examples.
        below: for each input that holds ids, the number that all its ids are below, by the name of the input.
        real: for each input that is a mask, the value that marks a real token, by the name of the input.
    """

    examples: Mapping[str, Tensor]
    shapes: Shapes
    below: Mapping[str, int] = field(default_factory=dict)
    real: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, sizes: Sizes, seed: int, padded: Callable[[int, int], int] | None = None) -> dict[str, Array]:
        """An array for each input. `sizes` are the sizes of the symbols.

        `padded` takes the number of a row and its length, and gives the number of its real tokens. Without `padded` all
        tokens are real.
        """
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
        """A mask over pairs of tokens, of the same kind as the example: causal or of a single value.

        Raises UsageError for an example of another kind.
        """
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
    """Whether an input marks real tokens, judged by its name, its shape and its values."""
    rows = len(axes) == 2 and all(isinstance(axis, str) for axis in axes) and axes[0] != axes[1]
    kind = tensor.dtype == torch.bool or is_whole(tensor)
    return rows and kind and "mask" in name and bool(torch.all((tensor == 0) | (tensor == 1)))


def marks(name: str, tensor: Tensor) -> int:
    """The value that marks a real token in a mask.

    An example without padding holds a single value, which marks real tokens. For other examples the name decides: the
    padding masks of torch.nn are true at padding, all other masks are true at real tokens.
    """
    if tensor.numel() and bool(torch.all(tensor == tensor.flatten()[0])):
        return int(tensor.flatten()[0])
    return 0 if "pad" in name else 1
