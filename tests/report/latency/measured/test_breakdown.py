"""Breakdowns: what they add up to, what they say of the floor, and what they refuse to read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgexf.report.latency.measured.breakdown import BETWEEN, Breakdown, Node, breakdown_table, layer_of
from edgexf.report.latency.measured.facts import Fact

NODES = (
    Node("MatMul_1", "MatMul", "cpu", 1, 3.0, "bert.encoder.layer.0.attention.self.query"),
    Node("Add_2", "Add", "cpu", 1, 1.0, "bert.encoder.layer.0.output"),
    Node("MatMul_3", "MatMul", "cuda", 4, 2.0, ""),
    Node("Cast_4", "Cast", "cpu", 1, 0.001),
)
ONE = Breakdown("predict", "q8", 512, 1, 11, 8.0, 9.0, 8.5, NODES, {"float32": 10**9, "int8": 3 * 10**9}, ())
RATES = {"float32": Fact(100.0), "int8": Fact(600.0)}


def test_a_breakdown_is_read_as_it_was_written() -> None:
    assert Breakdown.from_dict(json.loads(json.dumps(ONE.to_dict()))) == ONE


@pytest.mark.parametrize("name", ["operators", "providers"])
def test_shares_and_the_row_between_kernels_sum_to_the_run(name: str) -> None:
    shares = getattr(ONE, name)
    assert sum(share.ms for share in shares) == pytest.approx(ONE.run_ms)
    assert sum(share.of_run for share in shares) == pytest.approx(1)
    assert sum(share.of_kernels for share in shares if share.of_kernels is not None) == pytest.approx(1)
    assert shares[-1].name == BETWEEN
    assert [share.ms for share in shares[:-1]] == sorted((share.ms for share in shares[:-1]), reverse=True)


def test_operators_and_providers_are_groups_of_nodes() -> None:
    assert [(share.name, share.nodes, share.ms) for share in ONE.operators[:2]] == [("MatMul", 2, 5.0), ("Add", 1, 1.0)]
    assert {share.name: share.nodes for share in ONE.providers} == {"cpu": 3, "cuda": 1, BETWEEN: 0}


def test_layers_and_attention_are_those_of_the_users_model() -> None:
    assert [(share.name, share.ms) for share in ONE.layers] == [
        ("bert.encoder.layer.0", 4.0),
        ("the model itself", 2.0),
        ("nodes of no known module", 0.001),
    ]
    assert ONE.attention is not None
    assert (ONE.attention.nodes, ONE.attention.of_run) == (1, pytest.approx(3 / 8))


def test_a_graph_whose_modules_nobody_knows_has_no_layers() -> None:
    one = replace(ONE, nodes=tuple(replace(node, module=None) for node in NODES))
    assert (one.layers, one.attention) == ([], None)
    _, rows = breakdown_table([one], [10.0], RATES)
    assert not any(row[0].startswith("in ") for row in rows)


@pytest.mark.parametrize(
    ("module", "layer"),
    [("layers.12.attention.0", "layers.12"), ("classifier", "classifier"), ("bert.embeddings.word", "bert.embeddings")],
)
def test_a_layer_is_a_path_up_to_its_first_number(module: str, layer: str) -> None:
    assert layer_of(module) == layer


def test_the_floor_is_the_operations_over_the_rate_of_their_kind() -> None:
    assert ONE.floor_ms(RATES).value == pytest.approx(10.0 + 5.0)


@pytest.mark.parametrize(
    ("one", "rates", "reason"),
    [
        (replace(ONE, uncounted=("Einsum",)), RATES, "the products of Einsum are not counted"),
        (ONE, {"float32": Fact(100.0)}, "no product of int8 was measured"),
        (ONE, {**RATES, "int8": Fact(None, "not here")}, "not here"),
    ],
)
def test_a_floor_that_nobody_knows_has_a_reason(one: Breakdown, rates: dict[str, Fact], reason: str) -> None:
    assert one.floor_ms(rates) == Fact(None, reason)


def test_a_table_has_a_column_for_each_length_and_marks_what_is_indicative() -> None:
    longer = replace(ONE, length=4096, run_ms=16.0, profiled_ms=12.0)
    header, rows = breakdown_table([ONE, longer], [30.0, 31.0], RATES)
    assert header == ["operator", "512", "4,096"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["in attention"] == ["3.000 (38%)", "3.000 (19%)"]
    assert cells["in bert.encoder.layer.0"] == ["4.000 (50%)", "4.000 (25%)"]
    assert cells["MatMul"] == ["5.000 (62%)", "5.000 (31%)"]
    assert cells["1 more"] == ["0.001 (0%)", "0.001 (0%)"]
    assert cells["on cuda"] == ["2.000 (25%), 1 nodes", "2.000 (12%), 1 nodes"]
    assert cells["slowdown by profiling"] == ["1.06", "1.41*"]
    assert cells["floor ms"] == ["15", "15"]
    assert cells["median / floor"] == ["2.00", "2.07"]


def test_an_operator_that_only_one_length_runs_has_a_dash_at_the_others() -> None:
    other = replace(ONE, length=8, nodes=NODES[:1])
    _, rows = breakdown_table([ONE, other], [30.0, 30.0], {})
    cells = {row[0]: row[1:] for row in rows}
    assert cells["Add"] == ["1.000 (12%)", "-"]
    assert cells["floor ms"] == cells["median / floor"] == ["-", "-"]


@pytest.mark.parametrize(
    "changed",
    [
        {"run_ms": 5.0},  # less than its nodes
        {"run_ms": 0.0},
        {"plain_ms": float("inf")},
        {"nodes": []},
        {"nodes": [{"name": "a", "operator": "Add", "provider": "cpu", "calls": 1, "ms": -1.0, "module": None}]},
        {"nodes": [{"name": "a", "operator": "Add", "provider": "cpu", "calls": 1, "ms": 1.0, "module": 3}]},
        {"nodes": [{"name": "a", "operator": "Add", "provider": "cpu", "calls": 1}]},
        {"operations": {"float32": 1.5}},
        {"operations": {"float32": -1}},
        {"uncounted": [1]},
        {"length": "512"},
        {"further": 1},
    ],
)
def test_what_is_no_breakdown_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|takes"):
        Breakdown.from_dict({**ONE.to_dict(), **changed})
