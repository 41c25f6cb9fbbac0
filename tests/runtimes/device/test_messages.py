"""ONNX Runtime's messages in the logger `edgexf`."""

from __future__ import annotations

import logging

import onnxruntime as ort
import pytest
from small import DATA

import edgexf
from edgexf.errors import UsageError
from edgexf_runtimes.device.messages import receive, route

LINFORMER = DATA / "bundles" / "v1" / "linformer"


@pytest.mark.skipif(not hasattr(ort, "set_default_logger_callback"), reason="needs onnxruntime 1.32")
def test_messages_of_onnxruntime_become_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="edgexf")
    try:
        edgexf.load(LINFORMER, log_level="info").close()
    finally:
        ort.set_default_logger_callback(None)
        ort.set_default_logger_severity(2)
    assert any(record.levelno == logging.INFO and "session" in record.getMessage().lower() for record in caplog.records)


def test_an_older_onnxruntime_says_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ort, "set_default_logger_callback", raising=False)
    with pytest.raises(UsageError, match=r"log_level needs onnxruntime 1\.32 or later"):
        route("warning")


def test_an_unknown_level_is_refused() -> None:
    for level in ("loud", 3):
        with pytest.raises(UsageError, match="one of debug, info, warning, error, critical"):
            edgexf.load(LINFORMER, log_level=level)  # type: ignore[arg-type]


def test_a_message_keeps_its_level_and_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="edgexf")
    receive(3, "onnxruntime", "", "session.cc:12 Load", "failed")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "onnxruntime: failed (session.cc:12 Load)")
    ]
