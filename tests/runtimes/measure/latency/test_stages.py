"""The stages of a whole answer: their times by a clock of the test, and that they answer as the session does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import DATA

import edgexf
from edgexf.errors import EdgexfError
from edgexf.report.latency.measured.rows import Configuration
from edgexf.report.latency.measured.stages import STAGES, WHOLE
from edgexf_runtimes.measure.cases import Case
from edgexf_runtimes.measure.latency import stages
from edgexf_runtimes.measure.latency.bench import measure
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.rounds import stages_in
from edgexf_runtimes.measure.latency.scenarios import Enough, SystemClock
from edgexf_runtimes.measure.latency.stages import Answer, Lap, explained, predicted, stages_of, timed
from edgexf_runtimes.measure.user_input import keep

BUNDLES = DATA / "bundles" / "v1"
ONCE = Enough(1, 0.0, 0.0)


class TestClock:
    """Time passes where the test says so."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds, self.did = 0.0, ""

    def now(self) -> float:
        return self.seconds

    def until(self, moment: float) -> None:
        raise AssertionError(f"nothing waits until {moment}")

    def spend(self, milliseconds: float, letter: str) -> None:
        self.seconds += milliseconds / 1e3
        self.did += letter


def test_each_stage_gets_its_own_time_and_whole_calls_take_turns_with_them() -> None:
    clock = TestClock()

    def stages_(lap: Lap) -> None:
        for place, stage in enumerate(STAGES):
            clock.spend(place + 1, "s" if place == 0 else "")
            lap(stage)

    found = timed(Answer(stages_, lambda: clock.spend(20, "w")), Enough(3, 0.0, 1e9), clock)
    assert {name: fact.value for name, fact in found.items()} == {
        **{stage: pytest.approx((place + 1.0,) * 3) for place, stage in enumerate(STAGES)},
        WHOLE: pytest.approx((20.0,) * 3),
    }
    assert clock.did == "w" + "sw" + "ws" + "sw"  # the first one opens the tokenizer


@pytest.mark.parametrize(
    ("name", "source"), [("linformer", b"#!/bin/sh"), ("features", "the cat sat on the mat"), ("tokens", "the cat")]
)
def test_the_stages_answer_as_the_session_does(name: str, source: Any) -> None:
    laps: list[str] = []
    with edgexf.load(BUNDLES / name, dtype="fp32") as session:
        (wanted,) = session.predict([source])
        answer = predicted(session, source, laps.append)
        assert without_ms(answer) == without_ms(wanted)
        position = 0 if name == "tokens" else None
        for method in session.manifest.methods:
            words = explained(session, method, source, position, laps.append)
            assert words == session.explain(source, method=method, position=position).words
        assert laps == [*STAGES] * (1 + len(session.manifest.methods))


def without_ms(answer: Any) -> dict[str, Any]:
    return {**answer.to_line(), "ms": 0}


@pytest.mark.parametrize(
    ("name", "graph", "reason"),
    [
        ("features", "predict", "random token ids come from no text; name one with --input"),
        ("features", "attnlrp", "random token ids come from no text; name one with --input"),
        ("answers", "attnlrp", "what is measured of this model are arrays"),
        ("choices", "predict", "what is measured of this model are arrays"),
        ("decoder", "predict", "what is measured of this model are arrays"),
        ("module", "attnlrp", "what is measured of this model are arrays"),
    ],
)
def test_what_has_no_text_has_a_reason_in_place_of_tokenization(name: str, graph: str, reason: str) -> None:
    with edgexf.load(BUNDLES / name, dtype="fp32") as session:
        found = stages_of(session, Case(graph, 8), ONCE, SystemClock())
    assert (found["tokenization"].value, found["tokenization"].reason) == (None, reason)
    assert found["decoding"].reason == "arrays are answered with arrays"
    assert all(len(found[stage].value) == 1 for stage in ("preparation", "run", "whole"))


@pytest.mark.parametrize("name", ["features", "tokens"])
def test_a_users_text_has_every_stage(name: str, tmp_path: Path) -> None:
    """That of a model that answers at each token too, whose first token is explained."""
    file = tmp_path / "given.txt"
    file.write_text("the cat sat on the mat and the dog saw")
    with edgexf.load(BUNDLES / name) as session:
        keep(session, file, [5, 30], tmp_path)
        for length in (5, 30):
            found = stages_of(session, Case("attnlrp", length, str(tmp_path)), ONCE, SystemClock())
            assert all(found[stage].value for stage in (*STAGES, WHOLE))


def test_what_the_session_refuses_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement goes on, also where an explanation would hold numbers that are not finite."""

    def refuses(*_: object) -> None:
        raise EdgexfError("scores must be finite numbers.")

    with edgexf.load(BUNDLES / "linformer", dtype="fp32") as session:
        monkeypatch.setattr(stages, "explained", refuses)
        found = stages_of(session, Case("gradient", 8), ONCE, SystemClock())
    assert {fact.reason for fact in found.values()} == {"scores must be finite numbers."}


def test_a_report_has_the_stages_of_each_length_from_every_process() -> None:
    plan = Plan([8, 16], dtypes=["fp32"], queries=4, seconds=0.0, processes=2)
    report = measure(BUNDLES / "linformer", plan)
    assert [one.place for one in report.stages] == [("predict", "fp32", 8, 1), ("predict", "fp32", 16, 1)]
    assert {one.processes for one in report.stages} == {(1, 1)}
    assert all(len(fact.value) == 2 for one in report.stages for fact in one.ms.values())


def test_stages_are_those_of_one_sample_alone_where_the_plan_asks_for_them() -> None:
    plan, of = Plan([8], dtypes=["fp32"], queries=1), Configuration("predict", "fp32", 8, 9)
    with edgexf.load(BUNDLES / "linformer", dtype="fp32") as session:
        assert set(stages_in(session, of, plan, SystemClock())) == {*STAGES, WHOLE}
        assert stages_in(session, of, replace(plan, stages=False), SystemClock()) == {}
        assert stages_in(session, replace(of, batch=2), plan, SystemClock()) == {}
        assert stages_in(session, replace(of, scenario="multi"), plan, SystemClock()) == {}
