"""Where numbers lie: complex numbers as pairs, and what an attention answers in the memory of its caller's axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from families import TOLERANCE
from torch import Tensor, nn
from torch.nn import functional as F

import edgexf
from edgexf.errors import ExportError

HEADS, WIDTH = 2, 8


class Attends(nn.Module):
    """Heads of `WIDTH` numbers each, put together by `join`."""

    def __init__(self, join: Callable[[Tensor], Tensor], turn: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(30, HEADS * WIDTH)
        self.output = nn.Linear(HEADS * WIDTH, 3)
        self.join, self.turn = join, turn

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embedding(input_ids).unflatten(-1, (HEADS, WIDTH))
        query = self.turn(hidden).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, query, hidden.transpose(1, 2))
        answer: Tensor = self.output(self.join(attended)).sum(1)
        return answer


def agrees(module: nn.Module, folder: Path, methods: tuple[str, ...] = ()) -> None:
    """Exports a module, and compares it at lengths that no trace has seen."""
    ids = torch.randint(1, 30, (2, 11))
    bundle = edgexf.export(module.eval(), example_inputs=(ids,), max_length=40, explain=methods, output=folder / "out")
    with edgexf.load(bundle.path) as session:
        for rows, length in ((1, 2), (3, 23), (2, 40)):
            given = torch.randint(1, 30, (rows, length))
            (found,) = session.run(input_ids=given.numpy()).values()
            wanted = module(given).detach().numpy()
            assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def viewed(attended: Tensor) -> Tensor:
    """A view, which needs the heads beside their numbers in memory: torch's attention answers so."""
    turned = attended.reshape(attended.shape).transpose(1, 2)
    return turned.view(*turned.shape[:2], -1)


@pytest.mark.slow
def test_a_view_joins_the_heads_of_an_attention(tmp_path: Path) -> None:
    agrees(Attends(viewed), tmp_path)


def rotated(axis: int) -> Callable[[Tensor], Tensor]:
    """Rotary positions as products of complex numbers, whose axis of heads is made by `unsqueeze`."""

    def turn(hidden: Tensor) -> Tensor:
        angles = torch.arange(hidden.shape[1])[:, None] / 10.0 ** torch.arange(WIDTH // 2)
        turns = torch.polar(torch.ones_like(angles), angles)
        turns = turns.unsqueeze(1) if axis == 1 else turns.T.unsqueeze(-1).permute(1, 2, 0)
        pairs = torch.view_as_complex(hidden.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turns).flatten(-2)

    return turn


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "methods"), [(1, ()), (-1, ("attnlrp",))])
def test_rotations_of_complex_numbers(axis: int, methods: tuple[str, ...], tmp_path: Path) -> None:
    module = Attends(lambda attended: attended.transpose(1, 2).flatten(-2), rotated(axis))
    agrees(module, tmp_path, methods)


def test_what_has_no_form_for_complex_numbers_is_told_without_a_line_that_computes_with_others(tmp_path: Path) -> None:
    def turn(hidden: Tensor) -> Tensor:
        return hidden * torch.polar(torch.ones(WIDTH), torch.ones(WIDTH)).cumsum(0).real

    with pytest.raises(ExportError, match="got cumsum of complex numbers; write it with real numbers"):
        agrees(Attends(lambda attended: attended.transpose(1, 2).flatten(-2).cumsum(0), turn), tmp_path)
