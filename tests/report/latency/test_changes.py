"""Comparisons of reports: verdicts by process, refusals of what can't be compared, and JUnit's form."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil
from xml.etree import ElementTree

import numpy as np
import pytest

from edgexf.errors import UsageError
from edgexf.report.html.latency.head import said_of_change
from edgexf.report.latency.changes import OF_TWO_LOOKS, compare, further, junit
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.inputs import Inputs
from edgexf.report.latency.measured.rows import Configuration, Measured
from edgexf.report.latency.measured.statistics import change
from edgexf.report.latency.report import LatencyReport

UNKNOWN = Fact(None, "not here")


def report(factor: float = 1.0, processes: int = 9, seed: int = 0, **changed: object) -> LatencyReport:
    """Of two lengths, in processes that differ by 0.5 %."""
    generator = np.random.default_rng(seed)
    rows = []
    for length in (128, 512):
        times = length / 50 * factor * np.exp(generator.normal(0, 0.005, processes))[:, None] * np.ones(5)
        of = Configuration("predict", "fp32", length, length + 1)
        rows.append(Measured(of, tuple(map(float, times.reshape(-1))), (5,) * processes, 2.0, 3, UNKNOWN, UNKNOWN))
    found = LatencyReport(
        model="linformer", digest="0" * 64, files={}, graph_files={}, options={}, date="", partial=False,
        protocol={"queries": 44.0, "processes": float(processes)}, device={"processor": Fact("one")}, before={}, after={}, inputs=Inputs("random"),
        rows=tuple(rows), starts=(),
    )  # fmt: skip
    return replace(found, **changed)  # type: ignore[arg-type]


def test_a_change_is_told_for_each_configuration() -> None:
    slower, faster, same = (compare(report(), report(factor, seed=1)) for factor in (1.05, 0.95, 1.0))
    assert [row.change.verdict for row in slower.rows] == ["slower"] * 2
    assert [row.change.verdict for row in faster.rows] == ["faster"] * 2
    assert [row.change.verdict for row in same.rows] == ["no difference"] * 2
    assert (slower.slower, faster.slower, same.slower) == (True, False, False)
    cells = dict(zip(slower.header, slower.rows[1].cells(), strict=True))
    assert (cells["configuration"], cells["processes"], cells["verdict"]) == ("predict fp32 512", "9, 9", "slower")
    assert float(cells["ratio"]) == pytest.approx(1.05, abs=0.01)


def noisy(sd: float, processes: int, seed: int) -> tuple[Measured, ...]:
    """Rows of one length, in processes that differ by a share of `sd`."""
    times = np.exp(np.random.default_rng(seed).normal(0, sd, processes))
    of = Configuration("predict", "fp32", 128, 129)
    return (Measured(of, tuple(map(float, times)), (1,) * processes, 2.0, 3, UNKNOWN, UNKNOWN),)


def test_a_second_look_takes_what_the_widest_comparison_needs_and_no_more_than_may_be() -> None:
    old, quiet, loud = noisy(0.01, 12, 0), noisy(0.01, 12, 1), noisy(0.06, 12, 2)
    of = change(old[0].medians, loud[0].medians, OF_TWO_LOOKS)
    assert change(old[0].medians, quiet[0].medians, OF_TWO_LOOKS).verdict == "no difference"
    assert of.needs is not None
    assert of.needs > 12
    assert further([old, quiet], 1000) == 0
    assert further([old, loud], 1000) == further([old, quiet, loud], 1000) == ceil(1.25 * of.needs) - 12
    assert further([old, loud], of.needs) == of.needs - 12
    assert further([old, loud], of.needs - 1) == 0
    assert further([old, ()], 1000) == 0


def test_the_confidence_of_both_looks_is_told_with_their_intervals() -> None:
    once, twice = (
        compare(report(), report(1.02, seed=1)),
        compare(report(), report(1.02, seed=1), confidence=OF_TWO_LOOKS),
    )
    assert (once.header[4], twice.header[4]) == ("interval of 99 %", "interval of 99.5 %")
    assert json.loads(twice.to_json())["confidence"] == pytest.approx(0.995)
    narrow, wide = once.rows[0].change, twice.rows[0].change
    assert wide.low < narrow.low  # type: ignore[operator]
    assert narrow.high < wide.high  # type: ignore[operator]


def test_reports_of_few_processes_tell_nothing() -> None:
    found = compare(report(processes=4), report(2.0, processes=4))
    assert {row.change.text() for row in found.rows} == {"can't tell; needs 5 processes"}
    assert not found.slower
    assert (said_of_change(found).word, said_of_change(found).good) == ("CAN'T TELL", None)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (report(device={"processor": Fact("another")}), "processor one and another"),
        (report(device={}), r"processor one and unknown \(not in the report\)"),
        (report(protocol={"queries": 20.0}), "queries 44.0 and 20.0"),
        (report(inputs=Inputs("golden")), "inputs random, the seed is the length and golden inputs of the bundle"),
    ],
)
def test_other_devices_and_protocols_are_refused_unless_forced(other: LatencyReport, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        compare(report(), other)
    assert len(compare(report(), other, force=True).forced) == 1


def test_an_interrupted_report_is_compared_and_named() -> None:
    assert compare(report(), report(partial=True)).forced == ("new was interrupted",)


def test_reports_without_a_common_configuration_are_refused() -> None:
    with pytest.raises(UsageError, match="a configuration in common, got predict fp32 128, predict fp32 512 and none"):
        compare(report(), report(rows=()))


def test_junit_fails_what_is_slower() -> None:
    text = junit([compare(report(), report(1.05, seed=1)), compare(report(), report(seed=1))])
    root = ElementTree.fromstring(text)  # noqa: S314 (written here)
    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [("2", "2"), ("2", "0")]
    assert [case.get("name") for case in root[0]] == ["predict fp32 128", "predict fp32 512"]
    assert all("verdict slower" in str(failure.get("message")) for failure in root.iter("failure"))


def test_what_only_one_report_has_is_told_and_what_vanished_fails() -> None:
    """A vanished configuration must not look like one that did not get slower."""
    old, new = report(), report(seed=1)
    found = compare(replace(old, rows=old.rows[:1]), new)
    assert (found.lacking, found.added, found.failed) == ((), (new.rows[1].of,), False)
    assert found.unpaired == ("only the new report has predict fp32 512",)
    found = compare(old, replace(new, rows=new.rows[:1]))
    assert (found.lacking, found.added, found.slower, found.failed) == ((old.rows[1].of,), (), False, True)
    assert found.unpaired == ("the new report lacks predict fp32 512",)
    assert [of["length"] for of in json.loads(found.to_json())["lacking"]] == [512]
    said = said_of_change(found)
    assert (said.word, said.good, said.reasons) == ("INCOMPLETE", False, found.unpaired)
    root = ElementTree.fromstring(junit([found]))  # noqa: S314 (written here)
    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [("2", "1")]
    assert [failure.get("message") for failure in root.iter("failure")] == list(found.unpaired)


def test_configurations_that_differ_in_what_their_name_leaves_out_are_told_apart() -> None:
    old, new = report(), report(seed=1)
    found = compare(old, replace(new, rows=(new.rows[0], replace(new.rows[1], of=replace(new.rows[1].of, threads=4)))))
    assert found.unpaired == (
        "the new report lacks predict fp32 512 (513 tokens, threads 1)",
        "only the new report has predict fp32 512 (513 tokens, threads 4)",
    )


def test_junit_is_xml_whatever_the_names_are() -> None:
    """XML can hold no control character and no lone surrogate (XML 1.0, 2.2)."""
    old = report(model="a\udcff\x01\uffff")
    old = replace(old, rows=tuple(replace(row, of=replace(row.of, graph="b\x00\ud800")) for row in old.rows))
    root = ElementTree.fromstring(junit([compare(old, replace(old, rows=old.rows[:1]))]).encode())  # noqa: S314 (written here)
    assert [suite.get("name") for suite in root] == [
        "a\\xFF\\x01U+FFFF (000000000000) to a\\xFF\\x01U+FFFF (000000000000)"
    ]
    assert [case.get("name") for case in root[0]] == ["b\\x00U+D800 fp32 128", "b\\x00U+D800 fp32 512"]
