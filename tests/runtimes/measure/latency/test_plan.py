"""What a measurement may be asked for, and what is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from edgexf.errors import UsageError
from edgexf_runtimes.measure.latency.plan import Plan

SERVER = {"scenario": "server", "bound_ms": 50.0}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"scenario": "burst"}, "scenario must be one of single, multi, server, offline, got 'burst'"),
        ({"scenario": "server"}, "a bound must be given for the scenario server"),
        ({"bound_ms": 5.0}, "for no other, got 5.0 for single"),
        ({**SERVER, "bound_ms": 0.0}, "a bound must be above 0 ms"),
        ({**SERVER, "bound_ms": float("nan")}, "a bound must be above 0 ms"),
        ({**SERVER, "percentile": 100.0}, "percentile must be 50 to 99.9"),
        ({**SERVER, "percentile": -1.0}, "percentile must be 50 to 99.9"),
        ({"queries": 0}, "queries must be 1 to 1,000,000, got 0"),
        ({"queries": -5}, "queries must be"),
        ({"processes": 10**9}, "processes must be 1 to 1,000"),
        ({"clients": 100_000}, "clients must be 1 to 256"),
        ({"batches": [1, 10**30]}, "batches must be 1 to 65,536"),
        ({"batches": []}, "batches must be 1 to 65,536, got none"),
        ({"seconds": float("nan")}, "seconds must be a number of at least 0"),
        ({"seconds": -1.0}, "seconds must be a number of at least 0"),
        ({"most_seconds": float("inf")}, "most_seconds must be a number of at least 0"),
        ({"seconds": 60.0}, "most_seconds must be at least seconds, got 30 and 60"),
    ],
)
def test_a_plan_out_of_range_is_refused(asked: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Plan(**asked)


def test_a_plan_travels_as_json() -> None:
    plan = Plan([8], [1, 2], ["gradient"], ["fp32"], **SERVER, percentile=90.0)
    assert Plan.from_json(plan.to_json()) == plan


def test_processes_share_the_queries_and_a_search_takes_one() -> None:
    share = Plan(queries=44, seconds=1.4, processes=7).of_a_process
    assert (share.queries, share.seconds) == (7, pytest.approx(0.2))
    search = Plan(**SERVER, queries=44)
    assert (search.rounds, search.of_a_trial.queries) == (1, 459)
    assert search.protocol["processes"] == 1
    assert "bound_ms" not in Plan().protocol
