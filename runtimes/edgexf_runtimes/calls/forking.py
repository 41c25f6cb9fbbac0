"""Fork: a child gets fresh sessions of its own, and never destroys those of its parent.

A forked child has none of the parent's threads. The destructor of an ONNX Runtime session joins the threads of the
session, so a child that destroys a session of its parent waits for ever (seen with 1.32). Therefore the child keeps
them: their reference counts never reach zero. Its own sessions open at their first use, like those of a new process.

A fork waits until no graph is being opened, because a lock of ONNX Runtime that another thread holds at that moment would
stay taken in the child. It does not wait for runs.
"""

from __future__ import annotations

import logging  # noqa: F401 (its own fork hook must be registered before ours: hooks run last one first)
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from edgexf_runtimes.calls.call import ASK_EVERY, OF_THREAD, Call
from edgexf_runtimes.calls.clock import CLOCK

OPENING = threading.RLock()  # held while a graph opens, and during a fork


class Forked(Protocol):
    """What must begin afresh in a forked child. `renew` returns the objects that the child must not destroy."""

    def renew(self) -> list[Any]: ...


LIVE: weakref.WeakSet[Forked] = weakref.WeakSet()


@contextmanager
def opening(call: Call) -> Iterator[None]:
    """The context in which a session of ONNX Runtime is made. Raises TimedOut or Cancelled if `call` may wait no longer."""
    while not OPENING.acquire(timeout=ASK_EVERY):
        call.check()
    try:
        yield
    finally:
        OPENING.release()


def keep_for_ever(value: Any) -> None:
    """Keeps the interpreter from destroying an object, also at its end."""
    import ctypes  # here, because only a forked child needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def in_child() -> None:
    OPENING.release()
    CLOCK.renew()
    for thread in OF_THREAD.keys() - {threading.get_ident()}:  # of the parent; a thread of the child may get its number
        del OF_THREAD[thread]
    for one in list(LIVE):
        for value in one.renew():
            keep_for_ever(value)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=OPENING.acquire, after_in_parent=OPENING.release, after_in_child=in_child)
