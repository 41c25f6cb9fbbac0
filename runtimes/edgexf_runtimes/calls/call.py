"""One call of a session, and the calls of a session that are in flight.

In: a timeout and a token, or none. Out: a `Call`, which what runs below asks whether it may go on.

    with calls.enter(timeout, cancel) as call:      # raises ClosedError if the session is closed
        with call.stoppable(stop):                  # `stop` ends the work from another thread
            work()                                  # raises TimedOut or Cancelled, also where the work came to an end

What runs below finds the call of its thread in `OF_THREAD`. Two alternatives were weighed. An argument through every
function between `explain` and the graph, a dozen of them, most of which only hand it on: one that forgets it runs without
a deadline. A context variable: it costs more than the rest of a call, and asyncio copies it into other threads and tasks,
which are not in the call.

Beginning and ending a call takes no lock: a call is in `flying` before it looks at `closed`, while `close` sets `closed`
before it looks at `flying`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import TracebackType
from typing import Self

from edgexf.checks import is_seconds
from edgexf.errors import Cancelled, ClosedError, EdgexfError, TimedOut, UsageError, quoted
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.calls.clock import CLOCK, LONGEST_WAIT

OF_THREAD: dict[int, Call] = {}  # the innermost call that each thread is in, of any session, by the thread's number

LATE = "a call must end within its timeout of {:g} s, got no answer by then; give it more time, or a shorter input."


ASK_EVERY = 0.02  # seconds between two looks at a call that waits for something that can't be told to end


def check_limits(timeout: float | None, cancel: Cancel | None) -> None:
    """Raises UsageError for a timeout that is no number above 0, and for a token that is none."""
    if timeout is not None and not is_seconds(timeout):
        raise UsageError(f"timeout must be seconds above 0, got {quoted(timeout)}; leave it out for no limit.")
    if cancel is not None and not isinstance(cancel, Cancel):
        raise UsageError(
            f"cancel must be an edgexf.Cancel, got {type(cancel).__name__}; make one with edgexf.Cancel()."
        )


@contextmanager
def of_timeout(timeout: float | None) -> Iterator[None]:
    """Names the caller's timeout in TimedOut errors of the block, whose calls get what is left of it."""
    try:
        yield
    except TimedOut as error:
        if timeout is None:
            raise
        raise TimedOut(LATE.format(timeout)) from error


class Call:
    """One call. Made by `Calls.enter`; a context manager."""

    __slots__ = ("_calls", "_cancel", "_number", "_outer", "_stop", "_thread", "_timeout", "deadline", "ended")

    def __init__(self, calls: Calls, timeout: float | None, cancel: Cancel | None) -> None:
        self._calls = calls
        self._timeout = timeout
        self._cancel = cancel
        self._number = -1
        self._thread = 0  # that runs the call, as `get_ident` counts
        self._stop: Callable[[], None] | None = None
        self._outer: Call | None = None  # of another session, in the same thread
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.ended: type[EdgexfError] | None = None  # TimedOut or Cancelled, once the call must stop

    def __enter__(self) -> Self:
        calls = self._calls
        try:
            calls.flying.add(self)
            if calls.closed:
                raise ClosedError(
                    "a session must be open to be used, got a closed one; open it again with edgexf.load."
                )
            thread = get_ident()
            self._outer = OF_THREAD.get(thread)
            OF_THREAD[thread] = self
            self._thread = thread
            if self.deadline is not None:
                self._number = CLOCK.at(self.deadline, self)
            if self._cancel is not None:
                self._cancel.then(self.end_cancelled)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if kind is None and (self.ended is not None or self.deadline is not None):
            self.check()  # an answer that came in late is none

    def _leave(self) -> None:
        if self._cancel is not None:
            self._cancel.forget(self.end_cancelled)
        if self._number >= 0:
            CLOCK.forget(self._number)
        if self._outer is not None:
            OF_THREAD[self._thread] = self._outer
        elif self._thread:
            del OF_THREAD[self._thread]
        calls = self._calls
        calls.flying.discard(self)
        if calls.closed:
            calls.wake()

    def end_late(self) -> None:
        self.end(TimedOut)

    def end_cancelled(self) -> None:
        self.end(Cancelled)

    def end(self, reason: type[EdgexfError]) -> None:
        """Ends the call from any thread. The first reason counts."""
        self.ended = self.ended or reason
        stop = self._stop  # read after `ended` is set, while `stoppable` looks at `ended` after `_stop` is set
        if stop is not None:
            stop()
        self._calls.wake()

    def check(self) -> None:
        """Raises TimedOut or Cancelled if the call must not go on."""
        if self.ended is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.ended = TimedOut
        if self.ended is TimedOut:
            raise TimedOut(LATE.format(self._timeout))
        if self.ended is Cancelled:
            raise Cancelled("a call must reach its end to answer, got a cancel before it; call again for the answer.")

    def stoppable(self, stop: Callable[[], None]) -> Stoppable:
        """Lets `stop` end the work of the block. Raises as `check` does, also in place of an error of stopped work."""
        return Stoppable(self, stop)

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready`, which is asked under the lock of the session's calls. Raises as `check` does."""
        with self._calls.changed:
            while not ready():
                self.check()
                left = LONGEST_WAIT if self.deadline is None else self.deadline - time.monotonic()
                self._calls.changed.wait(min(max(left, 0), LONGEST_WAIT))
        self.check()


def go_on() -> None:
    """Raises TimedOut or Cancelled if the current call must not go on."""
    call = OF_THREAD.get(get_ident())
    if call is not None:
        call.check()


@contextmanager
def locked(lock: threading.Lock | threading.RLock) -> Iterator[None]:
    """Holds a lock. Raises TimedOut or Cancelled if the current call may wait for it no longer."""
    while not lock.acquire(timeout=ASK_EVERY):
        go_on()
    try:
        yield
    finally:
        lock.release()


class Stoppable:
    """The context of work that another thread can stop. A class, because a generator takes three times as long."""

    __slots__ = ("_call", "_work")

    def __init__(self, call: Call, stop: Callable[[], None]) -> None:
        self._call, self._work = call, stop

    def __enter__(self) -> None:
        call = self._call
        call._stop = self._work
        if call.ended is not None or call.deadline is not None:  # else `check` has nothing to raise
            try:
                call.check()
            except Exception:
                call._stop = None
                raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        call = self._call
        call._stop = None
        if (call.ended is not None or call.deadline is not None) and (kind is None or issubclass(kind, Exception)):
            call.check()


class Calls:
    """The calls of a session that are in flight.

    Attributes:
        changed: notified when a call of a closed session ends, when a graph was opened, and when a call must stop. Its lock
            is reentrant, since a signal handler may interrupt the thread that holds it.
        flying: the calls.
        closed: whether no further call may begin.
    """

    def __init__(self, closed: bool = False) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.flying: set[Call] = set()
        self.closed = closed

    def enter(self, timeout: float | None = None, cancel: Cancel | None = None) -> Call | Inner:
        """The context of a public method. A method that calls another one stays within its own limits.

        Raises UsageError for limits of a wrong kind; entering raises ClosedError if the session is closed.
        """
        if timeout is None and cancel is None:
            outer = OF_THREAD.get(get_ident())
            if outer is not None and outer._calls is self:
                return Inner(outer)
        else:
            check_limits(timeout, cancel)
        return Call(self, timeout, cancel)

    def current(self) -> Call | None:
        """The call of this session that this thread is in, or None outside of all."""
        outer = OF_THREAD.get(get_ident())
        return outer if outer is not None and outer._calls is self else None

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def cancel(self) -> None:
        """Ends the calls in flight, with `Cancelled`. Later calls run."""
        with self.changed:
            flying = list(self.flying)
        for call in flying:
            call.end(Cancelled)

    def close(self) -> None:
        """Lets no further call begin, and waits for those in flight."""
        if self.current() is not None:
            raise UsageError(
                "close must be called outside the session's calls, got one inside; call it when they have ended."
            )
        with self.changed:
            self.closed = True
            self.changed.wait_for(lambda: not self.flying)


class Inner:
    """The context of a method that another method of the same session calls."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call = call

    def __enter__(self) -> Call:
        return self.call

    def __exit__(self, *_: object) -> None:
        return None
