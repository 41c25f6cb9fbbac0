"""The softmax of scores of which many are hidden, as an operator of a captured program.

    edgexf::attention_weights    softmax(s), logsumexp(s)    weights = Softmax(Max(s, max(s) - 64))
                                                             normaliser = max(s) - Log(max(weights))

A score is hidden by a large negative number. Kernels are slow where exp of it is no normal float32, which is below exp(-87).
Measured with ONNX Runtime 1.32 and AVX-512, on rows of 128 scores of which four in five are hidden: by -60 a softmax takes
6.9 ms, by -88 58 ms, by -1e9 28 ms. So no score counts as more than 64 below the largest one of its row. exp(-64) is 1.6e-28,
so a billion hidden scores add 1.6e-19 to a row, which float32 rounds away. The relevance of padding is 0 by the mask.
`max(weights)` is at least 1 / keys, so its logarithm is exact to float32's rounding. It saves a pass of exp, of a sum and of a
difference over all scores.

Two alternatives were weighed. A flag of ONNX Runtime takes such numbers for 0, but on the thread that creates the first session
of a process alone, and for all other code on that thread. To hide scores by a smaller number, such as -64, is wrong where a
hidden score is far above the visible ones.
Source: Vaswani et al. 2017, eq. 1; Kitaev et al. 2020, eq. 3 for the normaliser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor

op: Any = opset18  # its types don't follow what a node answers
LOWEST = 64.0  # how far below the largest score of its row a score counts


@torch.library.custom_op("edgexf::attention_weights", mutates_args=())
def attention_weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The weights [..., queries, keys], softmax(scores), and their normaliser [..., queries, 1], logsumexp(scores)."""
    return scores.softmax(dim=-1), scores.logsumexp(dim=-1, keepdim=True)


@attention_weights.register_fake
def _(scores: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(scores), scores.new_empty(*scores.shape[:-1], 1)


def remember(ctx: Any, inputs: Sequence[Tensor], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
    ctx.save_for_backward(output[0])
    ctx.set_materialize_grads(False)


def reverse(ctx: Any, of_weights: Tensor | None, of_normaliser: Tensor | None) -> Tensor | None:
    """dS = A * (dA - rowsum(A * dA) + dN), where either gradient may be missing."""
    (weights,) = ctx.saved_tensors
    if of_weights is None:
        return None if of_normaliser is None else weights * of_normaliser
    shift = (weights * of_weights).sum(dim=-1, keepdim=True)
    shift = shift if of_normaliser is None else shift - of_normaliser
    found: Tensor = weights * (of_weights - shift)
    return found


attention_weights.register_autograd(reverse, setup_context=remember)


def in_onnx(scores: Any) -> Any:
    """The translation of `attention_weights`."""
    last = op.Constant(value_ints=[-1])
    largest = op.ReduceMax(scores, last)
    lowest = op.Sub(largest, op.CastLike(op.Constant(value_float=LOWEST), scores))
    weights = op.Softmax(op.Max(scores, lowest), axis=-1)
    return weights, op.Sub(largest, op.Log(op.ReduceMax(weights, last)))


TRANSLATIONS = {torch.ops.edgexf.attention_weights.default: in_onnx}
