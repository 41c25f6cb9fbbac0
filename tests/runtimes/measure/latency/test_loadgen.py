"""MLPerf's LoadGen drives queries whose time is known, and a session."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgexf.errors import EdgexfError, MissingExtraError, UsageError
from edgexf.report.latency.measured.loadgen import LOADGEN_HEADER, Driven
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.measure.latency.loadgen import DETAIL, check, drive, read
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.scenarios import SystemClock

OF = Configuration("predict", "fp32", 64, 65, 2)
SHORT = Plan(queries=64, seconds=0.0, most_seconds=60.0)
LINES = [
    ("loadgen_version", '"6.0.17"'),
    ("effective_samples_per_query", "1"),
    ("result_query_count", "64"),
    ("result_qps_without_loadgen_overhead", "100"),
    ("result_50.00_percentile_latency_ns", "2000000"),
]


def query() -> None:
    clock = SystemClock()
    clock.until(clock.now() + 0.002)


def log(*further: tuple[str, str]) -> str:
    return "\n".join(
        f':::MLLOG {{"key": "{key}", "value": {value}, "metadata": {{"is_error": false}}}}'
        for key, value in [*LINES, *further]
    )


def test_loadgen_finds_a_known_time_and_writes_its_logs(tmp_path: Path) -> None:
    found = drive(OF, query, SHORT, tmp_path / "logs", None)
    assert found.valid
    assert found.queries == 64
    assert found.ms["50"] >= 2
    assert found.samples_per_second <= 2 / 0.002
    assert Driven.from_dict(found.to_dict()) == found
    assert "Result is : VALID" in (tmp_path / "logs/mlperf_log_summary.txt").read_text()
    assert read(OF, (tmp_path / "logs" / DETAIL).read_text()) == found


@pytest.mark.parametrize("clients", [1, 2])
def test_offline_queries_wait_from_the_beginning(tmp_path: Path, clients: int) -> None:
    of = replace(OF, scenario="offline", clients=clients)
    found = drive(of, query, replace(SHORT, scenario="offline"), tmp_path, None)
    assert found.ms == {}
    assert found.queries >= 64
    assert 0 < found.samples_per_second <= clients * 2 / 0.002


def test_a_rate_over_the_highest_is_not_valid(tmp_path: Path) -> None:
    """Queries of 2 ms that come each half a millisecond wait longer and longer."""
    plan = replace(SHORT, scenario="server", bound_ms=4.0, percentile=90.0)
    found = drive(replace(OF, scenario="server"), query, plan, tmp_path, 2000.0)
    assert not found.valid
    assert found.reasons[0] == "Reduce target QPS to improve latency."
    assert found.ms["50"] > 4


@pytest.mark.parametrize("clients", [1, 2])
def test_an_error_of_a_query_is_raised_after_the_test(tmp_path: Path, clients: int) -> None:
    left = iter(range(40))

    def fails() -> None:
        next(left, None)
        if next(left, None) is None:
            raise UsageError("expected")

    of = replace(OF, scenario="offline", clients=clients)
    with pytest.raises(UsageError, match="expected"):
        drive(of, fails, replace(SHORT, scenario="offline"), tmp_path, None)


def test_a_log_says_why_it_is_not_valid() -> None:
    assert read(OF, log(("result_validity", '"VALID"'))).ms == {"50": 2.0}
    why = (
        ("result_invalid_reason", '" * Issue more. "'),
        ("early_stopping_met", "false"),
        ("early_stopping_result", '" * Only 3."'),
    )
    assert read(OF, log(("result_validity", '"INVALID"'), *why)).reasons == ("Issue more.", "Only 3.")
    assert read(OF, log(("result_validity", '"INVALID"'))).reasons == ("it gives no reason",)
    with pytest.raises(EdgexfError, match="must end with a result"):
        read(OF, log())


def test_cells_stand_beside_ours() -> None:
    one = Driven(OF, 64, {"50": 2.0, "99": 3.0}, 1000.0, False, ("Issue more.",), "6")
    cells = dict(zip(LOADGEN_HEADER, one.cells([]), strict=True))
    assert (cells["p50"], cells["p90"], cells["p50 / ours"]) == ("2.00", "-", "-")
    assert cells["result"] == "INVALID: Issue more."


def test_what_loadgen_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(Plan(), tmp_path / "logs")
    assert (tmp_path / "logs").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"must have a folder, got .*file, which can't be made"):
        check(Plan(), tmp_path / "file")
    with pytest.raises(UsageError, match="scenario of LoadGen must be one of single, server, offline"):
        check(Plan(scenario="multi"), tmp_path)
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(MissingExtraError, match=r"edgexf\[loadgen\]"):
        check(Plan(), tmp_path)
