"""Each operator answers in a graph as in PyTorch, on hard values, or is refused in one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from operators import listed, rows
from operators.measure import Row, in_graph, measured, measured_together, together
from torch import Tensor

from edgexf.errors import ExportError
from edgexf_exporters.trace.operators import joined

TABLE = rows.table()


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.simplefilter("ignore")  # torch deprecates some of these operators


GROUPS = together({name: row for name, row in TABLE.items() if name not in listed.APART | listed.BY_KERNEL})


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{next(iter(group))} and {len(group) - 1} more")
def test_an_operator_answers_as_pytorch_does_on_hard_values(group: dict[str, Row]) -> None:
    found = measured_together(group)
    assert {name: errors for name, errors in found.items() if not errors.exact} == {}


@pytest.mark.parametrize("name", listed.APART)
def test_a_row_listed_as_different_still_differs(name: str) -> None:
    assert not measured(TABLE[name]).exact


@pytest.mark.parametrize("name", listed.BY_KERNEL)
def test_a_row_that_depends_on_the_processor_follows_the_formula(name: str) -> None:
    (found,), (given,) = in_graph(TABLE[name]), TABLE[name].inputs
    torch.testing.assert_close(found, TABLE[name].does(given.double()).float(), equal_nan=True)


@pytest.mark.parametrize("name", listed.REFUSED)
def test_an_operator_without_a_form_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(
        ExportError, match=r"^every operator of a model must have a form in ONNX, got [^;]*; [^;]*\.$"
    ) as raised:
        in_graph(Row(listed.REFUSED[name], (torch.eye(4),), free=False))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", listed.FIXES_A_SIZE)
def test_a_size_that_becomes_a_number_is_refused_by_the_line(name: str) -> None:
    says = rf"a size became the number 6, at listed\.py:\d+ .*{name}.*; write n \*\* 0.5, or torch.full"
    with pytest.raises(ExportError, match=says):
        in_graph(Row(listed.FIXES_A_SIZE[name], (torch.ones(6, 3),)))


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (lambda x: x / float(x.shape[0]), r"float.*; leave out float\(\)"),
        (lambda x: x * divmod(x.shape[0], 4)[0], r"divmod.*; write n // k and n % k"),
        (lambda x: sum(x.unbind(0)), r"unbind.*; compute with tensors over the whole axis"),
    ],
)
def test_what_takes_numbers_alone_is_refused_with_a_way_out(does: Callable[[Tensor], Any], says: str) -> None:
    with pytest.raises(ExportError, match=says):
        in_graph(Row(does, (torch.ones(6, 3),)))


def test_a_translation_that_fails_names_the_operator_and_the_line() -> None:
    with pytest.raises(
        ExportError, match=r"got bitwise_and \(TypeError: .*\) at test_operators\.py:\d+ `.*&.*; write it"
    ):
        in_graph(Row(lambda x: x * (torch.arange(x.shape[0]) & x.shape[0])[:, None], (torch.ones(6, 3),)))


def test_an_operator_in_two_tables_is_an_error() -> None:
    table = {torch.ops.aten.log1p.default: torch.log1p}
    with pytest.raises(ValueError, match=r"one function, got several for \['aten.log1p.default'\]"):
        joined(table, table)
