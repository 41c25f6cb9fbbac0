"""A stream answers in order, reads only so far ahead, and survives an input that can't be answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exported

import edgexf
from edgexf.errors import AnswerError, Cancelled, InputError, UsageError
from edgexf.report.prediction import Prediction
from edgexf_runtimes.session import Session

TEXTS = [b"a" * length for length in (300, 3, 40, 3, 250, 1, 41)]


@pytest.fixture(scope="module")
def session(linformer: Exported) -> Iterator[Session]:
    with edgexf.load(linformer.bundle.path) as opened:
        yield opened


def said(answers: object) -> list[tuple[str, str]]:
    return [(one.label, f"{one.score:.5f}") for one in answers]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_answers_come_in_the_order_of_the_inputs(session: Session, ahead: int) -> None:
    stream = session.stream(iter(TEXTS), ahead=ahead)
    assert said(stream) == said(session.predict(TEXTS))
    assert next(stream, None) is None


def test_no_input_is_read_before_its_turn(session: Session) -> None:
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(0)
            yield b"abc"

    stream = session.stream(endless(), ahead=4)
    assert read == []
    for _ in range(4):
        next(stream)
    assert len(read) == 4
    next(stream)
    assert len(read) == 8


def test_padding_is_reported(session: Session) -> None:
    stream = session.stream([b"a" * 99, b"a" * 9])
    assert stream.padding == 0
    list(stream)
    assert (stream.tokens, stream.positions) == (110, 200)  # each row begins with a class token
    assert stream.padding == 1 - 110 / 200
    alone = session.stream([b"a" * 99, b"a" * 9], ahead=1)
    list(alone)
    assert alone.padding == 0


def test_an_input_that_cannot_be_answered_ends_the_stream_at_its_place(session: Session, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    stream = session.stream([b"abc", missing, b"abc"])
    assert isinstance(next(stream), Prediction)
    with pytest.raises(InputError, match="missing"):
        next(stream)
    first, error, last = session.stream([b"abc", missing, b"abc"], on_error="return")
    assert isinstance(error, InputError)
    assert first == last or said([first]) == said([last])


def test_padding_is_that_of_the_batches_that_ran(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path, limits={"batch": 1}) as session:
        stream = session.stream(TEXTS)
        list(stream)
        assert stream.padding == 0


def test_an_answer_that_is_refused_stands_in_its_place(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN in one row of a batch costs no other input its answer."""
    wanted = said(session.predict(TEXTS))
    run = session.graphs._run

    def broken(call: Any, purpose: str, feeds: Any, times: Any = None) -> Any:
        outputs = run(call, purpose, feeds, times)
        outputs["logits"][feeds["attention_mask"].sum(1) == 1 + len(TEXTS[2])] = np.nan
        return outputs

    monkeypatch.setattr(session.graphs, "_run", broken)
    found = list(session.stream(TEXTS, on_error="return"))
    assert isinstance(found[2], AnswerError)
    assert [answer for place, answer in enumerate(wanted) if place != 2] == said(found[:2] + found[3:])


def test_predict_forms_batches_within_the_bytes_of_a_call(linformer: Exported, session: Session) -> None:
    with edgexf.load(linformer.bundle.path, limits={"bytes": 6400}) as bounded:
        assert said(bounded.predict([b"a" * 300] * 4)) == said(session.predict([b"a" * 300] * 4))


def test_a_token_ends_a_stream(session: Session) -> None:
    token = edgexf.Cancel()
    stream = session.stream(TEXTS, ahead=2, cancel=token)
    next(stream)
    token.cancel()
    next(stream)  # was answered together with the first
    with pytest.raises(Cancelled):
        next(stream)


@pytest.mark.parametrize(
    ("named", "word"),
    [({"ahead": 0}, "at least 1"), ({"ahead": 1.5}, "at least 1"), ({"ahead": True}, "at least 1"), ({"on_error": "skip"}, "raise, return")],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(session: Session, named: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        session.stream(TEXTS, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", ["a text", b"bytes", 5, None])
def test_a_stream_is_of_inputs(session: Session, inputs: object) -> None:
    with pytest.raises(UsageError, match="iterable of inputs"):
        session.stream(inputs)  # type: ignore[arg-type]
