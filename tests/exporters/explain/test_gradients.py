"""The fused gradient of a softmax and the product behind it, compared with the gradient of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgexf_exporters.explain.rules import Fused

ROUNDING = 1e-12  # float64 sums in another order, relative to the largest value


def attend(query: Tensor, key: Tensor, value: Tensor, weights: Tensor) -> Tensor:
    """Returns a number that depends on all arguments. Writes to the mixed values in place, as a library may do."""
    mixed = (query @ key.mT).softmax(-1) @ value
    mixed += 1
    return (mixed * weights).sum()


def names_behind(value: Tensor) -> str:
    """Returns the names of the reverse steps from a tensor back to its leaves."""
    steps, names = [value.grad_fn], []
    while steps:
        step = steps.pop()
        if step is not None:
            names.append(step.name())
            steps += [one for one, _ in step.next_functions]
    return " ".join(names)


@pytest.mark.parametrize(
    ("shape", "values", "fused"),
    [
        ((2, 3, 7, 5), (2, 3, 7, 5), True),
        ((4, 7, 5), (4, 7, 5), True),
        ((2, 3, 7, 5), (1, 3, 7, 5), False),  # the rows share their values
        ((2, 3, 0, 7, 5), (2, 3, 0, 7, 5), False),  # the number of blocks may be 0
        ((7, 5), (7, 5), False),
    ],
)
def test_a_softmax_and_the_product_behind_it_have_autograds_gradient(
    shape: tuple[int, ...], values: tuple[int, ...], fused: bool
) -> None:
    chance = torch.Generator().manual_seed(0)
    given = [
        torch.randn(size, dtype=torch.float64, generator=chance).requires_grad_(True)
        for size in (shape, shape, values, shape)
    ]
    wanted = torch.autograd.grad(attend(*given), given)
    with Fused():
        explained = attend(*given)
    assert ("Mixed" in names_behind(explained)) == fused
    for found, right in zip(torch.autograd.grad(explained, given), wanted, strict=True):
        assert torch.allclose(found, right, rtol=0, atol=ROUNDING * float(right.abs().sum()))
