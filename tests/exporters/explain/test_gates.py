"""Gates: a sigmoid that multiplies is a constant, until an operator writes to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from propagation import gradient_of
from torch import Tensor, nn


@pytest.mark.parametrize(
    "gate",
    [
        torch.sigmoid,
        nn.Hardsigmoid(),
        lambda x: 1 - x.sigmoid(),
        lambda x: x.clone().sigmoid_(),
        lambda x: x.sigmoid().view(-1, 1).chunk(2)[0].view(3, 8),
    ],
    ids=["sigmoid", "hardsigmoid", "update", "in place", "views"],
)
def test_a_sigmoid_that_multiplies_is_a_constant(gate: Callable[[Tensor], Tensor]) -> None:
    value = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.zeros_like(value)
    wanted[: len(gate(value @ weight))] = gate(value @ weight)
    for gated in (
        lambda x: gate(x @ weight) * x[: len(gate(x))],
        lambda x: (1 * x[: len(gate(x))]).mul_(gate(x @ weight)),
    ):
        assert torch.allclose(gradient_of(gated, value), wanted)


@pytest.mark.parametrize(
    ("there", "apart"),
    [
        (lambda gate, x: gate.add_(x), lambda gate, x: gate + x),
        (lambda gate, _: gate.clamp_(0.4), lambda gate, _: gate.clamp(0.4)),
        (lambda gate, _: gate.neg_(), lambda gate, _: -gate),
        (lambda gate, x: gate.masked_fill_(x > 1, 0), lambda gate, x: gate.masked_fill(x > 1, 0)),
        (lambda gate, x: (gate.view(6, 8), gate.add_(x))[0], lambda gate, x: gate + x),
    ],
    ids=["add", "clamp", "neg", "masked_fill", "a view of it"],
)
def test_what_is_written_over_a_sigmoid_is_no_gate(
    there: Callable[[Tensor, Tensor], Tensor], apart: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """The graph holds the form that is not in place, so the eager model must answer as this form does."""
    value = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, wanted = (
        gradient_of(lambda x, form=form: x * form((x @ weight).sigmoid(), x), value) for form in (there, apart)
    )
    assert torch.allclose(found, wanted)
    assert not torch.allclose(
        found, gradient_of(lambda x: x * apart((x @ weight).sigmoid().detach(), x.detach()), value)
    )


def test_a_gate_that_takes_its_product_stays_a_constant() -> None:
    value = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = gradient_of(lambda x: (x @ weight).sigmoid().mul_(x), value)
    assert torch.allclose(found, (value @ weight).sigmoid())
