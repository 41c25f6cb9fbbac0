"""The floor: a product of matrices that ONNX Runtime computes right, and the rate of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from small import DATA

from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.device.profiles import Settings, profile_named
from edgexf_runtimes.measure.device import floor
from edgexf_runtimes.measure.latency.bench import measure
from edgexf_runtimes.measure.latency.operations import Count, count
from edgexf_runtimes.measure.latency.operators import kernels, runs_of
from edgexf_runtimes.measure.latency.plan import Plan

KEPT = DATA / "bundles" / "v1" / "linformer"


def product(kind: str, **settings: Any) -> Any:
    ((_, query),) = floor.products([kind], Settings(**settings))
    return query()


@pytest.mark.parametrize("kind", floor.KINDS)
def test_the_product_is_a_valid_graph_with_the_right_answer(kind: str) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(floor.product(floor.KINDS[kind])), full_check=True)
    given, weight = (
        floor.numbers(one).astype(np.float64) for one in (floor.KINDS[kind].given, floor.KINDS[kind].weight)
    )
    # A sum of 1,024 rounded products of numbers below 6 is within 1,024 * 36 * 2^-24 of the exact one (Higham 2002, eq. 3.3).
    np.testing.assert_allclose(product(kind)[0], given @ weight, rtol=0, atol=1024 * 36 * 2**-24)


@pytest.mark.parametrize("kind", floor.KINDS)
def test_the_operations_of_the_product_are_counted_as_those_of_a_graph(kind: str, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(floor.product(floor.KINDS[kind]), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": floor.numbers(floor.KINDS[kind].given)})
    (run,) = runs_of(json.loads(Path(session.end_profiling()).read_bytes()))
    assert count(kernels(run), {}, ()) == Count({kind: floor.OPERATIONS}, ())


def test_every_profile_of_a_session_multiplies() -> None:
    for name in ("edge", "throughput"):
        assert product("float32", threads=1, profile=profile_named(name))[0].shape == (floor.SIDE, floor.SIDE)


def test_a_rate_is_the_median_of_processes() -> None:
    found = floor.rates(["float32", "int8"], Fact(None, "why"), {"float32": [10.0, 1000.0, 5.0]})
    assert found["float32"].value == pytest.approx(2 * 1024**3 / 1e9 / 0.010)
    assert found["int8"] == Fact(None, "why")


def test_quantized_graphs_have_two_kinds_of_products() -> None:
    assert floor.kinds_for(["fp32"]) == ("float32",)
    assert floor.kinds_for(["fp32", "q8"]) == ("float32", "int8")


@pytest.mark.parametrize("operators", [True, False])
def test_a_report_says_where_the_time_goes_if_it_is_asked(operators: bool) -> None:
    plan = Plan(lengths=[16, 24], dtypes=["fp32"], queries=1, seconds=0.0, processes=1, operators=operators)
    report = measure(KEPT, plan)
    assert [row.of.graph for row in report.rows] == ["predict", "predict"]  # the product is no row
    assert [one.length for one in report.breakdowns] == ([16, 24] if operators else [])
    assert LatencyReport.from_json(report.to_json()) == report
    assert ("median / floor" in report.to_markdown()) == operators
    assert set(report.products) == ({"float32"} if operators else set())
    for one in report.breakdowns:
        assert one.floor_ms(report.products).value > 0
