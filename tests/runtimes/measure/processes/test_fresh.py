"""Fresh processes: what they tell, what they may print, and how they fail."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import pytest

from edgexf.errors import EdgexfError
from edgexf_runtimes.measure.processes import fresh


def test_a_process_that_can_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(EdgexfError, match="a fresh process must start, got No such file or directory"):
        fresh.answer_of("print('hello')")


def test_a_process_that_tells_nothing_is_an_error() -> None:
    with pytest.raises(EdgexfError, match="exit code 0: it told nothing"):
        fresh.answer_of("print('hello')")


def test_what_a_library_prints_is_no_answer() -> None:
    program = "from edgexf_runtimes.measure.processes.fresh import tell; print('a provider loads'); tell({'a': 1}); print('{}')"
    assert fresh.answer_of(program) == {"a": 1}


def test_a_process_ends_when_nobody_listens_any_more() -> None:
    """It would run for ever."""
    program = "import os; from edgexf_runtimes.measure.processes.fresh import tell\ntell(os.getpid())\nwhile True: pass"
    with closing(fresh.answers_of(program)) as answers:
        pid = next(answers)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
