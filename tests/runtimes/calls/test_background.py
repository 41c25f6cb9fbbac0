"""Calls from coroutines: the same answers, and no work for an answer that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import Exported
from small import random_ids

import edgexf
from edgexf.errors import Cancelled, ClosedError, TimedOut
from edgexf_runtimes.calls.background import Background
from edgexf_runtimes.calls.call import LATE
from edgexf_runtimes.session import Session

SHORT = random_ids(1, 9)
LONG = random_ids(64, 4096)


@pytest.fixture(scope="module")
def session(linformer: Exported) -> Iterator[Session]:
    with edgexf.load(linformer.bundle.path, threads=1) as opened:
        yield opened


def test_the_answers_are_those_of_plain_calls(session: Session) -> None:
    async def ask() -> None:
        outputs, explained, (predicted,), why = await asyncio.gather(
            session.run_async(input_ids=SHORT),
            session.run_explain_async({"input_ids": SHORT}, method="attnlrp"),
            session.predict_async([b"abc"]),
            session.explain_async(b"abc", "c", "occlusion", budget=50),
        )
        assert np.array_equal(outputs["logits"], session.run(input_ids=SHORT)["logits"])
        assert np.array_equal(explained["relevance"], session.run_explain(input_ids=SHORT)["relevance"])
        assert predicted.label == session.predict([b"abc"])[0].label  # type: ignore[union-attr]
        assert np.array_equal(why.scores, session.explain(b"abc", "c", "occlusion", budget=50).scores)

    asyncio.run(ask())


def test_a_cancelled_task_ends_its_call(session: Session) -> None:
    begun, errors = threading.Event(), []

    def watch(*_: int) -> None:
        begun.set()

    explain = session.explain

    def watched(*given: object, **named: object) -> object:
        try:
            return explain(*given, **named)  # type: ignore[arg-type]
        except Cancelled as error:
            errors.append(error)
            raise
        finally:
            ended.set()

    async def ask() -> None:
        task = asyncio.create_task(session.explain_async(b"x" * 3000, method="occlusion", progress=watch))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ended = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "explain", watched)
        asyncio.run(ask())
        ended.wait()
    assert len(errors) == 1


def test_a_timeout_covers_the_wait_for_a_thread(session: Session) -> None:
    async def ask() -> None:
        token = edgexf.Cancel()
        busy = [asyncio.create_task(session.run_async(input_ids=LONG, cancel=token)) for _ in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(TimedOut, match=r"timeout of 0\.05 s"):
            await session.run_async(input_ids=SHORT, timeout=0.05)
        token.cancel()
        for error in await asyncio.gather(*busy, return_exceptions=True):
            assert isinstance(error, Cancelled)

    asyncio.run(ask())


def test_an_error_names_the_timeout_that_the_caller_gave() -> None:
    """What is left of it is less, and is what the call in the thread gets."""
    left: list[float] = []

    def late(timeout: float, cancel: edgexf.Cancel) -> None:
        del cancel
        left.append(timeout)
        raise TimedOut(LATE.format(timeout))

    with pytest.raises(TimedOut, match=r"timeout of 30 s"):
        asyncio.run(Background().call(late, timeout=30, cancel=None))
    assert left[0] < 30


def test_a_closed_session_has_no_thread_left(linformer: Exported) -> None:
    before = set(threading.enumerate())

    async def ask() -> None:
        session = edgexf.load(linformer.bundle.path)
        await session.run_async(input_ids=SHORT)
        assert set(threading.enumerate()) - before
        session.close()
        with pytest.raises(ClosedError):
            await session.run_async(input_ids=SHORT)

    asyncio.run(ask())
    assert {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("edgexf call")} == set()
