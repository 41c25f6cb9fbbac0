"""The graphs of an open bundle: opens each when it is first needed, and runs it within its call.

In: a bundle's folder and manifest, and how graphs are opened. Out: the outputs of a run by name, each run told to
`on_run`. A process that only predicts never opens an explain graph.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.errors import EdgexfError, InputError
from edgexf_runtimes.calls.background import Background
from edgexf_runtimes.calls.call import Call, Calls
from edgexf_runtimes.calls.forking import LIVE
from edgexf_runtimes.calls.runs import OnRun, Run, tell
from edgexf_runtimes.device.memory import trim
from edgexf_runtimes.device.session_options import run_options
from edgexf_runtimes.finite import not_finite, refusal

Array = npt.NDArray[Any]
Opener = Callable[[Path, Call], ort.InferenceSession]

REFUSED = (Fail, InvalidArgument, RuntimeException)  # errors of a run: ids of a custom module may have an unknown range


class Graphs:
    """The graphs of one dtype of an open bundle. Several threads may use them.

    `opener` opens a graph. `provider` is the name under which it runs. `most` bounds the runs at a time; None for no bound.
    `refuses` says whether answers that are no finite numbers are refused.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, dtype: str, opener: Opener, provider: str,
        most: int | None = None, on_run: OnRun | None = None, refuses: bool = False,
    ) -> None:  # fmt: skip
        self.calls = Calls()
        self._folder, self._manifest, self._dtype = folder, manifest, dtype
        self._opener, self._provider = opener, provider
        self._most = most
        self._on_run = on_run
        self.refuses = refuses
        self._running = 0
        first = manifest.variants[0].inputs[0]
        self._tokens = (first.name, first.shape.index(names.SEQUENCE)) if names.SEQUENCE in first.shape else ("", 0)
        self.background = Background()
        self._open: dict[str, tuple[ort.InferenceSession, list[str]]] = {}
        self._opening: set[str] = set()
        self._dropped: weakref.WeakSet[ort.InferenceSession] = weakref.WeakSet()  # by `shrink`, some still at work
        LIVE.add(self)

    def opened(self, purpose: str, call: Call | None = None) -> ort.InferenceSession:
        """The session of a graph, ``predict`` or an explanation method. Opens it if it is not open, within `call`."""
        with self.calls.enter() as own:
            return (self._open.get(purpose) or self._create(purpose, call or own))[0]

    def _create(self, purpose: str, call: Call) -> tuple[ort.InferenceSession, list[str]]:
        graph = self._manifest.graph(purpose, self._dtype)
        with self.calls.changed:
            call.wait_for(lambda: purpose not in self._opening)
            if purpose in self._open:
                return self._open[purpose]
            self._opening.add(purpose)
        try:
            session = self._opener(self._folder / graph.file, call)
            opened = self._open[purpose] = session, [value.name for value in session.get_outputs()]
            return opened  # not looked up again: `shrink` may have dropped it
        finally:
            with self.calls.changed:
                self._opening.discard(purpose)
                self.calls.changed.notify_all()

    @contextmanager
    def replaced(self, purpose: str, session: ort.InferenceSession) -> Iterator[None]:
        """Runs a graph in another session of it within the block, such as one with a profiler."""
        with self.calls.enter() as call:
            before = self._open.get(purpose) or self._create(purpose, call)
        self._open[purpose] = session, [value.name for value in session.get_outputs()]
        try:
            yield
        finally:
            self._open[purpose] = before

    def run(self, purpose: str, feeds: Mapping[str, Array], call: Call | None = None) -> dict[str, Array]:
        """Runs a graph on checked inputs within `call`, or within a call of its own, and returns all of its outputs.

        Raises InputError if ONNX Runtime refuses the inputs, TimedOut or Cancelled if the call may go on no longer, and
        EdgexfError for an answer that is no finite number, if these are refused.
        """
        if call is None:
            with self.calls.enter() as own:
                return self.run(purpose, feeds, own)
        if self._on_run is not None:
            return self._told(call, purpose, feeds, self._on_run)
        found = self._run(call, purpose, feeds)
        odd = not_finite(found) if self.refuses else None
        if odd is not None:
            raise self._refusal(purpose, found, odd)
        return found

    def _refusal(self, purpose: str, found: Mapping[str, Array], odd: str) -> EdgexfError:
        declared = self._manifest.graph(purpose, self._dtype).outputs
        return refusal(odd, found[odd], declared, self._manifest.samples)

    def _told(self, call: Call, purpose: str, feeds: Mapping[str, Array], on_run: OnRun) -> dict[str, Array]:
        """`run`, and tells `on_run` of it."""
        times = [time.perf_counter()]  # of the start, and of the beginning and the end of the run where there was one
        odd, ended = None, ""
        try:
            found = self._run(call, purpose, feeds, times)
            odd = not_finite(found)
            if odd is not None and self.refuses:
                raise self._refusal(purpose, found, odd)
            return found
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"
            raise
        finally:
            tell(on_run, self._report(purpose, feeds, times, odd is None, ended))

    def _run(
        self, call: Call, purpose: str, feeds: Mapping[str, Array], times: list[float] | None = None
    ) -> dict[str, Array]:
        session, outputs = self._open.get(purpose) or self._create(purpose, call)
        options = run_options(self._length(feeds), self._provider)
        if self._most is not None:
            self._take_place(call, self._most)
        if times is not None:
            times.append(time.perf_counter())
        try:
            with call.stoppable(lambda: setattr(options, "terminate", True)):
                return dict(zip(outputs, session.run(outputs, feeds, options)))  # noqa: B905 (a value for each name)
        except EdgexfError:
            raise
        except REFUSED as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise InputError(
                f"inputs must be such that the graph can run, got others ({reason}); check the ids and sizes."
            ) from error
        except Exception as error:  # the binding raises its C++ status types, which share no base class
            raise EdgexfError(f"a graph must run on {self._provider}, got an error of it: {error}.") from error
        finally:
            if times is not None:
                times.append(time.perf_counter())
            if self._most is not None:
                self._leave_place()

    def _length(self, feeds: Mapping[str, Array]) -> int:
        """The tokens of a row; 0 where the first input has no axis of this name."""
        name, axis = self._tokens
        return np.shape(feeds[name])[axis] if name in feeds else 0

    def _take_place(self, call: Call, most: int) -> None:
        """Waits until fewer than the most runs are at work."""
        with self.calls.changed:
            call.wait_for(lambda: self._running < most)
            self._running += 1

    def _leave_place(self) -> None:
        with self.calls.changed:
            self._running -= 1
            self.calls.changed.notify_all()

    def _report(self, purpose: str, feeds: Mapping[str, Array], times: list[float], finite: bool, error: str) -> Run:
        now = time.perf_counter()
        start, began, ended = (*times, now, now)[:3]  # a call that ended before its run only waited
        batch, length = self._sizes(feeds)
        waiting, running, total = (1e3 * seconds for seconds in (began - start, ended - began, now - start))
        return Run(purpose, batch, length, waiting, running, total, self._provider, error, finite)

    def _sizes(self, feeds: Mapping[str, Array]) -> tuple[int, int]:
        """The rows and the tokens of a row of the first input, 0 where it has none."""
        first = self._manifest.variants[0].inputs[0]
        sizes = dict(zip(first.shape, np.shape(feeds[first.name]), strict=False)) if first.name in feeds else {}
        rows = names.BATCH if self._manifest.signature is None else self._manifest.signature.samples
        return sizes.get(rows, 0), sizes.get(names.SEQUENCE, 0)

    def shrink(self) -> None:
        """Releases the graphs that are open. A run in flight keeps its graph until it ends."""
        with self.calls.enter(), self.calls.changed:
            dropped, self._open = self._open, {}
            self._dropped.update(session for session, _ in dropped.values())
        dropped.clear()
        trim()

    def close(self) -> None:
        """Waits for the calls in flight and releases the graphs. Later calls raise ClosedError."""
        self.calls.close()
        self.background.close()
        self._open.clear()

    def renew(self) -> list[Any]:
        """Starts afresh in a forked child. Returns the sessions of the parent, which the child must not destroy."""
        kept: list[Any] = [*self._dropped, *(session for session, _ in self._open.values())]
        closed = self.calls.closed
        self.background = Background(closed)
        self.calls, self._open, self._opening, self._running = Calls(closed), {}, set(), 0
        return kept
