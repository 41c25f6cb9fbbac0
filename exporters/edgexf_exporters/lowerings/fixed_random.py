"""What a library draws at random or decides by a call, held still while it is asked.

In: what to draw, or attributes and their values for a while. Out: contexts in which the library's own code runs as it is,
with these numbers and these attributes; the random generator of the process is not touched.

    before  torch.randn(shape)      other numbers in each call
    after   numbers that were drawn once from `SEED`, for the graph and for the model that it is compared with
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SEED = 0  # recorded in the bundle, where a model sets none
Draw = Callable[[tuple[int, ...]], Tensor]
Change = tuple[Any, str, Any]  # holder, name, value


class Drawn(TorchFunctionMode):
    """Inside, `torch.randn` answers with what `draw` makes of the shape."""

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
    """The change that makes a method draw what `draw` says."""
    return holder, method, partial(call_drawn, draw, getattr(holder, method))


@contextmanager
def changed(changes: list[Change]) -> Iterator[None]:
    """Attributes set for the duration."""
    before: list[tuple[Any, str, bool, Any]] = []
    try:
        for holder, name, value in changes:  # while a model is traced one holder may occur several times
            before.append((holder, name, name in vars(holder), vars(holder).get(name)))
            setattr(holder, name, value)
        yield
    finally:
        for holder, name, own, value in reversed(before):
            if own:
                setattr(holder, name, value)
            else:
                delattr(holder, name)
