"""Refuses a trace in which the model makes text of a size: the text of a trace is another one than that of PyTorch.

    if f"{ids.shape[1]}" == "200": ...      a trace compares "s27" with "200", and no condition says so

In: a trace. Out: nothing, or ExportError with the line that makes the text. Text that torch, transformers or logging makes
is no matter. A number of the example in the place of the text was weighed: it is right for a line that prints, and silently
wrong for one that compares. A trace cannot tell the two apart.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn

from edgexf.errors import ExportError
from edgexf_exporters.trace.diagnose import clause, is_own
from edgexf_exporters.trace.eager.exchange import Exchange, is_foreign

current = threading.local()  # `trace`: the `Texts` of this thread


class Texts:
    """What the code of a model does while it is traced.

    Attributes:
        model: the model.
        error: the error for the first text of a size; None before. A model may catch it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.error: ExportError | None = None

    def refuse(self, caller: FrameType) -> None:
        """Raises ExportError if the caller is code of the model."""
        if not is_own(caller) or is_foreign(caller.f_globals):
            return
        place = clause(list(traceback.walk_stack(caller))[::-1], self.model)
        self.error = self.error or ExportError(
            f"a graph must not depend on the text of a size, got such a text{f', {place}' if place else ''}; "
            "compare the size itself, and take out what prints it."
        )
        raise self.error


@contextmanager
def texts_refused(model: nn.Module) -> Iterator[None]:
    """Raises ExportError where the code of `model` makes text of a size, also where the model catches this error."""
    before = getattr(current, "trace", None)
    current.trace = Texts(model)
    try:
        with EXCHANGE.active():
            yield
        if current.trace.error is not None:
            raise current.trace.error
    finally:
        current.trace = before


# The code of this method stands in for torch's.
def __repr__(self: Any) -> str:  # noqa: N807 (the name of what it stands in for)
    import sys

    from edgexf_exporters.trace.eager import text_of_sizes

    if text_of_sizes.EXCHANGE.is_active():
        text_of_sizes.current.trace.refuse(sys._getframe(1))
    found: str = text_of_sizes.EXCHANGE.own["__repr__"](self)
    return found


EXCHANGE = Exchange({torch.SymInt.__repr__: __repr__})
