"""Latency reports: what they keep, what they say of their samples, and what they refuse to read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgexf.errors import InputError, UsageError
from edgexf.report.latency.budget import outcomes, parse_budget
from edgexf.report.latency.measured.breakdown import Breakdown, Node
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Configuration, Measured, Started
from edgexf.report.latency.report import LatencyReport
from edgexf.report.latency.tables import LATENCY_HEADER, breakdown_tables, latency_cells
from edgexf.report.latency.validity import verdict

UNKNOWN = Fact(None, "not here")


BREAKDOWN = Breakdown(
    "predict", "fp32", 512, 1, 5, 11.0, 11.5, 10.0, (Node("one", "MatMul", "cpu", 1, 8.0),), {"float32": 10**9}, ()
)


def measured(median: float = 10.0, count: int = 100, seconds: float = 2.0, **of: Any) -> Measured:
    configuration = Configuration(**({"graph": "predict", "dtype": "fp32", "length": 512, "tokens": 513} | of))
    times = median * np.linspace(0.99, 1.01, count)
    times = tuple(map(float, np.random.default_rng(0).permutation(times)))
    return Measured(configuration, times, (count,), seconds, 3, Fact(0.25), Fact(64.0))


def report(*rows: Measured, **changed: Any) -> LatencyReport:
    found = LatencyReport(
        model="linformer",
        digest="0" * 64,
        files={"onnx/model.onnx": 1_000, "onnx/model.onnx_data": 3_000_000, "onnx/explain.onnx": 2_000},
        options={"predict fp32": {"intra_op_num_threads": "2"}},
        graph_files={
            "predict q8": (),
            "predict fp32": ("onnx/model.onnx", "onnx/model.onnx_data"),
            "attnlrp fp32": ("onnx/explain.onnx", "onnx/model.onnx_data"),
        },
        date="2026-01-01T00:00:00+00:00",
        partial=False,
        protocol={"queries": 44.0, "seconds": 1.0},
        device={"processor": Fact("a processor"), "governor": UNKNOWN},
        before={"mhz": Fact(3000.0)},
        after={"mhz": Fact(2990.0), "others": Fact(0.02)},
        rows=rows or (measured(),),
        starts=(Started("predict", "fp32", 512, {"process": 20.0, "import": 100.0, "first": 30.0, "second": 9.0}, {}),),
    )
    return replace(found, **changed)


def test_a_report_is_read_as_it_was_written() -> None:
    one = report(measured(), measured(batch=4, scenario="multi", clients=2, dtype="q8"))
    assert LatencyReport.from_json(one.to_json()) == one
    assert LatencyReport.from_json(one.to_json()).to_json() == one.to_json()


def test_a_report_shows_where_the_time_goes_beside_the_unprofiled_median() -> None:
    one = report(measured(median=10.0), breakdowns=(BREAKDOWN,), products={"float32": Fact(400.0)})
    assert LatencyReport.from_json(one.to_json()) == one
    ((title, header, rows),) = breakdown_tables(one)
    assert title.startswith("predict fp32: milliseconds of a profiled run")
    assert header == ["operator", "512"]
    assert rows[-1] == ["median / floor", "4.00"]
    assert title in one.to_markdown()


def test_csv_holds_every_sample() -> None:
    one = report(measured(count=3), measured(count=2, graph="attnlrp"))
    rows = list(csv.DictReader(io.StringIO(one.to_csv())))
    assert [float(row["ms"]) for row in rows] == [*one.rows[0].ms, *one.rows[1].ms]
    assert [(row["graph"], row["sample"]) for row in rows][-2:] == [("attnlrp", "0"), ("attnlrp", "1")]


def test_a_table_withholds_what_the_samples_do_not_say() -> None:
    cells = dict(zip(LATENCY_HEADER, latency_cells(measured(count=100)), strict=True))
    assert (cells["p50"], cells["p99"], cells["runs"]) == ("10.00", "need 459", "100")
    assert cells["tokens/s"] == "51,300"
    assert "unknown (not here)" in report().to_markdown()


def test_side_by_side_queries_count_tokens_over_the_whole_time() -> None:
    assert measured(scenario="multi", batch=2).tokens_per_second == 100 * 2 * 513 / 2.0


def test_each_process_has_a_median() -> None:
    one = replace(measured(), ms=(1.0, 9.0, 2.0, 5.0, 5.0, 8.0), processes=(3, 1, 2))
    assert one.medians == [2.0, 5.0, 6.5]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (lambda: report(), None),
        (lambda: report(measured(count=43)), "43 queries, need at least 44"),
        (lambda: report(measured(seconds=0.9)), "0.9 s, need at least 1"),
        (lambda: report(replace(measured(), unsettled=1)), "before its queries were steady, in 1 of 1 processes"),
        (lambda: report(partial=True), "interrupted"),
        (lambda: report(after={"mhz": Fact(2600.0), "others": Fact(0.02)}), "the clock fell from 3000 to 2600 MHz"),
        (lambda: report(after={"mhz": UNKNOWN, "others": Fact(0.3)}), "other processes took 30% of the processors"),
        (lambda: report(after={"mhz": UNKNOWN, "others": UNKNOWN}), None),
        (lambda: report(replace(measured(), ms=(*[10.0] * 95, *[30.0] * 5))), "the standard deviation is"),
        (lambda: report(replace(measured(), ms=tuple(np.linspace(10, 11, 100)))), "the last third took 1.07 times"),
        (lambda: report(replace(measured(scenario="server"), ms=tuple(np.linspace(10, 30, 100)))), None),
    ],
)
def test_a_measurement_is_valid_or_says_why_it_is_not(changed: Callable[[], LatencyReport], match: str | None) -> None:
    found = verdict(changed())
    assert found.valid == (match is None)
    assert found.text() == ("VALID" if match is None else "INVALID")
    if match is not None:
        assert any(match in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("budget", "value"),
    [
        ("p50<=10ms@512", 10.0),
        ("mean<=10ms@512", 10.0),
        ("memory<=64MiB@512", 64 * 2**20),
        ("energy<=250mJ@512", 0.25),
        ("size<=4MB", 3_001_000),
        ("attnlrp.size<=4MB", 3_002_000),
        ("cold<=1s", 150.0),
    ],
)
def test_a_budget_finds_its_figure(budget: str, value: float) -> None:
    (found,) = outcomes(report(measured(), measured(graph="attnlrp", length=64)), [parse_budget(budget)])
    assert found.value == pytest.approx(value)
    assert found.kept


def test_the_largest_of_several_rows_counts_and_a_lacking_one_keeps_no_budget() -> None:
    budget = [parse_budget("p90<=11ms@512")]
    (found,) = outcomes(report(measured(), measured(12.0, dtype="q8")), budget)
    assert (found.kept, found.value) == (False, pytest.approx(12.1, abs=0.1))
    (found,) = outcomes(report(measured(), measured(8.0, count=43, dtype="q8")), budget)
    assert (found.kept, found.value) == (False, None)
    assert "need at least 44 queries" in found.sentence()


def test_a_cold_start_is_that_of_the_shortest_input() -> None:
    """Starts of long inputs would make it longer, the more lengths are measured."""
    starts = (
        Started("predict", "fp32", length, {"first": time}, {}) for length, time in ((8, 10.0), (8, 12.0), (512, 90.0))
    )
    (found,) = outcomes(report(starts=tuple(starts)), [parse_budget("cold<=20ms")])
    assert (found.kept, found.value) == (True, 11)


@pytest.mark.parametrize("budget", ["p50<=10ms@64", "attnlrp.p50<=10ms@512"])
def test_a_budget_of_what_was_not_measured_is_an_error(budget: str) -> None:
    with pytest.raises(UsageError, match=r"must be of what was measured \(predict at 512\)"):
        outcomes(report(), [parse_budget(budget)])


def test_a_budget_of_a_rate_that_no_search_found_is_not_kept() -> None:
    rate = Rate("predict", "fp32", 512, 1, "server", 1, Fact(None, "queries one after another take 9 ms"), 5.0, 0.99)
    (found,) = outcomes(report(rates=(rate,)), [parse_budget("p50<=10ms@512")])
    assert (found.kept, found.value) == (True, pytest.approx(10.0))
    (found,) = outcomes(replace(report(), rows=(), rates=(rate,)), [parse_budget("p50<=10ms@512")])
    assert (found.kept, found.reason) == (False, "queries one after another take 9 ms")


def test_a_report_of_a_later_version_says_what_reads_it() -> None:
    with pytest.raises(InputError, match="schema version 3 for this edgexf, got 4; read it with the edgexf that wrote"):
        LatencyReport.from_json(broken(lambda values: values.update(schema_version=4)))


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    values = json.loads(report().to_json())
    change(values)
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        report().to_json()[:-40],
        "[" * 100_000,
        broken(lambda values: values.update(schema_version=2)),
        broken(lambda values: values.pop("date")),
        broken(lambda values: values.update(further=1)),
        broken(lambda values: values.update(partial=1)),
        broken(lambda values: values["rows"][0].update(ms=[])),
        broken(lambda values: values["rows"][0].update(ms=["1"])),
        broken(lambda values: values["rows"][0].update(processes=[99])),
        broken(lambda values: values["rows"][0].update(processes=[100, 0])),
        broken(lambda values: values["rows"][0].update(ms=[-1.0])),
        broken(lambda values: values["rows"][0].update(ms=[float("nan")])),
        broken(lambda values: values["rows"][0]["of"].update(length="512")),
        broken(lambda values: values["rows"][0].update(seconds=float("inf"))),
        broken(lambda values: values["rows"][0].update(joules={"value": None})),
        broken(lambda values: values["rows"][0].update(joules=3)),
        broken(lambda values: values["starts"][0].update(ms={"first": "x"})),
        broken(lambda values: values["graph_files"].update({"predict fp32": ["other"]})),
        broken(lambda values: values.update(breakdowns=[{**BREAKDOWN.to_dict(), "length": 64}])),
        broken(lambda values: values.update(breakdowns={})),
        broken(lambda values: values.update(products={"float32": 400.0})),
        broken(lambda values: values.update(products={"float32": {"value": 0.0}})),
        broken(lambda values: values.update(products={"float32": {"value": "fast"}})),
        broken(lambda values: values.update(products=[])),
        broken(lambda values: values.update(graph_files=[])),
        broken(lambda values: values.update(options={"predict fp32": {"intra_op_num_threads": 2}})),
        broken(lambda values: values["files"].update({"onnx/model.onnx": -1})),
        broken(lambda values: values["rows"][0].update(ms=[0.0] * 100)),
        broken(lambda values: values["rows"][0]["of"].update(tokens=0)),
        broken(lambda values: values["rows"][0]["of"].update(length=10**400)),
        broken(lambda values: values["rows"][0].update(peak_mib={"value": "64"})),
        broken(lambda values: values["rows"][0].update(joules={"value": -1.0})),
        broken(lambda values: values["rows"][0].update(unsettled=2)),
        broken(lambda values: values["before"].update(mhz={"value": "fast"})),
        broken(lambda values: values["after"].update(others={"value": [1]})),
        broken(lambda values: values.update(after=[])),
        report().to_json().replace('"seconds": 2.0', '"seconds": 1e999'),
        report().to_json().replace('"first": 30.0', '"first": 1e999'),
        report().to_json().replace('"queries": 44.0', '"queries": 1e999'),
        broken(lambda values: values.update(protocol={"queries": None})),
        broken(lambda values: values.update(protocol={"queries": 44})),
        broken(lambda values: values["rows"][0].update(seconds=0)),
        broken(lambda values: values["rows"][0].update(warm_up=-1)),
        broken(lambda values: values["rows"][0].update(joules={"value": "much"})),
        broken(lambda values: values["rows"][0].update(peak_mib={"value": True})),
        broken(lambda values: values["rows"][0].update(ms=[1.0] * 1001, processes=[1] * 1001)),
        broken(lambda values: values["rows"][0]["of"].update(batch=0)),
        broken(lambda values: values["rows"][0]["of"].update(graph=1)),
        broken(lambda values: values.update(rows=values["rows"] * 2)),
        broken(lambda values: values.update(graph_files={})),
        broken(lambda values: values["after"].update(others={"value": "0.5"})),
        broken(lambda values: values["before"].update(mhz={"value": [3000]})),
        broken(lambda values: values["starts"][0].update(ms={"first": -1})),
        broken(lambda values: values["starts"][0].update(length=0)),
        broken(lambda values: values.update(stopped="an error of a whole measurement")),
        broken(lambda values: values["starts"][0].update(length=10**400)),
        broken(lambda values: values["starts"][0].update(ms={"first": 1e308, "import": 1e308})),
        broken(lambda values: values["starts"][0].update(resident_mib={"first": 1e308})),
        broken(lambda values: values.update(breakdowns=[{**BREAKDOWN.to_dict(), "plain_ms": 5e-324}])),
        broken(lambda values: values.update(products={"float32": {"value": 5e-324}})),
        broken(lambda values: values["rows"][0].update(seconds=5e-324)),
        broken(lambda values: values["rows"][0].update(peak_mib={"value": 1e308})),
        broken(lambda values: values["rows"][0].update(joules={"value": 1e308})),
        broken(lambda values: values["files"].update({"onnx/model.onnx": 10**400})),
        report().to_json().replace('"a processor"', "1e999"),
    ],
)
def test_what_is_no_report_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="a latency report must be what `edgexf bench --json` wrote") as raised:
        LatencyReport.from_json(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(digest=["x" * 100_000]),
        lambda values: values.update(schema_version="x" * 100_000),
        lambda values: values.update({"x" * 100_000: 1}),
        lambda values: values["rows"][0].update(joules={"value": "x" * 100_000}),
    ],
)
def test_a_long_value_is_cut_in_the_error(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(InputError, match=r"x{100}") as raised:
        LatencyReport.from_json(broken(change))
    assert len(str(raised.value)) < 500


def test_names_that_utf8_cannot_write_are_made_visible_in_every_file() -> None:
    """The name of a file of inputs may hold bytes that are no characters."""
    named = report(measured(graph="a\udcff\x01"), model="b\udcff", graph_files={"a\udcff\x01 fp32": ()})
    again = LatencyReport.from_json(named.to_json())
    assert again == named
    assert "- model: b\\xFF\n" in again.to_markdown().encode().decode()
    assert "a\\xFF\\x01 fp32 512" in again.to_markdown()
    assert again.to_csv().encode().splitlines()[1].startswith(b"a\\xFF\\x01,fp32,512,")
