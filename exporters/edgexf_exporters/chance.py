"""Random numbers that a library draws at every call: drawn once from a recorded seed, for the graph and its model.

In: modules, and what each of them draws. Out: a context in which `torch.randn` answers with these numbers where such
a module calls it, so that the library's own code runs as it is. The generator of the process is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SEED = 20_211
Draw = Callable[[tuple[int, ...]], Tensor]


class Instead(TorchFunctionMode):
    """Answers `torch.randn` for the module that runs."""

    draw: Draw | None = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.randn and self.draw is not None:
            (shape,) = args
            return self.draw(tuple(shape)).to(kwargs.get("dtype") or torch.get_default_dtype())
        return function(*args, **(kwargs or {}))


@contextmanager
def given(draws: Mapping[nn.Module, Draw]) -> Iterator[None]:
    """For the duration each of the modules draws what `draws` says."""
    mode = Instead()

    def enter(module: nn.Module, *_: object) -> None:
        mode.draw = draws[module]

    def leave(*_: object) -> None:
        mode.draw = None

    hooks = [
        hook
        for module in draws
        for hook in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))
    ]
    try:
        with mode:
            yield
    finally:
        for hook in hooks:
            hook.remove()
