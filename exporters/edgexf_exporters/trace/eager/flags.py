"""Answers the flags of a trace as eager PyTorch does, to code that is neither torch's nor transformers'.

    if not torch.compiler.is_compiling(): hidden = self.careful(hidden)    ->  the trace holds the way that PyTorch takes

`torch.compiler.is_compiling` and `is_exporting` are True while torch.export runs, and their aliases ask them. So is what
transformers asks about a tensor (`is_tracing(hidden)`). The older flags of torch.jit, torch.onnx and dynamo are False
anyway. Within torch and transformers the flags stay True: this code knows torch.export (nn.TransformerEncoder with a
padding mask reads values elsewhere). So an answer depends on the code that asks, whichever name it holds the function
under: the code of the function is exchanged, and looks at its caller.

Two alternatives were weighed. Clearing the flags for the duration reaches all names too, but also torch and transformers.
Other functions in the globals of the user's files miss a function that another file holds, in a default or in a closure.

Code may ask a flag because its eager way can't be traced. `Answers.as_torch` then gives the answers of torch.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.fx import _symbolic_trace

from edgexf_exporters.trace.diagnose import clause
from edgexf_exporters.trace.eager.exchange import Exchange, is_foreign

MOST_NAMED = 3  # lines in a sentence
# Files whose functions ask for others: the code that called them is the one to look at.
ASKING = {"torch._utils", "torch._dynamo.external_utils", "transformers.utils.import_utils"}


class Answers:
    """How flags are answered while `model` is traced.

    Attributes:
        asked: where code outside torch and transformers asked a flag that torch would have answered with True: a clause
            for each line.
        as_torch: this code gets torch's answer.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.asked: dict[tuple[CodeType, int], str] = {}
        self.as_torch = False

    @property
    def places(self) -> str:
        """The clauses of `asked` in words, the first of them."""
        found = [place or "at a line outside the model" for place in self.asked.values()]
        more = f", and at {len(found) - MOST_NAMED} more lines" if len(found) > MOST_NAMED else ""
        return ", and ".join(found[:MOST_NAMED]) + more

    def answer(self, caller: FrameType) -> bool:
        """The answer to a caller, where torch would answer True."""
        asking: FrameType | None = caller
        while asking is not None and asking.f_globals.get("__name__") in ASKING:
            asking = asking.f_back
        if asking is None or is_foreign(asking.f_globals):
            return True
        line = asking.f_code, asking.f_lineno
        if line not in self.asked:
            self.asked[line] = clause(list(traceback.walk_stack(asking))[::-1], self.model)
        return self.as_torch


current = threading.local()  # `answers`: the `Answers` of the trace of this thread


@contextmanager
def answered(model: nn.Module) -> Iterator[Answers]:
    """Answers flags by the yielded `Answers` in this thread, for the duration."""
    before, current.answers = getattr(current, "answers", None), Answers(model)
    try:
        with EXCHANGE.active(), of_transformers().active():
            yield current.answers
    finally:
        current.answers = before


def told(exchange: Exchange, name: str, *given: Any) -> bool:
    """What a stand-in answers to the code that called it."""
    truth: bool = exchange.own[name](*given)
    return current.answers.answer(sys._getframe(2)) if truth and exchange.is_active() else truth


# The code of these stands in for torch's.
def is_compiling() -> bool:
    from edgexf_exporters.trace.eager import flags

    return flags.told(flags.EXCHANGE, "is_compiling")


def is_exporting() -> bool:
    from edgexf_exporters.trace.eager import flags

    return flags.told(flags.EXCHANGE, "is_exporting")


def is_fx_tracing() -> bool:
    from edgexf_exporters.trace.eager import flags

    return flags.told(flags.EXCHANGE, "is_fx_tracing")


def is_fake_tensor(x: Any) -> bool:
    from edgexf_exporters.trace.eager import flags

    return flags.told(flags.of_transformers(), "is_fake_tensor", x)


EXCHANGE = Exchange(
    {
        torch.compiler.is_compiling: is_compiling,
        torch.compiler.is_exporting: is_exporting,
        _symbolic_trace.is_fx_tracing: is_fx_tracing,
    }
)


def of_transformers() -> Exchange:
    """The exchange of what transformers asks about a tensor; of nothing where no code has loaded transformers."""
    return made() if "transformers" in sys.modules else Exchange({})


@cache
def made() -> Exchange:
    from transformers.utils import import_utils

    return Exchange({import_utils.is_fake_tensor: is_fake_tensor})
