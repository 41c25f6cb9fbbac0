"""Finds errors of a trace that the model caught: the graph then holds a way that PyTorch never takes.

    try:
        scale = 2.0 if hidden.sum() > 0 else 1.0     # PyTorch reads the values
    except Exception:
        scale = 3.0                                  # the trace has no values, raises, and the graph holds this

In: a trace. Out: nothing, or ExportError with the line that raised. Tensors of a trace have no values. What reads them
raises an error of torch: a function of torch, such as ``Tensor.numpy``, or the arithmetic of sizes that stand for values.
A torch function mode sees the first kind, whatever the class of the error. The second kind is made by a single function of
torch, whose code is exchanged (`edgexf_exporters.trace.eager.exchange`). So is that of a size's hash, which no free size
has: ``{200: 2.0}.get(length, 1.0)``. einops catches this error, and goes on without its cache.

The first entry of an error's traceback is the frame that caught it. torch catches many of its own errors, and nothing is
wrong then. Code outside torch may also catch an error that PyTorch raises without a trace, such as that of a `view` which
strides forbid: the module then runs once on the example itself, and what raises there at the same line is no matter.

Two alternatives were weighed. A profiler sees every error (`sys.setprofile`), and all other calls of a trace, which would
take twice the time. Reading the source for `try` finds too much, and misses `contextlib.suppress`.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode

from edgexf.errors import ExportError
from edgexf_exporters.trace.diagnose import Frames, clause
from edgexf_exporters.trace.eager.exchange import Exchange

Line = tuple[str, int]


class Noted(TorchFunctionMode):
    """Remembers the errors that leave functions of torch while it is active, each with its stack: see `found`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[BaseException, Frames]] = []

    def __torch_function__(
        self, function: Any, _types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls the function. Remembers the error that it raises."""
        try:
            return function(*args, **(kwargs or {}))
        except Exception as error:
            self.note(error)
            raise

    def note(self, error: BaseException) -> None:
        """Remembers an error, once, with the stack at this moment: line numbers of a frame move on."""
        if all(error is not other for other, _ in self.found):
            self.found.append((error, list(traceback.walk_stack(sys._getframe()))[::-1]))


current = threading.local()  # `noted`: the `Noted` of the trace of this thread


@contextmanager
def noticed(model: nn.Module, example: tuple[Tensor, ...]) -> Iterator[None]:
    """Watches a trace of `model`. Raises ExportError where the trace succeeds, but the model caught an error of it."""
    before, noted = getattr(current, "noted", None), Noted()
    current.noted = noted
    try:
        with EXCHANGE.active(), noted:
            yield
    finally:
        current.noted = before
    caught = [(error, frames) for error, frames in noted.found if caught_outside(error)]
    usual = raised_by(model, example) if caught else set()
    for error, frames in caught:
        if line_of(frames) not in usual:
            place = clause(frames, model)
            raise ExportError(
                "a model must go the same way while it is traced, got an error of the trace "
                f"({type(error).__name__}) that the model catches{f', {place}' if place else ''}; "
                "compute without a branch on values there, such as with torch.where, or leave out the try."
            )


def caught_outside(error: BaseException) -> bool:
    """Whether code outside torch caught the error. An error that nothing raised has no traceback."""
    entry = error.__traceback__
    return entry is not None and not is_torch(entry.tb_frame)


def is_torch(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("torch", "edgexf_exporters")


def line_of(frames: Frames) -> Line:
    """The innermost line of code outside torch."""
    frame, line = next(((frame, line) for frame, line in reversed(frames) if not is_torch(frame)), frames[-1])
    return frame.f_code.co_filename, line


def raised_by(model: nn.Module, example: tuple[Tensor, ...]) -> set[Line]:
    """The lines at which functions of torch raise while the module runs on the example itself."""
    noted = Noted()
    # Where the model does not answer, it has no way that a graph could miss: what follows the trace says so.
    with torch.no_grad(), noted, suppress(Exception):
        model(*(one.clone() for one in example))
    return {line_of(frames) for _, frames in noted.found}


# The code of this method stands in for torch's.
def _make_data_dependent_error(self: Any, *args: Any, **kwargs: Any) -> Any:
    from edgexf_exporters.trace.eager import swallowed

    error = swallowed.EXCHANGE.own["_make_data_dependent_error"](self, *args, **kwargs)
    if swallowed.EXCHANGE.is_active():
        swallowed.current.noted.note(error)
    return error


# The code of this method stands in for torch's.
def __hash__(self: Any) -> int:  # noqa: N807 (the name of what it stands in for)
    from edgexf_exporters.trace.eager import swallowed

    try:
        found: int = swallowed.EXCHANGE.own["__hash__"](self)
    except TypeError as error:
        if swallowed.EXCHANGE.is_active() and swallowed.caller() not in swallowed.HASHING:
            swallowed.current.noted.note(error)
        raise
    return found


def caller() -> str:
    """The package whose code asks, from the frame that calls this function outwards."""
    frames = (frame for frame, _ in traceback.walk_stack(sys._getframe(1)) if not is_torch(frame))
    return str(next(frames).f_globals.get("__name__")).partition(".")[0]


EXCHANGE = Exchange({ShapeEnv._make_data_dependent_error: _make_data_dependent_error, torch.SymInt.__hash__: __hash__})
HASHING = ("einops",)  # packages that do the same without a hash
