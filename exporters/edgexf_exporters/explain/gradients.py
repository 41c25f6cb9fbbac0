"""The gradients of relevance rules that torch has no operator for.

In: tensors. Out: the values of an operator, with the gradient of a rule; see `edgexf_exporters.explain.rules`. The mark
`edgexf_exporters.trace.marks.constant` gets its gradient here. The mark is a custom operator, because torch already
uses each of its identity operators for something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from edgexf_exporters.trace.attention import hidden
from edgexf_exporters.trace.marks import constant

SMALLEST = 1e-6  # the least magnitude of an activation's input, which the gradient divides by


constant.register_autograd(lambda _, gradient: gradient)


def divisor(value: Tensor) -> Tensor:
    """The same values, but no magnitude below `SMALLEST`."""
    least = torch.where(value < 0, -SMALLEST, SMALLEST)
    return torch.where(value.abs() < SMALLEST, least, value)


class Shared(Function):
    """Forward: the same values. Backward: the gradient's share of `count`.

    A hook would be simpler, but a hook is lost if code writes in place to a view of its tensor.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int) -> Tensor:
        ctx.count = count
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] / ctx.count, None


class Activation(Function):
    """Forward: the answer of an activation. Backward: the gradient times answer / value, which counts as a constant."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, answer: Tensor) -> Tensor:
        ctx.save_for_backward(value, answer)
        return answer.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        value, answer = ctx.saved_tensors
        return gradients[0] * answer / divisor(value), None


class Normalised(Function):
    """Forward: LayerNorm over the axes of `shape`.

    Backward: the gradient of a LayerNorm whose scale, 1 / sqrt(variance), is a constant.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Any, bias: Any, shape: list[int], epsilon: float) -> Tensor:
        answer, _, scale = torch.native_layer_norm(value, shape, weight, bias, epsilon)
        ctx.axes = tuple(range(-len(shape), 0))
        ctx.save_for_backward(scale, torch.ones((), dtype=scale.dtype) if weight is None else weight)
        return answer

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        scale, weight = ctx.saved_tensors
        scaled = gradients[0] * weight * scale
        bias = gradients[0].flatten(0, -len(ctx.axes) - 1).sum(dim=0) if ctx.needs_input_grad[2] else None
        return scaled - scaled.mean(dim=ctx.axes, keepdim=True), None, bias, None, None


class Mixed(Function):
    """Forward: softmax weights times values. Backward: the gradients of the softmax's scores and of the values.

    The gradient of a softmax subtracts from each row a sum over all keys, sum_j A_ij dA_ij. With dA = g V^T this sum is
    g_i . (A V)_i, a sum over the width of a head (Dao et al. 2022, "FlashAttention", appendix B.2). An additional
    column of g and V subtracts the sum within the product. This takes one pass over all pairs of tokens, where torch's
    gradient takes four.
    """

    @staticmethod
    def forward(ctx: Any, _scores: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        mixed = weights @ value
        ctx.save_for_backward(weights, value, mixed)
        return mixed.clone()  # a library may write to the answer

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor | None]:
        kept = ctx.saved_tensors  # read once: a layer that runs again for them gives them once
        shapes = [tensor.shape for tensor in kept]
        weights, value, mixed = (tensor.flatten(0, -3) for tensor in kept)
        gradient = gradients[0].flatten(0, -3)  # three axes: ONNX Runtime fuses a transpose into such a product
        left = torch.cat((gradient, -(gradient * mixed).sum(dim=-1, keepdim=True)), dim=-1)
        right = torch.cat((value, torch.ones_like(value[..., :1])), dim=-1)
        of_scores = (weights * left.bmm(right.transpose(1, 2))).reshape(shapes[0])
        of_value = weights.transpose(1, 2).bmm(gradient).reshape(shapes[1]) if ctx.needs_input_grad[2] else None
        return of_scores, None, of_value


class Recomputed(Function):
    """Forward: softmax(Q K^T + mask) V, some queries at a time. Backward: its gradient, which computes the weights again.

    Weights of a long input don't fit into memory: 12 heads and 8,192 tokens have 3.2 GB of them in each layer. query is
    divided by the square root of a head's width. mask is bool or added to the scores, broadcast to
    [..., queries, keys]; None if each query sees all keys.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        mixed = torch.cat([weights(rows, key, hides) @ value for rows, hides in in_slices(query, mask)], dim=-2)
        ctx.save_for_backward(query, key, value, mask, mixed)
        return mixed.clone()  # a library may write to the answer

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, mask, mixed = ctx.saved_tensors
        by_query, by_key, by_value = [], torch.zeros_like(key), torch.zeros_like(value)
        parts = zip(in_slices(query, mask), gradients[0].split(SLICE, -2), mixed.split(SLICE, -2), strict=True)
        for (rows, hides), given, answer in parts:
            share = weights(rows, key, hides)
            by_value += share.transpose(-1, -2) @ given
            slope = given @ value.transpose(-1, -2) - (given * answer).sum(dim=-1, keepdim=True)
            by_scores = share.mul_(slope)
            by_query.append(by_scores @ key)
            by_key += by_scores.transpose(-1, -2) @ rows
        return torch.cat(by_query, dim=-2), by_key, by_value, None


SLICE = 512  # the queries whose weights are in memory at once


def in_slices(query: Tensor, mask: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields some queries after the other, each with the rows of the mask for them."""
    for first in range(0, query.shape[-2], SLICE):
        rows = query.narrow(-2, first, min(SLICE, query.shape[-2] - first))
        yield rows, mask if mask is None or mask.shape[-2] == 1 else mask.narrow(-2, first, rows.shape[-2])


def weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2)
    return (scores if mask is None else hidden(scores, mask)).softmax(dim=-1)
