"""Lets `len` of a tensor answer a free size, in the code of a user's modules, while a model is traced.

    h[torch.arange(len(h)), last]    len(h) is a number of the example    ->    len(h) is h.shape[0]

Python turns what ``__len__`` answers into an int, so a free size becomes a number, and the trace is refused. A name in the
globals of a module comes before the builtin of this name. So a `len` there serves all functions of the file, also
functions inside functions. ``range(len(h))`` and ``[0] * len(h)`` need an int: they are refused as before. What a file
imports from others, such as a helper with `len` in a file without modules, is refused as before too.

Three alternatives were weighed. Another `len` among the builtins changes torch and all other threads. A torch mode sees
``Tensor.__len__``, but Python turns its answer into an int too. Changed source or bytecode reaches the same functions with
much more code.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from edgexf_exporters.trace.exchange import is_foreign


def first_size(value: Any, /) -> Any:
    """What `len` answers, but the size itself for a tensor: it may be free."""
    plain = isinstance(value, Tensor) and value.ndim > 0 and type(value).__len__ is Tensor.__len__
    return value.shape[0] if plain else builtins.len(value)


def own_globals(model: nn.Module) -> list[dict[str, Any]]:
    """The globals of the files that define the classes of the modules of `model`, but foreign files."""
    found: dict[int, dict[str, Any]] = {}
    for kind in {kind for part in model.modules() for kind in type(part).__mro__}:
        for value in vars(kind).values():
            function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
            if isinstance(function, FunctionType):
                found[id(function.__globals__)] = function.__globals__
    return [one for one in found.values() if not is_foreign(one)]


@contextmanager
def free_len(model: nn.Module) -> Iterator[None]:
    """Puts `first_size` as `len` into the globals of the user's modules, for the duration. A `len` of their own stays."""
    changed = [one for one in own_globals(model) if "len" not in one]
    try:
        for one in changed:
            one["len"] = first_size
        yield
    finally:
        for one in changed:
            one.pop("len", None)
