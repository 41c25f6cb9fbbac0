"""Deadlines, cancelling, closing: each ends what is at work, and nothing else."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Exported
from small import random_ids

import edgexf
from edgexf.errors import BundleError, Cancelled, ClosedError, EdgexfError, TimedOut, UsageError
from edgexf_runtimes.calls.clock import FORGOTTEN, Clock
from edgexf_runtimes.calls.runs import Run
from edgexf_runtimes.session import Session

LONG = random_ids(64, 4096)  # seconds on any processor
SHORT = random_ids(1, 9)


@pytest.fixture(scope="module")
def session(linformer: Exported) -> Iterator[Session]:
    with edgexf.load(linformer.bundle.path) as opened:
        yield opened


def test_a_deadline_ends_the_run_between_two_nodes(session: Session) -> None:
    with pytest.raises(TimedOut, match=r"within its timeout of 0\.05 s, got no answer") as caught:
        session.run(input_ids=LONG, timeout=0.05)
    assert "terminate" in str(caught.value.__context__)  # ONNX Runtime's own reason: the run did not reach its end
    assert session.run(input_ids=SHORT, timeout=60)["logits"].shape == (1, 20)


def test_an_answer_that_comes_after_its_deadline_is_discarded(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single node runs to its end, although it was told to end."""
    wanted = session.run(input_ids=SHORT)
    found: list[object] = []
    inner = session.graphs.opened("predict").run

    def late(outputs: object, feeds: object, _: object) -> object:
        found.append(inner(outputs, feeds))
        ended.wait()
        return found[0]

    ended = threading.Event()
    monkeypatch.setattr(session.graphs.opened("predict"), "run", late)
    monkeypatch.setattr("edgexf_runtimes.calls.call.Call.end_late", lambda call: (call.end(TimedOut), ended.set()))
    with pytest.raises(TimedOut):
        session.run(input_ids=SHORT, timeout=0.05)
    assert np.array_equal(found[0][0], wanted["logits"])  # type: ignore[index]


def test_a_token_ends_a_call_of_many_runs(session: Session) -> None:
    token, steps = edgexf.Cancel(), []

    def watch(done: int, _: int) -> None:
        steps.append(done)
        token.cancel()

    with pytest.raises(Cancelled, match="got a cancel before it"):
        session.explain(b"x" * 999, method="occlusion", budget=900, progress=watch, cancel=token)
    assert len(steps) == 1
    with pytest.raises(Cancelled):
        session.run(input_ids=SHORT, cancel=token)
    assert session.run(input_ids=SHORT, cancel=edgexf.Cancel())["logits"].shape == (1, 20)


def test_the_session_cancels_what_is_in_flight_and_nothing_later(session: Session) -> None:
    with pytest.raises(Cancelled):
        session.explain(b"x" * 999, method="occlusion", progress=lambda *_: session.cancel())
    assert session.predict([b"x"], cancel=edgexf.Cancel())[0].label  # type: ignore[union-attr]


def test_a_cancelled_token_has_nothing_left_of_ended_calls(session: Session) -> None:
    token = edgexf.Cancel()
    for _ in range(3):
        session.run(input_ids=SHORT, cancel=token, timeout=60)
    assert token._then == []


def test_close_waits_for_the_calls_in_flight_and_refuses_later_ones(linformer: Exported) -> None:
    session = edgexf.load(linformer.bundle.path)
    begun, closing, found = threading.Event(), threading.Event(), []

    def watch(*_: int) -> None:
        begun.set()
        closing.wait()

    caller = threading.Thread(
        target=lambda: found.append(session.explain(b"x" * 99, method="occlusion", progress=watch))
    )
    caller.start()
    begun.wait()
    closer = threading.Thread(target=session.close)
    closer.start()
    while not session.graphs.calls.closed:
        pass
    with pytest.raises(ClosedError, match="got a closed one"):
        session.run(input_ids=SHORT)
    assert closer.is_alive()
    closing.set()
    caller.join()
    closer.join()
    assert found[0].settings["complete"]
    session.close()  # closing twice is no error


def test_a_session_is_not_closed_from_within_its_own_call(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path) as session, pytest.raises(UsageError, match="outside the session's calls"):
        session.explain(b"abc", method="occlusion", progress=lambda *_: session.close())


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 10**400, "1", True])
def test_a_timeout_that_is_none_is_refused(session: Session, timeout: object) -> None:
    calls: list[Callable[[], object]] = [
        lambda: session.run(input_ids=SHORT, timeout=timeout),  # type: ignore[arg-type]
        lambda: session.predict(["x"], timeout=timeout),  # type: ignore[arg-type]
        lambda: session.explain("x", timeout=timeout),  # type: ignore[arg-type]
        lambda: edgexf.load(session.path, timeout=timeout),  # type: ignore[arg-type]
        lambda: session.stream(["x"], timeout=timeout),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(UsageError, match="seconds above 0, got"):
            call()
    with pytest.raises(UsageError, match=r"must be an edgexf\.Cancel, got Event"):
        session.run(input_ids=SHORT, cancel=threading.Event())  # type: ignore[arg-type]


def test_opening_is_bounded_and_cancelled_like_a_call(linformer: Exported) -> None:
    token = edgexf.Cancel()
    token.cancel()
    with pytest.raises(Cancelled):
        edgexf.load(linformer.bundle.path, cancel=token)
    with pytest.raises(TimedOut):
        edgexf.load(linformer.bundle.path, timeout=1e-6)
    with pytest.raises(BundleError):
        edgexf.load(linformer.bundle.path / "none", timeout=60)


def test_inputs_may_be_called_as_the_arguments_are(session: Session) -> None:
    """A custom module may have an input called timeout; it is given by a mapping."""
    assert np.array_equal(session.run({"input_ids": SHORT})["logits"], session.run(input_ids=SHORT)["logits"])
    with pytest.raises(UsageError, match=r"among the model's \(input_ids, attention_mask\), got timeout"):
        session.run({"input_ids": SHORT, "timeout": SHORT})
    with pytest.raises(UsageError, match="by their names, got ndarray"):
        session.run(SHORT)  # type: ignore[arg-type]


def test_each_run_is_told(linformer: Exported) -> None:
    told: list[Run] = []
    with edgexf.load(linformer.bundle.path, on_run=told.append) as session:
        session.predict([b"abc", b"de"])
        session.run_explain(input_ids=SHORT)
        with pytest.raises(TimedOut):
            session.run(input_ids=LONG, timeout=0.05)
    predicted, explained, late = told
    assert (predicted.method, predicted.batch, predicted.length, predicted.error) == ("predict", 2, 4, "")
    assert (explained.method, explained.batch, explained.length) == ("attnlrp", 1, 9)
    assert explained.provider == "CPUExecutionProvider"
    assert late.error.startswith("TimedOut: ")
    for run in told:
        assert 0 < run.running_ms < run.total_ms
        assert run.waiting_ms + run.running_ms <= run.total_ms


def test_an_error_of_on_run_is_logged_and_the_answer_stays(
    linformer: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(run: Run) -> None:
        raise KeyError(run.method)

    with edgexf.load(linformer.bundle.path, on_run=broken) as session:
        assert session.run(input_ids=SHORT)["logits"].shape == (1, 20)
    (record,) = caplog.records
    assert record.name == "edgexf"
    assert "on_run raised" in record.message
    assert record.exc_info


def test_side_by_side_runs_wait_for_a_place(linformer: Exported) -> None:
    """In `throughput` no more runs than threads are at work; a call whose time is over while it waits says so."""
    with edgexf.load(linformer.bundle.path, profile="throughput", threads=1) as session:
        with session.graphs.calls.enter() as holder:
            session.graphs._take_place(holder, 1)
            found: list[object] = []

            def wait() -> None:
                with pytest.raises(TimedOut):
                    session.run(input_ids=SHORT, timeout=0.05)
                found.append("timed out")

            waiting = threading.Thread(target=wait)
            waiting.start()
            waiting.join()
            session.graphs._leave_place()
        assert found == ["timed out"]
        assert session.run(input_ids=SHORT)["logits"].shape == (1, 20)


def test_a_late_answer_is_discarded_wherever_the_time_went(linformer: Exported) -> None:
    late = threading.Event()

    def watch(_: Run) -> None:
        call = session.graphs.calls.current()
        assert call is not None
        if call.deadline is not None:
            late.wait(60)

    with edgexf.load(linformer.bundle.path, on_run=watch) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgexf_runtimes.calls.call.Call.end_late", lambda call: (call.end(TimedOut), late.set()))
        with pytest.raises(TimedOut):
            session.predict([b"abc"], timeout=0.05)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_reading_a_pipe_ends_with_its_call(session: Session, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimedOut):
        session.predict([tmp_path / "pipe"], timeout=0.05)
    token = edgexf.Cancel()
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(Cancelled):
        session.predict([tmp_path / "pipe"], cancel=token)


def test_an_ended_call_does_not_live_on_in_a_copied_context(linformer: Exported) -> None:
    """asyncio copies the context of the thread that schedules a task, such as that of `on_run`."""
    contexts: list[contextvars.Context] = []

    def watch(_: Run) -> None:
        contexts.append(contextvars.copy_context())

    session = edgexf.load(linformer.bundle.path, on_run=watch)
    session.run(input_ids=SHORT, timeout=0.5)
    assert contexts[0].run(session.graphs.calls.current) is None
    contexts[0].run(session.run, input_ids=SHORT)
    contexts[0].run(session.close)
    assert session.graphs.calls.closed


def test_a_call_that_could_not_begin_leaves_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no more threads: the next deadline must hold, and close must not wait."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("edgexf_runtimes.calls.call.CLOCK", Clock())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(EdgexfError, match="needs a thread that watches it"):
            session.run(input_ids=SHORT, timeout=60)
    assert session.graphs.calls.flying == set()
    assert session.graphs.calls.current() is None
    with pytest.raises(TimedOut):
        session.run(input_ids=LONG, timeout=0.05)


@pytest.mark.parametrize("wrong", [8, None, "attnlrp"])
def test_a_warm_up_is_of_lists(session: Session, wrong: object) -> None:
    with pytest.raises(UsageError, match="must be a list of"):
        session.warmup([64], wrong)  # type: ignore[arg-type]
    if wrong != "attnlrp":
        with pytest.raises(UsageError, match="must be a list of"):
            session.warmup(wrong)  # type: ignore[arg-type]


def test_the_clock_ends_what_is_due_and_forgets_the_rest() -> None:
    class Timed:
        def __init__(self) -> None:
            self.late = threading.Event()

        def end_late(self) -> None:
            self.late.set()

    clock, due, forgotten, far = Clock(), Timed(), Timed(), Timed()
    clock.at(float(1 << 62), far)  # years
    for _ in range(3 * FORGOTTEN):
        clock.forget(clock.at(1e9, forgotten))
    assert len(clock._due) <= FORGOTTEN + 2
    clock.at(0.0, due)
    assert due.late.wait(60)
    assert not forgotten.late.is_set()
    assert not far.late.is_set()
