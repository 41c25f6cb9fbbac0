"""Gradients that ONNX has no operator for, in operators that ONNX has.

In: the arguments of a reverse operator of aten; weights are constants. Out: the gradient of the input. None stands for
gradients that the caller does not need, NotImplemented for a case that has no translation here.

    convolution     a transposed convolution with the same kernel, cropped to the input
    mean pooling    a convolution with equal weights, channel by channel
    slices          zeros around the gradient of the slice
    others          the decomposition of torch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.nn import functional as F

aten = torch.ops.aten
Sizes = Sequence[int]


def convolution_backward(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    _bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    _output_padding: Sizes,
    groups: int,
    wanted: Sequence[bool],
) -> Any:
    """The gradient of a convolution's input.

    With steps of 1 it is a convolution with the reversed kernel, which runs faster than a transposed convolution. A list of
    a single number stands for all axes.
    """
    stride, padding, dilation = (on_each_axis(given, weight.ndim - 2) for given in (stride, padding, dilation))
    around = [step * (size - 1) - pad for step, size, pad in zip(dilation, weight.shape[2:], padding, strict=True)]
    if transposed or list(wanted) != [True, False, False]:
        return NotImplemented
    none = [0] * len(around)
    if all(step == 1 for step in stride) and min(around) >= 0:
        turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(tuple(range(2, weight.ndim)))
        found = aten.convolution.default(gradient, turned, None, stride, around, dilation, False, none, groups)
        return found, None, None
    whole = aten.convolution.default(gradient, weight, None, stride, none, dilation, True, none, groups)
    behind = [amount for step in reversed(stride) for amount in (0, step - 1)]  # what the last step did not reach
    whole = F.pad(whole, behind)
    for axis, pad in enumerate(padding, start=2):
        whole = whole.narrow(axis, pad, inputs.shape[axis])
    return whole, None, None


def on_each_axis(given: Sizes, axes: int) -> Sizes:
    return [*given] * axes if len(given) == 1 else given


def mean_pool_backward(
    gradient: Tensor, inputs: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, ceil: bool, with_padding: bool,
    divisor: int | None,
) -> Any:  # fmt: skip
    """The gradient of a mean pooling: each output's gradient, divided by how many entries its mean is over, comes to all of
    these entries.

    Windows may reach beyond the padded input (`ceil`). A window wider than that is cut to it, since it is written as a
    kernel of ones: EfficientNet pools by a window as wide as its channels are many.
    """
    if inputs.ndim != 4:
        return NotImplemented
    window, pads = on_each_axis(kernel, 2), on_each_axis(padding, 2)
    steps, channels = on_each_axis(stride, 2) or window, inputs.shape[1]
    if divisor is None and (ceil or (any(pads) and not with_padding)):
        around = pads if with_padding else [0, 0]
        given = zip(gradient.shape[2:], inputs.shape[2:], window, steps, pads, around, strict=True)
        rows, columns = (counted(*one) for one in given)
        gradient = gradient / (rows.unsqueeze(-1) * columns)
        divisor = 1
    cut = [
        min(wide, size + 2 * pad) if isinstance(size, int) else wide
        for wide, size, pad in zip(window, inputs.shape[2:], pads, strict=True)
    ]
    weight = torch.full((channels, 1, *cut), 1 / (divisor or window[0] * window[1]), dtype=inputs.dtype)
    asked = [True, False, False]
    found, *_ = convolution_backward(
        gradient, inputs, weight, None, steps, pads, [1, 1], False, [0, 0], channels, asked
    )
    return found


def counted(count: int, size: int, wide: int, step: int, pad: int, around: int) -> Tensor:
    """How many of `size` entries, and of `around` entries of padding on each side, each of `count` windows holds, [count]."""
    first = torch.arange(count) * step - pad
    return (first + wide).clamp(max=size + around) - first.clamp(min=-around)


def padded(gradient: Tensor, size: int, axis: int, start: int) -> Tensor:
    """Pads `gradient` with zeros to `size` entries along an axis; the gradient begins at `start`."""
    sizes = [0] * (2 * gradient.ndim)
    place = 2 * (gradient.ndim - 1 - axis % gradient.ndim)
    sizes[place : place + 2] = start, size - start - gradient.shape[axis]
    found: Tensor = aten.constant_pad_nd.default(gradient, sizes)
    return found


def slice_backward(gradient: Tensor, sizes: Sizes, axis: int, start: int, end: int, step: int) -> Any:
    """Pads with zeros on both sides, where torch's decomposition scatters into zeros entry by entry."""
    if step != 1:
        return decomposition_table[aten.slice_backward.default](gradient, sizes, axis, start, end, step)
    return padded(gradient, sizes[axis], axis, start if start >= 0 else start + sizes[axis])


def select_backward(gradient: Tensor, sizes: Sizes, axis: int, index: int) -> Tensor:
    return padded(gradient.unsqueeze(axis), sizes[axis], axis, index if index >= 0 else index + sizes[axis])


REVERSED: dict[Any, Callable[..., Any]] = {
    **{op: rule for op, rule in decomposition_table.items() if "_backward" in str(op)},
    aten.convolution_backward.default: convolution_backward,
    aten.avg_pool2d_backward.default: mean_pool_backward,
    aten.slice_backward.default: slice_backward,
    aten.select_backward.default: select_backward,
}
