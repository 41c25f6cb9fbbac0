"""What a service is told about each run of a graph.

In: a function `on_run` that the service gives to `edgexf.load`. Out: a `Run` for each run, in the thread of the run.
"""

from __future__ import annotations

from collections.abc import Callable

from edgexf.records import Record


class Run(Record):
    """One run of a graph.

    Attributes:
        method: ``predict``, or the explanation method of the graph.
        batch: the rows of the run; 0 if its inputs have none.
        length: the tokens of a row, padding included; 0 if a row has none.
        waiting_ms: milliseconds before the run: waiting for a free place, and opening the graph at its first run.
        running_ms: milliseconds inside ONNX Runtime.
        total_ms: milliseconds in all.
        provider: the provider that was asked for, by ONNX Runtime's name.
        error: the type and sentence of the error that ended the run; empty for an answer.
        finite: whether all numbers of the answer are finite.
    """

    method: str
    batch: int
    length: int
    waiting_ms: float
    running_ms: float
    total_ms: float
    provider: str
    error: str = ""
    finite: bool = True


OnRun = Callable[[Run], object]


def tell(on_run: OnRun, run: Run) -> None:
    """Calls `on_run`. An error in it is logged with its traceback: the answer of the run must not depend on it."""
    try:
        on_run(run)
    except Exception:
        import logging  # here, because few functions fail

        logging.getLogger("edgexf").exception("on_run raised an error about %s; the run's answer does not change.", run)
