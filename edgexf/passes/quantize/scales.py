"""The scales of weights in 8 bits: W = codes * scale, with codes from -127 to 127.

    table  max |W[i]| / 127                   over the numbers i of a row
    layer  max (|W[i]| + |W[i + 1]|) / 127    over the inputs i of an output

A processor without dot products of bytes (AVX2 and AVX-512 without VNNI) adds two products of an unsigned and a signed byte in
16 bits, those of neighbouring inputs. With the scale of a table such a sum saturates. With the scale of a layer the codes of two
neighbours sum to at most 128, because rounding adds at most a half to each, and 255 x 128 fits into 16 bits. So a graph gives the
same sums on every processor. The price is a coarser step: at most twice that of a table, and 1.5 times on average for weights
of a normal distribution with 128 to 3,072 inputs.

Two alternatives were weighed. Unsigned weights, with 128 for zero, never saturate and keep the scale of a table. Their kernel for
AVX2 multiplies 16-bit numbers, so it is slower; `int8` takes them only where the coarser step costs too much. Codes from -64 to 64
fit whatever kernel adds, but always double the step.
Source: the instruction VPMADDUBSW in the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Floats = npt.NDArray[np.float32]
LEVELS = 127


def of_table(array: Floats, axis: int) -> Floats:
    """The scales along `axis`, of the axes of the array."""
    return positive(np.abs(array).max(axis=others(array, axis), keepdims=True))


def of_layer(weight: Floats, axis: int) -> Floats:
    """The scales of the outputs, which lie along `axis` of a weight of two axes; in two axes."""
    sizes = np.abs(weight)
    if weight.shape[1 - axis] > 1:
        sizes = sliding_window_view(sizes, 2, axis=1 - axis).sum(axis=-1)
    return positive(sizes.max(axis=1 - axis, keepdims=True))


def others(array: npt.NDArray[Any], axis: int) -> tuple[int, ...]:
    return tuple(place for place in range(array.ndim) if place != axis)


def positive(largest: Floats) -> Floats:
    return np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
