"""The stages of a whole answer as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from latency_reports import latency_report, measured

from edgexf.errors import InputError
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.stages import SUM, UNCOVERED, WHOLE, Stages
from edgexf.report.latency.report import LatencyReport

TIMES = {"tokenization": 1.0, "preparation": 2.0, "run": 10.0, "decoding": 0.5, "whole": 14.0}


def stages(lacks: tuple[str, ...] = (), count: int = 8) -> Stages:
    """A sample of each process, which is slower than the last one by 1 %."""
    ms = {
        name: Fact(None, f"no {name} here")
        if name in lacks
        else Fact(tuple(time * 1.01**place for place in range(count)))
        for name, time in TIMES.items()
    }
    return Stages("predict", "fp32", 512, (1,) * count, ms)


def report(*some: Stages) -> LatencyReport:
    return latency_report([measured(10.0)], stages=some)


def test_the_sum_is_that_of_each_turn_and_what_it_leaves_out_is_told() -> None:
    found = stages(count=9).summaries
    middle = 1.01**4
    assert found[SUM].median == pytest.approx(13.5 * middle)
    assert found[WHOLE].median == pytest.approx(14 * middle)
    assert found[UNCOVERED].median == pytest.approx(0.5 * middle)
    low, high = found[UNCOVERED].low, found[UNCOVERED].high
    assert (low, high) == pytest.approx((0.5, 0.5 * 1.01**8))  # of 9 processes, the least and the most


def test_a_whole_call_that_was_faster_than_its_stages_leaves_less_than_nothing_out() -> None:
    ms = {name: Fact((1.0, 2.0, 3.0)) for name in TIMES}
    one = Stages("predict", "fp32", 512, (3,), ms)
    assert one.summaries[UNCOVERED].median == -6
    assert Stages.from_dict(one.to_dict()) == one


def test_a_stage_that_lacks_has_its_reason_and_is_left_out_of_the_sum() -> None:
    one = stages(lacks=("tokenization",))
    assert one.summaries["tokenization"] is None
    assert one.summaries[SUM].median == pytest.approx(12.5 * (1.01**3 + 1.01**4) / 2)
    text = report(one).to_markdown()
    assert "without tokenization: no tokenization here" in text
    assert "| predict fp32 512 | - | 2.07 [2, 2.1] |" in text


def test_without_a_whole_call_nothing_is_said_about_what_is_left_out() -> None:
    one = stages(lacks=("whole",))
    assert one.summaries[WHOLE] is one.summaries[UNCOVERED] is None
    assert stages(lacks=tuple(TIMES)).summaries == dict.fromkeys([*TIMES, SUM, UNCOVERED])


def test_few_samples_and_few_processes_have_a_median_and_no_interval() -> None:
    assert stages(count=2).cells()[1] == "1"
    assert stages(count=8).cells()[1].startswith("1.04 [")
    assert replace(stages(count=8), processes=(4, 4)).cells()[1] == "1.04"


@pytest.mark.parametrize("lacks", [(), ("tokenization", "decoding"), tuple(TIMES)])
def test_json_is_the_inverse(lacks: tuple[str, ...]) -> None:
    first = report(stages(lacks))
    assert LatencyReport.from_json(first.to_json()) == first
    assert report().to_dict()["stages"] == []
    earlier = {name: value for name, value in first.to_dict().items() if name not in ("stages", "inputs")}
    assert LatencyReport.from_json(json.dumps(earlier)).stages == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(length=0),
        lambda one: one.update(length=128),  # of no row
        lambda one: one.update(processes=[0, 8]),
        lambda one: one.update(processes=[4]),
        lambda one: one.update(further=1),
        lambda one: one["ms"].pop("whole"),
        lambda one: one["ms"].update(more={"value": [1.0] * 8}),
        lambda one: one["ms"].update(run={"value": [-1.0] * 8}),
        lambda one: one.update(processes=[1] * 1001, ms={name: {"value": [1.0] * 1001} for name in one["ms"]}),
        lambda one: one["ms"].update(run={"value": [1e308] * 8}),
        lambda one: one["ms"].update(run={"value": ["1"] * 8}),
        lambda one: one["ms"].update(run={"value": 3.0}),
        lambda one: one["ms"].update(run={"value": None}),
    ],
)
def test_other_json_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    values = report(stages()).to_dict()
    change(values["stages"][0])
    with pytest.raises(InputError, match="must be what `edgexf bench --json` wrote"):
        LatencyReport.from_json(json.dumps(values))
