"""The contestant `compile`. In: an eager model. Out: the model that torch.compile makes for one shape, or why there is none.

Inductor builds C++ for the processor at hand, so it needs a compiler. It compiles at the first call, before any clock runs,
for the number of threads that torch has by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.contest.agreement import disagreement
from benchmarks.contest.foreign import quiet, reason
from torch import nn

# Reformer hashes by torch's random numbers; inductor would draw others.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}
Eager = Callable[[Callable[..., Any]], Any]


def compiled(module: nn.Module, call: Eager) -> tuple[Callable[[], Any] | None, str]:
    """A run of the compiled model, and why there is none.

    `call` gives a module the inputs of the case. No run is returned where compilation fails, and where the answer is not
    the eager model's.
    """
    torch.compiler.reset()  # what was compiled for an earlier case has another shape, and maybe other threads
    try:
        with quiet():
            fast = torch.compile(module, options=OPTIONS)
            answer = call(fast)
    except Exception as error:  # noqa: BLE001 (a missing compiler, and what inductor can't do, raise any class)
        return None, reason(error)
    wrong = disagreement(answer, call(module))
    return (None, wrong) if wrong else (lambda: call(fast), "")
