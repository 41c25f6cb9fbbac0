"""Parts of an axis of free length: roll, split, chunk.

In: a tensor and an axis. Out: the operator of PyTorch.

    roll by n // 3      entries (i - n // 3) mod n
    split               slices; SplitToSequence of ONNX makes a sequence, which is taken apart for numbers alone
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import SymInt, Tensor

aten = torch.ops.aten
Size = Any  # an int or a SymInt


def roll(x: Tensor, shifts: Sequence[Size], dims: Sequence[int] = ()) -> Any:
    """A roll by sizes. A roll by numbers has a translation."""
    if not any(isinstance(shift, SymInt) for shift in shifts):
        return NotImplemented
    if not dims:
        return roll(x.reshape(-1), shifts, (0,)).reshape(x.shape)
    for shift, axis in zip(shifts, dims, strict=True):
        length = x.shape[axis]
        x = x.index_select(axis, torch.remainder(torch.arange(length) - shift, torch.full((), length)))
    return x


def split(x: Tensor, split_size: Size, dim: int = 0) -> Any:
    """The parts of a size, the last one with the rest. Their number is that of the trace."""
    length = x.shape[dim]
    if not isinstance(length, SymInt) and not isinstance(split_size, SymInt):
        return NotImplemented
    count = int((length + split_size - 1) // split_size)
    return [
        aten.slice.Tensor(x, dim, turn * split_size, None if turn == count - 1 else (turn + 1) * split_size)
        for turn in range(count)
    ]


def chunk(x: Tensor, chunks: int, dim: int = 0) -> Any:
    length = x.shape[dim]
    return split(x, (length + chunks - 1) // chunks, dim) if isinstance(length, SymInt) else NotImplemented


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.roll.default: roll,
    aten.split.Tensor: split,
    aten.chunk.default: chunk,
}
