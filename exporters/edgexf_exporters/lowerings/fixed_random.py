"""Fixes the random numbers and the attributes of a library for the duration of a call.

In: the numbers to draw, or attributes and their temporary values. Out: contexts in which the library's code runs
unchanged, with these numbers and these attributes. The random generator of the process is not touched.

    before  torch.randn(shape)      other numbers in each call
    after   numbers that were drawn once from a fixed seed, for the graph and for the model that it is compared with
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SEED = 0  # for a model that sets no seed; the bundle records it
Draw = Callable[[tuple[int, ...]], Tensor]
Change = tuple[Any, str, Any]  # holder, name, value


class Drawn(TorchFunctionMode):
    """Inside this mode, `torch.randn` returns the tensor that `draw` makes for the shape."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.draw = draw

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if function is torch.randn:
            return self.draw(tuple(args[0])).to(
                **{name: named[name] for name in ("device", "dtype") if named.get(name) is not None}
            )
        return function(*args, **named)


def call_drawn(draw: Draw, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    with Drawn(draw):
        return function(*args, **named)


def drawing(holder: Any, method: str, draw: Draw) -> Change:
    """The change that makes a method take its random numbers from `draw`."""
    return holder, method, partial(call_drawn, draw, getattr(holder, method))


@contextmanager
def changed(changes: list[Change]) -> Iterator[None]:
    """Sets attributes for the duration, and restores them afterwards."""
    before: list[tuple[Any, str, bool, Any]] = []
    try:
        for holder, name, value in changes:  # during a trace one holder may occur several times
            before.append((holder, name, name in vars(holder), vars(holder).get(name)))
            setattr(holder, name, value)
        yield
    finally:
        for holder, name, own, value in reversed(before):
            if own:
                setattr(holder, name, value)
            else:
                delattr(holder, name)
