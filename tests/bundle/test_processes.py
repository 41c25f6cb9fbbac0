"""Whether a process runs, also on Windows, where `os.kill` would end it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

from edgexf.bundle.processes import NO_SUCH_PROCESS, QUERY_PROCESS, alive

DENIED = 5  # ERROR_ACCESS_DENIED of Windows


def test_this_process_runs_and_one_that_ended_does_not() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert alive(ended.pid)  # at the latest until somebody asks for its end
    ended.wait()
    assert (alive(os.getpid()), alive(ended.pid)) == (True, False)


class Kernel:
    """Opens the process 7 alone, and may not look at the process 8."""

    def __init__(self) -> None:
        self.closed: list[Any] = []
        self.OpenProcess = partial(self.opened)  # an object that takes attributes, as a function of ctypes does

    def opened(self, access: int, inherit: bool, process: int) -> int | None:
        assert (access, inherit) == (QUERY_PROCESS, False)
        return 70 if process == 7 else None

    def CloseHandle(self, handle: Any) -> None:  # noqa: N802 (the name in Windows)
        self.closed.append(handle.value)


@pytest.mark.parametrize(("process", "error", "runs"), [(7, 0, True), (8, DENIED, True), (9, NO_SUCH_PROCESS, False)])
def test_on_windows_no_signal_is_sent(monkeypatch: pytest.MonkeyPatch, process: int, error: int, runs: bool) -> None:
    kernel = Kernel()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "kill")
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    assert alive(process) is runs
    assert kernel.closed == [70] * (process == 7)
