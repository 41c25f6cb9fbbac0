"""Inputs on which translations of operators differ from PyTorch: ties, exact multiples, tiny, large and extreme values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIZES = (
    0.0,
    1e-30,
    1e-8,
    3e-6,
    1e-4,
    1e-3,
    0.1,
    0.3,
    0.5,
    0.999,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    7.0,
    30.0,
    88.0,
    200.0,
    300.5,
    1e4,
)
OFFSETS = (300.0001, 10_000.001, 10_000.5)
BEYOND = (math.inf, -math.inf, math.nan, 3e38, -3e38)
WHOLE = {
    dtype: [
        0,
        1,
        -1,
        2,
        -2,
        3,
        7,
        -7,
        10,
        torch.iinfo(dtype).max,
        torch.iinfo(dtype).min,
        torch.iinfo(dtype).max // 2 + 1,
    ]
    for dtype in (torch.int8, torch.int32, torch.int64)
}


def both_signs(sizes: tuple[float, ...]) -> Tensor:
    return torch.tensor([sign * size for size in sizes for sign in (1, -1)])


def line(beyond: bool = True) -> Tensor:
    """Hard numbers, float32 [numbers]."""
    return torch.cat([both_signs(SIZES + OFFSETS), torch.tensor(BEYOND if beyond else ())])


def pairs(first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Each number with each other number, two tensors [pairs]."""
    second = first if second is None else second
    return first.repeat_interleave(len(second)), second.repeat(len(first))


def multiples() -> tuple[Tensor, Tensor]:
    """Dividends and divisors whose quotient is whole or just beside, float32 [pairs] each."""
    counts = torch.tensor([0.0, 1, 2, 3, 5, 10, 47, 1000, 12345, 1e6]).repeat(2)
    counts[10:] *= -1
    step = torch.tensor([0.1, -0.1, 0.3, 0.7, 1.0, -3.0, 1e-4, 1 / 3])
    one, two = pairs(counts, step)
    exact = one * two
    up, down = torch.tensor(math.inf), torch.tensor(-math.inf)
    return torch.cat([exact, torch.nextafter(exact, up), torch.nextafter(exact, down)]), two.repeat(3)


def unit() -> Tensor:
    """Probabilities, with both ends and their neighbours, float32 [numbers]."""
    one = torch.tensor([0.0, 1e-30, 1e-8, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9999])
    return torch.cat([one, torch.tensor([1 - 2**-24, 1.0])])


def rows() -> Tensor:
    """Rows of a matrix, float32 [11, 8]: drawn, equal, tied, tiny, large, offset, hidden."""
    drawn = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    return torch.stack([
        drawn[0], torch.full((8,), 0.3), torch.tensor([3.0, 1, 3, 2, 2, 1, 3, 0]), torch.tensor([0.0, -0.0] * 4),
        drawn[1] * 1e-8, drawn[1] * 1e-4, drawn[2] * 30, drawn[2] * 200, drawn[3] * 1e4, drawn[3] + 300, drawn[0] + 10_000,
    ])  # fmt: skip


def hidden() -> Tensor:
    """Scores with additive masks, float32 [5, 6]: none, some and all hidden by -inf or -3e38, and large scores."""
    scores = torch.linspace(-2, 3, 6).repeat(5, 1)
    scores[1, 2:] = -math.inf
    scores[2] = -math.inf
    scores[3, 3:] += -3.3e38
    scores[4] += -3.3e38
    return scores


def whole(dtype: torch.dtype) -> Tensor:
    """Integers with the ends of the type, [numbers]."""
    return torch.tensor(WHOLE[dtype], dtype=dtype)
