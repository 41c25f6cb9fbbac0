"""The conditions of a trace: each is read, with the line of the model that asks, or named in a sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf.errors import ExportError
from edgexf_exporters.trace.export import capture
from edgexf_exporters.trace.guards import Condition, Symbol, conditions

SHAPES = [("b", "n")]
SYMBOLS = {"s0": Symbol(0, 0), "s1": Symbol(0, 1)}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("torch.sym_float(s1) / 4 == 2.5", True),
        ("torch.sym_not(s0 == 6)", False),
        ("torch.sym_max(s0, s1) == 10", True),
        ("torch.sym_ite(s0 < 7, 1, 0) == 1", True),
        ("math.ceil(torch.sym_sqrt(s1)) == 4", True),
        ("math.trunc(0.5*torch.sym_float(s1)) == 5", True),
        ("max(1, s0, s1) == 10 and min(s0, s1) == 6", True),
        ("round(torch.sym_float(s0) / 4.0) == 2", True),  # 1.5, to the even number
        ("s0 // (s0 - 6) == 1", False),  # says nothing about this size
    ],
)
def test_a_condition_may_name_the_functions_of_torch(text: str, holds: bool) -> None:
    """For one size, and for many at once."""
    condition = Condition(text, SYMBOLS)
    assert bool(condition.holds(SHAPES, {"b": 6, "n": 10})) is holds
    rows = {"b": np.array([6, 5, 6]), "n": np.array([10, 23, 10])}
    many = condition.holds(SHAPES, rows)
    assert many.tolist() == [
        bool(condition.holds(SHAPES, {"b": int(b), "n": int(n)})) for b, n in zip(rows["b"], rows["n"], strict=True)
    ]


def test_a_condition_that_cannot_be_read_is_named_with_its_line() -> None:
    condition = Condition("later(s0) == 1", SYMBOLS, "at model.py:3 `if later(n):`")
    for sizes in ({"b": 6, "n": 10}, {"b": np.arange(3), "n": np.arange(3)}):
        with pytest.raises(
            ExportError, match=r"readable, got `later\(s0\) == 1` at model.py:3 `if later\(n\):` \(Name"
        ):
            condition.holds(SHAPES, sizes)


class Table(nn.Module):
    """Slices a table that no answer reads, as DeBERTa-v2 slices its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.arange(128))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * 2 + self.places[: inputs.shape[0]].sum() * 0


def failing(module: nn.Module, least: int, most: int) -> dict[str, list[int]]:
    program = capture(module, (torch.randn(97),), ({0: Dim.DYNAMIC},))
    lengths = np.arange(least, most + 1)
    found = {one.over([("n",)]): one.holds([("n",)], {"n": lengths}) for one in conditions(program)}
    return {text: lengths[~holds].tolist() for text, holds in found.items()}


def test_the_ends_of_a_trace_are_conditions_and_no_refusal() -> None:
    assert failing(Table(), 2, 140)["n <= 128"] == list(range(129, 141))


def test_a_size_of_1_is_outside_each_trace() -> None:
    assert failing(Table(), 1, 128)["n >= 2"] == [1]


class Asks(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        if values.shape[0] % 10 == 7:
            values = values * 2
        return values.reshape(-1, 1).view(values.shape[0])


def test_the_line_that_asks_is_known_and_whether_the_model_asks_itself() -> None:
    program = capture(Asks(), (torch.randn(97),), ({0: Dim.DYNAMIC},))
    own = [one for one in conditions(program) if one.branch]
    assert [one.over([("n",)]) for one in own] == ["(n % 10) == 7"]
    assert re.fullmatch(r"at test_guards\.py:\d+ `if values\.shape\[0\] % 10 == 7:`", own[0].place)


class Asserts(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        torch._check(values.shape[0] % 2 == 1)
        return values * 2


def test_what_a_module_asserts_about_sizes_is_a_condition() -> None:
    found = failing(Asserts(), 2, 9)
    assert [2, 4, 6, 8] in found.values()
