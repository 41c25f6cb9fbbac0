"""A time limit for a trace: torch.export can reason about sizes for hours.

In: the model of a trace. Out: a context that raises ExportError with the line of the model at which the time ran out.

    if height % window: pad    in each of 24 layers    ->  conditions that nest each other, seconds each, then minutes

The limit looks at the clock before each module of the model, and whenever torch notes something about a size. So it
stops a trace between two steps, in the thread of the trace, and never while torch restores a state of its own. One step
without an end is not stopped. The clock is the processor time of this thread, so that a busy machine changes nothing.

Three alternatives were weighed. A second thread can raise an exception at any instruction of the trace
(PyThreadState_SetAsyncExc), also while torch restores its state, and the next export in the process would fail. A
process of its own can be ended at any time, but it needs a copy of the model, and can't hand a traced program back.
A limit on the number of conditions knows no clock, but a deep model has many simple ones.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from edgexf.errors import ExportError
from edgexf_exporters.trace.diagnose import clause

SECONDS = 600  # an estimate: small models take seconds


class Deadline:
    """The time limit of one trace of `model`, from now on."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.end = time.thread_time() + SECONDS

    def check(self, *_: object) -> None:
        """Raises ExportError if the time is over."""
        if time.thread_time() <= self.end:
            return
        place = clause(list(traceback.walk_stack(sys._getframe()))[::-1], self.model)
        raise ExportError(
            f"a trace must end within {SECONDS} s of processor time, got none{f', {place}' if place else ''}: conditions "
            "on sizes grow with each layer; fix an axis with dynamic_shapes, or leave out branches on sizes."
        )

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Looks at the clock before each module, for the duration."""
        with ExitStack() as hooks:
            for part in self.model.modules():
                hooks.enter_context(part.register_forward_pre_hook(self.check))
            yield
