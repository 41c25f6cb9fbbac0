"""Ends calls at their deadlines.

In: calls with deadlines. Out: `Call.end` of each that is still in flight at its deadline.

One thread serves the process. It starts with the first deadline and ends when none is left, where a deadline that nobody
waits for any more counts until its time: so that requests one after another don't start a thread each, as a
`threading.Timer` for each would.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Protocol

from edgexf.errors import EdgexfError

FORGOTTEN = 64  # deadlines that may wait for their time though nobody waits for them

LONGEST_WAIT = 3600.0  # seconds between two looks at a clock: a wait of years overflows


class Timed(Protocol):
    """What has a deadline, in seconds of `time.monotonic`."""

    def end_late(self) -> None: ...


class Clock:
    """Calls `end_late` of what it was given, at the time that was said."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Timed]] = []
        self._gone: set[int] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, deadline: float, timed: Timed) -> int:
        """Returns the number by which `forget` knows this deadline."""
        with self._changed:
            number = next(self._numbers)
            if self._thread is None:
                self._thread = self._started()
            heapq.heappush(self._due, (deadline, number, timed))
            if self._due[0][1] == number:
                self._changed.notify()
            return number

    def _started(self) -> threading.Thread:
        """A thread that waits for the lock that the caller holds."""
        thread = threading.Thread(target=self._work, name="edgexf deadlines", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            raise EdgexfError(
                f"a timeout needs a thread that watches it, got none ({error}); allow more threads, or leave the timeout out."
            ) from error
        return thread

    def forget(self, number: int) -> None:
        """Takes back `at`. Also if the deadline is over."""
        with self._changed:
            self._gone.add(number)
            if len(self._gone) > max(FORGOTTEN, len(self._due) // 2):
                self._due = [one for one in self._due if one[1] not in self._gone]
                heapq.heapify(self._due)
                self._gone.clear()
                self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._thread = None
                    return
                deadline, number, timed = self._due[0]
                left = deadline - time.monotonic()
                if left > 0:
                    self._changed.wait(min(left, LONGEST_WAIT))
                    continue
                heapq.heappop(self._due)
                late = number not in self._gone
                self._gone.discard(number)
            if late:
                timed.end_late()

    def renew(self) -> None:
        """Starts afresh in a forked child, which has none of the parent's threads."""
        self.__init__()  # type: ignore[misc]


CLOCK = Clock()
