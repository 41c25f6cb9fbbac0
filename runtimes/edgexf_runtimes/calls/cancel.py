"""A token that ends calls from another thread or from a coroutine.

    token = edgexf.Cancel()
    session.explain(text, cancel=token)  # in one thread
    token.cancel()  # in another one: the call raises `edgexf.errors.Cancelled`

A signal handler runs in the main thread, where Python waits for the end of a run that the main thread is in. So a handler
ends the calls of other threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Cancel:
    """Ends the calls that it was given to, those in flight and those that begin later.

    A token may serve several calls. It is used once: a cancelled token stays so.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self._cancelled = False
        self._then: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"Cancel(cancelled={self._cancelled})"

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Ends the calls. Returns at once: a call ends when the node of the graph that it computes has ended."""
        with self._lock:
            self._cancelled, then, self._then = True, self._then, []
        for end in then:
            end()

    def then(self, end: Callable[[], None]) -> None:
        """Calls `end` when the token is cancelled; at once if it is."""
        with self._lock:
            if not self._cancelled:
                self._then.append(end)
                return
        end()

    def forget(self, end: Callable[[], None]) -> None:
        """Takes back `then`. A cancelled token has nothing to take back."""
        with self._lock:
            if end in self._then:
                self._then.remove(end)
