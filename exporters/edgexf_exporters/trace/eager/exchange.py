"""Exchanges the code of functions of torch, in one thread and for a while.

    Exchange({torch.compiler.is_compiling: ours})  ->  inside ``with exchange.active():`` every holder of torch's function
                                                       runs `ours` in this thread

Models hold functions of torch under names of their own (``from torch.compiler import is_compiling``), and all these
names lead to one function object. So its code is exchanged, and another attribute of a module of torch would not reach
them. Two alternatives were weighed. Other functions in the globals of all modules miss a function in a default or in a
closure. A torch mode sees operators only, and no function that answers a flag or makes an error.

The code of a stand-in runs with the globals of torch, so a stand-in imports what it needs. It runs in all threads while
one of them exports: it asks `is_active` whether its own thread does, and else calls what `own` holds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

# Packages whose code knows torch.export and takes it into account.
FOREIGN = {"torch", "transformers", "edgexf", "edgexf_exporters", "edgexf_runtimes"}


def is_foreign(names: Mapping[str, Any]) -> bool:
    """Whether the globals of a function are those of a module in `FOREIGN`."""
    return str(names.get("__name__")).partition(".")[0] in FOREIGN


class Exchange:
    """The functions whose code is exchanged, and their stand-ins. A stand-in has no closure, nor has its function.

    Attributes:
        own: copies of the functions, which stay as they are, by name.
    """

    def __init__(self, stand_ins: Mapping[Any, Any]) -> None:
        self.codes = {function: (function.__code__, other.__code__) for function, other in stand_ins.items()}
        self.own: dict[str, Any] = {function.__name__: copied(function) for function in stand_ins}
        self.lock = threading.Lock()
        self.count = 0  # how many exports of all threads ask for the exchange
        self.thread = threading.local()  # `count`: the same for this thread

    def is_active(self) -> bool:
        """Whether this thread asks for the exchange."""
        return getattr(self.thread, "count", 0) > 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Exchanges the code for the duration, for this thread."""
        self.turn(1)
        try:
            yield
        finally:
            self.turn(-1)

    def turn(self, step: int) -> None:
        """Counts an export in or out. The first one exchanges the code of torch's functions, and the last one restores it."""
        with self.lock:
            self.thread.count = getattr(self.thread, "count", 0) + step
            self.count += step
            for function, codes in self.codes.items():
                function.__code__ = codes[self.count > 0]


def copied(function: Any) -> FunctionType:
    found = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    found.__kwdefaults__ = function.__kwdefaults__
    return found
