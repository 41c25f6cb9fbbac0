"""Calls from coroutines: a call runs in a thread of a pool that the session owns.

In: a method of a session and its arguments. Out: its answer, awaited. `InferenceSession.run_async` was the alternative: it
covers one run of a graph, without checks, tokens and explanations, and it raises if the session has one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from edgexf.errors import ClosedError, TimedOut
from edgexf_runtimes.calls.call import LATE, check_limits, of_timeout
from edgexf_runtimes.calls.cancel import Cancel

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")


class Background:
    """The pool of a session. It starts its first thread with the first call."""

    def __init__(self, closed: bool = False) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = closed

    def _started(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # here, because most programs have no coroutines

        with self._lock:
            if self._closed:
                raise ClosedError("a session must be open to be used, got a closed one; open it with edgexf.load.")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(thread_name_prefix="edgexf call")
            return self._pool

    async def call(
        self, method: Callable[..., T], *given: Any, timeout: float | None, cancel: Cancel | None, **named: Any
    ) -> T:
        """Awaits ``method(*given, **named, timeout=..., cancel=...)``.

        `timeout` also covers the time until a thread is free. If the task that awaits is cancelled, so is the call.
        """
        import asyncio

        check_limits(timeout, cancel)
        end, token = None if timeout is None else time.monotonic() + timeout, Cancel()

        def work() -> T:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimedOut(LATE.format(timeout))
            return method(*given, **named, timeout=left, cancel=token)

        if cancel is not None:
            cancel.then(token.cancel)
        try:
            with of_timeout(timeout):
                async with asyncio.timeout(timeout):
                    return await asyncio.get_running_loop().run_in_executor(self._started(), work)
        except TimeoutError as error:
            raise TimedOut(LATE.format(timeout)) from error
        finally:
            token.cancel()  # ends the work if nobody waits for it any more
            if cancel is not None:
                cancel.forget(token.cancel)

    def close(self) -> None:
        """Ends the threads. The calls have ended already, or raise ClosedError."""
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            pool.shutdown()
