"""edgexf's own forms of operators, on 200,000 numbers or pairs drawn over all magnitudes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from operators import hard
from operators.measure import compared
from torch import Tensor

from edgexf_exporters.trace.operators import division, errors, exponential, likelihood, sign, small

COUNT = 200_000
Does = Callable[..., Tensor]


def wide(seed: int) -> Tensor:
    """Numbers of both signs from 4e-18 to 2e17."""
    draw = torch.Generator().manual_seed(seed)
    sizes = torch.exp(torch.empty(COUNT).uniform_(-40, 40, generator=draw))
    return sizes * torch.randn(COUNT, generator=draw).sign()


def nearer(numbers: Tensor, power: float) -> Tensor:
    """The numbers with sizes nearer to 1."""
    return numbers.sign() * numbers.abs() ** power


def middle(seed: int) -> Tensor:
    """Numbers around 1, half of them drawn evenly."""
    draw = torch.Generator().manual_seed(seed)
    return torch.cat([torch.empty(COUNT // 2).uniform_(-12, 12, generator=draw), nearer(wide(seed)[: COUNT // 2], 0.2)])


def chances(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.cat([torch.rand(COUNT // 2, generator=draw), torch.exp(-80 * torch.rand(COUNT // 2, generator=draw))])


FORMS: dict[str, tuple[Does, Does, int]] = {
    "log1p": (exponential.log1p, torch.log1p, 1),
    "expm1": (exponential.expm1, torch.expm1, 1),
    "elu": (exponential.elu, F.elu, 1),
    "selu": (exponential.selu, F.selu, 1),
    "logsigmoid": (likelihood.log_sigmoid, F.logsigmoid, 1),
    "logaddexp": (likelihood.logaddexp, torch.logaddexp, 2),
    # of positive numbers: beside 0 the answer is a difference, in PyTorch too
    "logaddexp2": (
        lambda x, y: likelihood.logaddexp2(x.abs(), y.abs()),
        lambda x, y: torch.logaddexp2(x.abs(), y.abs()),
        2,
    ),
    "atan2": (sign.atan2, torch.atan2, 2),
    "hypot": (sign.hypot, torch.hypot, 2),
    "copysign": (sign.copysign, torch.copysign, 2),
    "fmax": (sign.fmax, torch.fmax, 2),
    "fmin": (sign.fmin, torch.fmin, 2),
    "xlogy": (sign.xlogy, torch.xlogy, 2),
    "sigmoid": (small.sigmoid, torch.sigmoid, 1),
    "erfc": (errors.erfc, torch.erfc, 1),
    "erfcx": (errors.erfcx, torch.special.erfcx, 1),
}
EXACT: dict[str, tuple[Does, Does]] = {
    "remainder": (division.remainder, torch.remainder),
    "floor_divide": (division.floor_divide, torch.floor_divide),
    "truncated": (division.truncated, lambda x, y: torch.div(x, y, rounding_mode="trunc")),
}


def assert_near(own: Does, does: Does, *given: Tensor) -> None:
    found = compared(own(*given), does(*given), does(*(one.double() for one in given)))
    assert found.exact, found


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("draw", [wide, middle])
def test_a_form_is_as_near_to_float64_as_pytorchs_own(name: str, draw: Callable[[int], Tensor]) -> None:
    own, does, count = FORMS[name]
    assert_near(own, does, *map(draw, range(count)))


@pytest.mark.parametrize(("own", "does"), [(errors.erfinv, torch.erfinv), (errors.ndtri, torch.special.ndtri)])
def test_an_inverse_is_as_near_to_float64_as_pytorchs_own(own: Does, does: Does) -> None:
    assert_near(own, does, chances(0))


def multiples() -> tuple[Tensor, Tensor]:
    step = nearer(wide(0).abs(), 0.3)
    counts = torch.randint(-2000, 2000, (COUNT,), generator=torch.Generator().manual_seed(0))
    return step * counts, step


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(
    "pairs",
    [(nearer(wide(0), 0.6), nearer(wide(1), 0.6)), (middle(0), middle(1)), multiples(), hard.multiples()],
    ids=["wide", "middle", "multiples", "hard"],
)
def test_a_quotient_or_remainder_is_that_of_pytorch_to_the_bit(name: str, pairs: tuple[Tensor, Tensor]) -> None:
    own, does = EXACT[name]
    found, wanted = own(*pairs), does(*pairs)
    assert torch.equal(torch.nan_to_num(found, nan=0.125), torch.nan_to_num(wanted, nan=0.125))
    assert torch.equal(torch.signbit(found), torch.signbit(wanted))
