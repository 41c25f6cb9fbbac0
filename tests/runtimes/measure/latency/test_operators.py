"""Where the time goes: from a profile that is written here, and from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import Exported
from small import DATA

from edgexf.bundle.operations import Operations, Part, Region
from edgexf.bundle.profile import GraphProfile
from edgexf.errors import EdgexfError
from edgexf.products import ROWS, Count
from edgexf.report.latency.measured.breakdown import Breakdown
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.measure.cases import Case, feeds, run
from edgexf_runtimes.measure.latency import operators
from edgexf_runtimes.measure.latency.operations import count
from edgexf_runtimes.measure.latency.operators import mean_of_runs, measured, middle, profile_of, runs_of, told
from edgexf_runtimes.measure.latency.rounds import repeated
from edgexf_runtimes.session import load

KEPT = DATA / "bundles" / "v1" / "linformer"


def event(
    name: str, ts: int, dur: int, operator: str = "", inputs: Sequence[Any] = (), outputs: Sequence[Any] = ()
) -> Any:
    args = {
        "op_name": operator,
        "provider": "CPUExecutionProvider",
        "input_type_shape": list(inputs),
        "output_type_shape": list(outputs),
    }
    return {"cat": "Node", "name": name, "ts": ts, "dur": dur, "args": args if operator else {}}


def run_at(start: int, slower: int = 0) -> list[Any]:
    """A run of 100 us and more, in the profiler's order: MatMul 30, a Loop of 40 with two calls of Add in it, Cast 10."""
    return [
        event("MatMul_0_kernel_time", start + 5, 30 + slower, "MatMul"),
        event("Add_1_kernel_time", start + 42 + slower, 10, "Add"),
        event("Add_1_kernel_time", start + 60 + slower, 12, "Add"),
        event("Loop_2_kernel_time", start + 40 + slower, 40, "Loop"),
        event("Cast_3/CastFusion/_kernel_time", start + 80 + slower, 10, "Cast"),
        event("SequentialExecutor::Execute", start + 2, 95 + slower),
        event("model_run", start, 100 + slower),
    ]


def test_nodes_inside_a_loop_count_once_and_all_sum_to_the_run() -> None:
    events = [event("session_initialization", 0, 900), *run_at(1_000), *run_at(2_000)]
    run_ms, nodes = mean_of_runs(runs_of(events), {"MatMul_0": "layers.0", "Loop_2": "layers.1", "Cast_3": ""})
    assert run_ms == pytest.approx(0.1)
    assert {node.name: (node.operator, node.calls, round(1e3 * node.ms)) for node in nodes} == {
        "MatMul_0": ("MatMul", 1, 30),
        "Loop_2": ("Loop", 1, 18),
        "Loop_2/Add_1": ("Add", 2, 22),
        "Cast_3/CastFusion/": ("Cast", 1, 10),
    }
    assert [node.module for node in nodes] == ["layers.0", "layers.1", "layers.1", ""]
    one = Breakdown("predict", "fp32", 8, 1, 2, run_ms, 1.0, 1.0, nodes, {}, ())
    assert one.operators[-1].ms == pytest.approx(0.020)
    assert sum(share.ms for share in one.operators) == pytest.approx(run_ms, rel=0.01)


def test_an_interrupted_run_does_not_count() -> None:
    events = [part for place in range(8) for part in run_at(1_000 * place, slower=500 if place == 3 else 0)]
    run_ms, nodes = mean_of_runs(runs_of(events), {"MatMul_0": "layers.0", "Cast_3": ""})
    assert run_ms == pytest.approx(0.1)
    assert next(node.ms for node in nodes if node.name == "MatMul_0") == pytest.approx(0.03)


def test_the_middle_half_of_times_has_as_many_below_as_above() -> None:
    assert middle([9.0, 1.0, 5.0, 4.0, 8.0]) == [3, 2, 4]
    assert middle([2.0]) == [0]


def test_a_profile_that_lost_the_nodes_of_a_run_is_refused() -> None:
    with pytest.raises(EdgexfError, match="must hold the nodes of each run, got a run without"):
        runs_of([*run_at(0), event("model_run", 500, 100)])
    with pytest.raises(EdgexfError, match="got a run without"):
        runs_of([])


FLOAT, BYTES = "float", "uint8"


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "operations"),
    [
        ("MatMul", [{FLOAT: [2, 3, 4]}, {FLOAT: [4, 5]}], [{FLOAT: [2, 3, 5]}], 2 * 2 * 3 * 4 * 5),
        ("MatMul", [{FLOAT: [3]}, {FLOAT: [3]}], [{FLOAT: []}], 2 * 3),
        ("Gemm", [{FLOAT: [3, 7]}, {FLOAT: [3, 5]}, {FLOAT: [5]}], [{FLOAT: [7, 5]}], 2 * 3 * 5 * 7),
        ("Conv", [{FLOAT: [1, 4, 9]}, {FLOAT: [6, 2, 3]}], [{FLOAT: [1, 6, 7]}], 2 * 6 * 7 * 2 * 3),
        ("ConvTranspose", [{FLOAT: [1, 6, 7]}, {FLOAT: [6, 2, 3]}], [{FLOAT: [1, 4, 9]}], 2 * 6 * 7 * 2 * 3),
        ("Attention", [{FLOAT: [1, 2, 5, 4]}, {FLOAT: [1, 2, 7, 4]}, {FLOAT: [1, 2, 7, 3]}], [{FLOAT: [1, 2, 5, 3]}], 2 * 2 * 5 * 7 * (4 + 3)),
        ("LSTM", [{FLOAT: [9, 2, 3]}, {FLOAT: [1, 16, 3]}, {FLOAT: [1, 16, 4]}], [{FLOAT: [9, 1, 2, 4]}], 2 * 9 * 2 * 16 * (3 + 4)),
        ("Einsum", [{FLOAT: [2, 3, 4]}, {FLOAT: [2, 4, 5]}], [{FLOAT: [2, 3, 5]}], 2 * 2 * 3 * 4 * 5),
        ("Add", [{FLOAT: [9]}, {FLOAT: [9]}], [{FLOAT: [9]}], None),
    ],
)  # fmt: skip
def test_the_operations_of_a_product_follow_from_its_shapes(
    operator: str, inputs: list[Any], outputs: list[Any], operations: int | None
) -> None:
    found = count([event("one_kernel_time", 0, 1, operator, inputs, outputs)], {"one": "bij,bjk->bik"}, ())
    assert found == Count({} if operations is None else {"float32": operations}, ())


def test_operations_are_counted_by_the_kind_of_number() -> None:
    shapes = [{BYTES: [1, 4]}, {"int8": [4, 5]}], [{"int32": [1, 5]}]
    floats = [{FLOAT: [1, 4]}, {FLOAT: [4, 5]}], [{FLOAT: [1, 5]}]
    events = [
        event("a_kernel_time", 0, 1, "MatMulInteger", *shapes),
        event("b_kernel_time", 1, 1, "MatMul", *floats),  # between dequantized bytes
        event("c_kernel_time", 2, 1, "MatMulNBits", *floats),
        event("d_kernel_time", 3, 1, "MatMul", *floats),
        event("e_kernel_time", 4, 1, "FusedConv", *floats),
    ]
    assert count(events, {}, {"b"}) == Count({"int8": 3 * 40, "float32": 40}, ("FusedConv",))


@pytest.mark.parametrize("equation", ["", "ij,jk,kl->il", "...ij,jk->...ik", "bij->bji"])
def test_an_equation_of_another_form_is_not_counted(equation: str) -> None:
    shapes = [{FLOAT: [2, 3, 4]}, {FLOAT: [2, 4, 5]}], [{FLOAT: [2, 3, 5]}]
    found = count([event("one_kernel_time", 0, 1, "Einsum", *shapes)], {"one": equation}, ())
    assert found == Count({}, ("Einsum",))


@pytest.fixture(scope="module")
def real() -> dict[tuple[str, int, int], Breakdown]:
    """Breakdowns of a kept bundle, by dtype, length and batch."""
    wanted = {"fp32": [(16, 1), (32, 1), (48, 1), (16, 2)], "q8": [(32, 1)]}
    return {
        (dtype, one.length, one.batch): one
        for dtype, places in wanted.items()
        for one in measured(
            KEPT,
            [Configuration("predict", dtype, length, length + 1, batch) for length, batch in places],
            {"dtype": dtype},
        )
    }


def test_a_real_profile_sums_to_its_run(real: dict[tuple[str, int, int], Breakdown]) -> None:
    for one in real.values():
        assert Breakdown.from_dict(one.to_dict()) == one  # nodes take at most the run
        assert sum(share.ms for share in one.operators) == pytest.approx(one.run_ms, rel=0.01)
        assert 0 < one.operators[-1].ms < one.run_ms
        assert [share.name for share in one.providers[:-1]] == ["cpu"]


def test_operations_grow_with_length_and_batch_and_not_with_the_dtype(
    real: dict[tuple[str, int, int], Breakdown],
) -> None:
    total = {place: sum(one.operations.values()) for place, one in real.items()}
    assert total["fp32", 16, 1] + total["fp32", 48, 1] == 2 * total["fp32", 32, 1]  # linear attention
    assert total["fp32", 16, 2] == 2 * total["fp32", 16, 1]
    assert total["q8", 32, 1] == total["fp32", 32, 1]


@pytest.mark.slow  # exports a model
@pytest.mark.parametrize("graph", ["predict", "attnlrp"])
def test_what_the_bundle_says_of_operations_is_what_a_profile_counts(exported: Exported, graph: str) -> None:
    """Exactly, at lengths on both sides of a block and batches that the formula was not made from.

    Of full attention in several slices it says nothing.
    """
    with load(exported.bundle.path, dtype="fp32") as session:
        known = profile_of(session, graph)
        for length, batch in ((62, 2), (63, 3), (64, 2), (300, 3)):
            case = Case(graph, length)
            inputs = repeated(feeds(session, case), batch)
            counted = operators.counted(session, graph, partial(run, session, case, inputs))
            sliced = exported.name == "transformer" and length > ROWS
            assert told(session, graph, known, inputs) == (None if sliced else counted)


def test_a_bundle_that_says_no_operations_is_counted(real: dict[tuple[str, int, int], Breakdown]) -> None:
    with load(KEPT, dtype="fp32") as session:
        assert profile_of(session, "predict").operations is None
    assert all(one.operations for one in real.values())


@pytest.mark.parametrize(
    ("kind", "length", "says"), [("float32", 8, True), ("float16", 8, False), ("float32", 9, False)]
)
def test_operations_of_kinds_and_sizes_that_a_bundle_does_not_know_are_not_told(
    kind: str, length: int, says: bool
) -> None:
    """A device without float16 multiplies in float32, which it sees only when it runs."""
    region = Region({"batch_size": (1, 4, 1), "sequence_length": (2, 8, 1)}, ("batch_size", "sequence_length"))
    known = GraphProfile({}, Operations((Part(region, {kind: ((5, 1, 2),)}),)))
    inputs = {"input_ids": np.zeros((3, length), np.int64)}
    with load(KEPT, dtype="fp32") as session:
        assert told(session, "predict", known, inputs) == (Count({kind: 5 * 3 * 64}, ()) if says else None)


def test_an_explain_graph_is_broken_down_in_a_fresh_process() -> None:
    (one,) = operators.breakdowns(KEPT, [Configuration("attnlrp", "fp32", 16, 17)], {"dtype": "fp32"})
    assert (one.graph, one.length, one.uncounted) == ("attnlrp", 16, ())
    assert one.operations["float32"] > 0
