"""log1p, expm1, and the activations that consist of them.

In: a tensor. Out: the operator of PyTorch, also where 1 + x rounds to 1.

    log1p(x)       x * log(u) / (u - 1), u = 1 + x      the rounding of u cancels; Kahan, in Higham 2002, section 1.14.1
    expm1(x)       tanh(x / 2) * (exp(x) + 1)           no difference of equal numbers
    tanhshrink(x)  a series up to |x| = 0.6             x - tanh(x) is x^3 / 3 there

Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
SERIES = (
    1 / 3,
    -2 / 15,
    17 / 315,
    -62 / 2835,
    1382 / 155925,
    -21844 / 6081075,
    929569 / 638512875,
)  # of 1 - tanh(x) / x
SERIES_UP_TO = 0.6


def log1p(x: Tensor) -> Tensor:
    """log(1 + x). Where u - 1 is x, also for infinity, u is exact; where it is 0, the answer is x."""
    u = 1 + x
    added = u - 1
    exact = torch.log(u)
    found = torch.where(added == x, exact, exact * (x / added))
    return torch.where(added == 0, x, found)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1."""
    return torch.tanh(x / 2) * (torch.exp(x) + 1)


def elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """scale * (x if x > 0 else alpha * expm1(input_scale * x))."""
    below = expm1((x * input_scale).clamp(max=0)) * (alpha * scale)
    return torch.where(x > 0, x * scale, below)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return elu(x, alpha, 1.0, 1 / alpha)


def selu(x: Tensor) -> Tensor:
    return elu(x, SELU_ALPHA, SELU_SCALE)


def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    square = x * x
    found = torch.full_like(x, SERIES[-1])
    for factor in SERIES[-2::-1]:
        found = found * square + factor
    return torch.where(x.abs() < SERIES_UP_TO, found * square * x, x - torch.tanh(x))


def rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any) -> Tensor:
    """The slope of an evaluation: a module that draws its slopes is refused earlier."""
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.rrelu.default: rrelu,
    aten.log1p.default: log1p,
    aten.special_log1p.default: log1p,
    aten.expm1.default: expm1,
    aten.special_expm1.default: expm1,
    aten.elu.default: elu,
    aten.celu.default: celu,
    aten.selu.default: selu,
}
