"""Logarithms of probabilities: logsigmoid, logaddexp, logsumexp, and the losses that consist of them.

In: logits or logarithms. Out: the operator of PyTorch, also where a probability rounds to 0 or 1.

    log(sigmoid(x))           min(x, 0) - log1p(exp(-|x|)), the Softplus of ONNX
    log(exp(x) + exp(y))      max(x, y) + log1p(exp(-|x - y|))
    log(sum(exp(x)))          the largest + log(sum(exp(x - the largest)))

onnxruntime's ReduceLogSumExp answers -inf for -inf beside -3.3e38.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgexf_exporters.trace.operators.exponential import log1p

aten = torch.ops.aten
MEAN, SUM = 1, 2  # torch's numbers of the reductions of a loss
LEAST_LOG = -100.0  # of a probability in a loss of PyTorch


def log1p_exp(x: Tensor) -> Tensor:
    """log1p(exp(x)) for x <= 0."""
    return aten.softplus.default(x)  # type: ignore[no-any-return]


def log_sigmoid(x: Tensor) -> Tensor:
    return x.clamp(max=0) - log1p_exp(-x.abs())


def log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    return log_sigmoid(x), x.new_zeros((0,))


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)). Equal infinities have no difference."""
    away = torch.where(x == y, torch.zeros_like(x), x - y)
    return torch.maximum(x, y) + log1p_exp(-away.abs())


def logaddexp2(x: Tensor, y: Tensor) -> Tensor:
    """log2(2^x + 2^y)."""
    away = torch.where(x == y, torch.zeros_like(x), x - y)
    return torch.maximum(x, y) + log1p_exp(-away.abs() * math.log(2)) * (1 / math.log(2))


def logsumexp(x: Tensor, dim: Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))). A row of infinities has no difference from its largest."""
    if not x.is_floating_point():
        x = x.to(torch.float32)
    dim = list(dim) or list(range(x.ndim))
    largest = torch.amax(x, dim, keepdim=True)
    shift = torch.where(largest.abs() == math.inf, torch.zeros_like(largest), largest)
    total = torch.exp(x - shift).sum(dim, keepdim=True)
    found = torch.log(total) + shift
    for axis in () if keepdim else sorted((axis % x.ndim for axis in dim), reverse=True):
        found = found.squeeze(axis)
    return found


def reduced(loss: Tensor, reduction: int) -> Tensor:
    return loss.mean() if reduction == MEAN else loss.sum() if reduction == SUM else loss


def cross_entropy_of_logits(
    x: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = MEAN
) -> Tensor:
    """``binary_cross_entropy_with_logits``."""
    of_one = log_sigmoid(x) if pos_weight is None else ((pos_weight - 1) * target + 1) * log_sigmoid(x)
    loss = (1 - target) * x - of_one
    return reduced(loss if weight is None else loss * weight, reduction)


def cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = MEAN) -> Tensor:
    """``binary_cross_entropy``, whose logarithms end at -100."""
    of_one, of_zero = torch.log(x).clamp(min=LEAST_LOG), log1p(-x).clamp(min=LEAST_LOG)
    loss = (target - 1) * of_zero - target * of_one
    return reduced(loss if weight is None else loss * weight, reduction)


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.log_sigmoid.default: log_sigmoid,
    aten.log_sigmoid_forward.default: log_sigmoid_forward,
    aten.logaddexp.default: logaddexp,
    aten.logaddexp2.default: logaddexp2,
    aten.logsumexp.default: logsumexp,
    aten.special_logsumexp.default: logsumexp,
    aten.binary_cross_entropy_with_logits.default: cross_entropy_of_logits,
    aten.binary_cross_entropy.default: cross_entropy,
}
