"""Each operator answers in a graph as in PyTorch, on hard values, or is refused in one sentence."""

from __future__ import annotations

import warnings

import pytest
import torch
from operators import listed, rows
from operators.measure import Row, in_graph, measured, measured_together, together

from edgexf.errors import ExportError
from edgexf_exporters.trace.operators import joined

TABLE = rows.table()


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.simplefilter("ignore")  # torch deprecates some of these operators


GROUPS = together({name: row for name, row in TABLE.items() if name not in listed.APART})


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{next(iter(group))} and {len(group) - 1} more")
def test_an_operator_answers_as_pytorch_does_on_hard_values(group: dict[str, Row]) -> None:
    found = measured_together(group)
    assert {name: errors for name, errors in found.items() if not errors.exact} == {}


@pytest.mark.parametrize("name", listed.APART)
def test_a_row_listed_as_different_still_differs(name: str) -> None:
    assert not measured(TABLE[name]).exact


@pytest.mark.parametrize("name", listed.REFUSED)
def test_an_operator_without_a_form_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(
        ExportError, match=r"^every operator of a model must have a form in ONNX, got [^;]*; [^;]*\.$"
    ) as raised:
        in_graph(Row(listed.REFUSED[name], (torch.eye(4),), free=False))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", listed.FIXES_A_SIZE)
def test_a_size_that_becomes_a_number_is_refused_by_the_line(name: str) -> None:
    with pytest.raises(ExportError, match=rf"a size became the number 6, at listed\.py:\d+ .*{name}"):
        in_graph(Row(listed.FIXES_A_SIZE[name], (torch.ones(6, 3),)))


def test_an_operator_in_two_tables_is_an_error() -> None:
    table = {torch.ops.aten.log1p.default: torch.log1p}
    with pytest.raises(ValueError, match=r"one function, got several for \['aten.log1p.default'\]"):
        joined(table, table)
