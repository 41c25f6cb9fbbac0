"""Matrices of devices: what a device is called, which cells stand where, and which marks and notes they have."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from latency_reports import latency_report, measured

from edgexf.errors import UsageError
from edgexf.report.latency.devices import device_names
from edgexf.report.latency.matrix import Cell, Matrix, compared, matrix
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.report import LatencyReport

OFF = Fact(None, "not told")


def on(processor: str | None, *rows: Any, model: str = "linformer", **changed: Any) -> LatencyReport:
    """A report of a device: its processor, and other facts by name."""
    facts = {name.replace("_", " "): Fact(changed.pop(name)) for name in ("system", "processors") if name in changed}
    device = {"processor": OFF if processor is None else Fact(processor), **facts}
    return latency_report(rows or (measured(),), model=model, device=device, starts=(), **changed)


def cell(found: Matrix, row: str, column: str) -> Cell:
    place = found.header.index(column) - 1
    (one,) = (one.cells[place] for one in found.rows if one.name == row)
    assert one is not None
    return one


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        ([on("AMD EPYC 7763 64-Core Processor"), on("Cortex-A76")], ["AMD EPYC 7763", "Cortex-A76"]),
        (
            [on("Intel(R) Xeon(R) CPU @ 2.20GHz"), on("Intel(R) Xeon(R) CPU @ 2.80GHz")],
            ["Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.80GHz"],
        ),
        ([on("A", processors="2"), on("A", processors="8")], ["A, 2 processors", "A, 8 processors"]),
        ([on("A", system="Linux"), on("A", system="Windows"), on("B")], ["A, Linux", "A, Windows", "B"]),
        ([on("A", system="long" * 9), on("A", system="gone" * 9)], ["A (1)", "A (2)"]),
        ([on(None, processors="2"), on("A")], ["unknown processor", "A"]),
        ([on("A", processors="2"), on("A")], ["A, 2 processors", "A, processors unknown"]),
        ([on("A"), on("B"), on("A")], ["A", "B", "A"]),
        ([on("CPU"), on("B")], ["CPU", "B"]),
    ],
)
def test_a_device_has_a_short_name_of_its_own(devices: list[LatencyReport], names: list[str]) -> None:
    assert device_names(devices) == names


def test_rows_are_models_and_lengths_and_columns_are_devices_and_dtypes() -> None:
    one = on(
        "A", measured(20.0, length=1024), measured(10.0), measured(5.0, dtype="q8"), measured(30.0, graph="attnlrp")
    )
    other = on("B", measured(40.0), measured(8.0, dtype="q4", threads=4))
    third = on("B", measured(16.0), model="longformer")
    found = matrix([one, other, third])
    assert found.header == ("model, graph, length", "A fp32", "A q8", "B fp32", "B q4")
    assert [row.name for row in found.rows] == [
        "linformer predict 512", "linformer predict 1,024", "linformer attnlrp 512", "longformer predict 512",
    ]  # fmt: skip
    assert [[one is not None for one in row.cells] for row in found.rows] == [
        [True, True, True, True], [True, False, False, False], [True, False, False, False], [False, False, True, False],
    ]  # fmt: skip
    assert (found.devices, found.labels) == (("A", "B"), ("A", "linformer, B", "longformer, B"))


def test_a_cell_has_the_median_its_interval_and_the_ratio_to_the_first_column() -> None:
    one, other = measured(20.0), measured(30.0, seed=1)
    found = cell(matrix([on("A", one), on("B", other), on("C", measured(10.0))]), "linformer predict 512", "B fp32")
    median = other.summary.percentile(0.5)
    assert (found.p50_ms, found.low_ms, found.high_ms, found.processes) == (median.ms, median.low, median.high, 5)
    assert found.ratio == pytest.approx(other.summary.median / one.summary.median)
    assert found.text() == f"{median.ms:.2f} x{found.ratio:.2f} ({median.low:.2f}-{median.high:.2f})"


def test_a_row_that_the_first_column_lacks_has_no_ratio() -> None:
    found = matrix([on("A", measured(length=64)), on("B", measured(length=512))])
    assert cell(found, "linformer predict 512", "B fp32").ratio is None
    assert found.cells()[1][1:] == ("-", cell(found, "linformer predict 512", "B fp32").text())


def test_the_fastest_is_marked_and_what_is_not_told_from_it() -> None:
    reports = [on(name, measured(ms, processes=9, seed=place)) for place, (name, ms) in enumerate([("A", 10.0), ("B", 20.0), ("C", 10.01)])]  # fmt: skip
    (row,) = matrix(reports).rows
    marks = [one.mark for one in row.cells if one is not None]
    assert sorted(marks) == ["", "*", "~"]
    assert marks[1] == ""


def test_few_processes_have_a_fastest_and_nothing_that_is_not_told_from_it() -> None:
    (row,) = matrix([on("A", measured(10.0, processes=2)), on("B", measured(10.01, processes=2))]).rows
    assert sorted(one.mark for one in row.cells if one is not None) == ["", "*"]


def test_what_else_differs_and_what_is_invalid_is_said() -> None:
    one, other = on("A"), on("B", measured(each=4), digest="1" * 64, protocol={"queries": 20.0, "seconds": 1.0})
    found = matrix([one, replace(other, partial=True)])
    assert found.notes == (
        "A and B were measured by different protocols: queries 44.0 and 20.0",
        "the bundles of linformer are not the same: 000000000000, 111111111111",
    )
    assert found.invalid == ("B: INVALID, the measurement was interrupted",)
    assert matrix([one, on("B")]).notes == ()


def test_two_bundles_of_one_name_on_one_device_are_two_rows() -> None:
    found = matrix([on("A", digest="1" * 64), on("A", digest="2" * 64), on("B", digest="2" * 64)])
    assert [row.model for row in found.rows] == ["linformer (111111111111)", "linformer (222222222222)"]
    assert found.labels == ("linformer, A (1)", "linformer, A (2)", "B")


def test_one_configuration_is_not_measured_twice_on_a_device() -> None:
    with pytest.raises(UsageError, match="got two of linformer predict fp32 512 on A; leave one out"):
        matrix([on("A"), on("A"), on("B")])


def test_columns_of_one_device_and_dtype_are_told_apart() -> None:
    found = matrix([on("A", measured(), measured(providers="cuda"), measured(dtype="q8")), on("B")])
    assert found.header[1:] == ("A fp32", "A fp32 providers cuda", "A q8", "B fp32")
    both = matrix([on("A", measured(threads=2), measured(threads=4)), on("B")])
    assert both.header[1:] == ("A fp32 threads 2", "A fp32 threads 4", "B fp32")


def test_unusual_batches_and_scenarios_are_in_the_name_of_a_row() -> None:
    found = matrix([on("A", measured(batch=4), measured(scenario="multi", clients=2)), on("B")])
    assert [row.name for row in found.rows] == [
        "linformer predict 512", "linformer predict 512 scenario multi clients 2", "linformer predict 512 batch 4",
    ]  # fmt: skip


def test_several_devices_are_a_matrix_only_where_it_is_asked_for() -> None:
    one, other = on("A"), on("B")
    with pytest.raises(UsageError, match=r"processor A and B.*--force, which shows several devices as a matrix"):
        compared([one, other])
    assert isinstance(compared([one, other], force=True), Matrix)
    forced = compared([one, replace(one, protocol={"queries": 20.0, "seconds": 1.0})], force=True)
    assert not isinstance(forced, Matrix)
    assert forced[0].forced == ("queries 44.0 and 20.0",)


def test_json_holds_the_matrix() -> None:
    found = matrix([on("A"), on("B", measured(length=64))])
    values = json.loads(found.to_json())
    assert values["columns"][1] == {"device": "B", "dtype": "fp32", "providers": "cpu", "profile": "balanced", "threads": 1}  # fmt: skip
    assert [[cell is None for cell in row["cells"]] for row in values["rows"]] == [[True, False], [False, True]]
    assert values["rows"][1]["cells"][0]["p50_ms"] == pytest.approx(measured().summary.median)
