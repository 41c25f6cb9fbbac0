"""The error function's complement, its scaled form and its inverse: erfc, erfcx, erfinv, ndtri.

In: a tensor. Out: the function.

    erfcx(x) = exp(x^2) erfc(x)   t * P(2 t - 1), t = 1 / (1 + x / 2), for x >= 0
    erfc(x)                       1 - erf(x) up to 0.5, and exp(-x^2) * erfcx(x) beyond
    erfinv(y)                     y * Q(w), w = -log((1 - y) (1 + y))

torch's translation of erfc is 1 - erf(x), which is 0 from 4 on. x^2 rounds, and exp makes much of it. So x^2 is h^2, which is
exact, + (x - h) (x + h).

P and Q are Chebyshev fits in float64 to scipy's functions, written as sums of powers. Their error is at most 1e-8 of the value,
and in float32 a few units. Source of the variable w: Giles 2010, "Approximating the erfinv function".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
SCALED = (
    0.5107913528, 0.343580333, 0.1397360327, 0.01822138425, -0.01075511615, -0.003241854895,
    0.001544047683, 0.0004270201507, -0.0003281001475, -3.295153919e-05, 6.768780645e-05, -1.327395554e-06,
    -8.508869742e-06,
)  # fmt: skip
# Q by w up to 5, and by the root of w up to 18 and up to 90
CENTRE = (
    1.501409352, 0.616600692, -0.02610828076, -0.01957356427, 0.008525934497, -0.0004878764751,
    -0.0008364687382, 0.0002921357798, 2.515743551e-05, -4.140043629e-05, 4.149577367e-06, 2.931137085e-06,
)  # fmt: skip
TAIL = (
    3.076883157, 1.01218572, 0.005529828522, -0.003902159646, 0.002593156257, -0.00178711022,
    0.001098664932, -0.0003827356517, -8.665045641e-05, 9.161775221e-05,
)  # fmt: skip
FAR = (
    6.74293719, 2.647901077, -0.00354517802, 4.763007095e-05, 0.0003436155329, -0.0002111388088,
    0.0001077790518, -8.196481929e-05, 3.554697363e-05,
)  # fmt: skip
CENTRE_TO, TAIL_TO, FAR_TO = 5.0, 4.25, 9.5


def polynomial(factors: Sequence[float], x: Tensor) -> Tensor:
    """factors[0] + factors[1] * x + ... by Horner's rule."""
    found = torch.full_like(x, factors[-1])
    for factor in factors[-2::-1]:
        found = found * x + factor
    return found


def between(x: Tensor, low: float, high: float) -> Tensor:
    """`x` on the line from `low` to `high`, as -1 to 1."""
    return (x - (low + high) / 2) / ((high - low) / 2)


def exp_of_square(x: Tensor, sign: int) -> Tensor:
    """exp(x^2), or exp(-x^2) with a sign of -1, for x >= 0."""
    coarse = torch.floor(x.clamp(max=30) * 16) / 16
    rest = (x - coarse) * (x + coarse)
    return torch.exp(sign * coarse * coarse) * torch.exp(sign * rest)


def scaled(x: Tensor) -> Tensor:
    """erfcx for x >= 0."""
    t = torch.reciprocal(1 + x / 2)
    return t * polynomial(SCALED, 2 * t - 1)


def erfcx(x: Tensor) -> Tensor:
    size = x.abs()
    found = scaled(size)
    return torch.where(x < 0, 2 * exp_of_square(size, 1) - found, found)


def erfc(x: Tensor) -> Tensor:
    far = x.clamp(min=0)
    return torch.where(x < 0.5, 1 - torch.erf(x), exp_of_square(far, -1) * scaled(far))


def inverse(y: Tensor, w: Tensor) -> Tensor:
    """y * Q(w): the x with erf(x) = y, where w = -log(1 - y^2)."""
    root, low = torch.sqrt(w), math.sqrt(CENTRE_TO)
    centre = polynomial(CENTRE, between(w.clamp(max=CENTRE_TO), 0, CENTRE_TO))
    tail = polynomial(TAIL, between(root.clamp(low, TAIL_TO), low, TAIL_TO))
    far = polynomial(FAR, between(root.clamp(TAIL_TO, FAR_TO), TAIL_TO, FAR_TO))
    found = y * torch.where(w < CENTRE_TO, centre, torch.where(root < TAIL_TO, tail, far))
    found = torch.where(w == math.inf, y * math.inf, found)
    return torch.where(torch.isnan(w), torch.full_like(found, math.nan), found)


def erfinv(y: Tensor) -> Tensor:
    return inverse(y, -torch.log((1 - y) * (1 + y)))


def ndtri(p: Tensor) -> Tensor:
    """The quantile of the normal distribution."""
    return math.sqrt(2) * inverse(2 * p - 1, -torch.log(4 * p * (1 - p)))


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.erfc.default: erfc,
    aten.special_erfc.default: erfc,
    aten.special_erfcx.default: erfcx,
    aten.erfinv.default: erfinv,
    aten.special_erfinv.default: erfinv,
    aten.special_ndtri.default: ndtri,
}
