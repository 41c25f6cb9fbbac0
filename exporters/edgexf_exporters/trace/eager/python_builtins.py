"""Lets `len` and `isinstance` answer as in eager PyTorch, in the code of a user's modules, while a model is traced.

    h[torch.arange(len(h)), last]    len(h) is a number of the example      ->  len(h) is h.shape[0]
    isinstance(h.shape[1], int)      False: a size of a trace is a SymInt   ->  True
    isinstance(h, FakeTensor)        True                                   ->  False

A trace has classes of its own for sizes and tensors. A branch on them is one that only a trace takes, and no condition on a
size records it: ``if isinstance(n, int) and n == 100``. ``type(n) is int`` still is such a branch.

Python turns what ``__len__`` answers into an int, so a free size becomes a number, and the trace is refused. A name in the
globals of a module comes before the builtin of this name. So a name there serves all functions of the file, also
functions inside functions. ``range(len(h))`` and ``[0] * len(h)`` need an int: they are refused as before. What a file
imports from others, such as a helper in a file without modules, is refused as before too.

Three alternatives were weighed. Other builtins change torch and all other threads. A torch mode sees
``Tensor.__len__``, but Python turns its answer into an int too. Changed source or bytecode reaches the same functions with
much more code.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, UnionType
from typing import Any, get_args

import torch
from torch import Tensor, nn

from edgexf_exporters.trace.eager.exchange import is_foreign

EAGER: dict[type, Any] = {torch.SymInt: 1, torch.SymFloat: 1.0, torch.SymBool: True}
OF_TRACES = ("torch._subclasses", "torch.fx")  # where the classes of a trace's tensors come from


def first_size(value: Any, /) -> Any:
    """What `len` answers, but the size itself for a tensor: it may be free."""
    plain = isinstance(value, Tensor) and value.ndim > 0 and type(value).__len__ is Tensor.__len__
    return value.shape[0] if plain else builtins.len(value)


def is_instance(value: Any, kinds: Any, /) -> bool:
    """What `isinstance` answers in eager PyTorch, where a size is a number and a tensor has no class of a trace."""
    for symbol, example in EAGER.items():
        if isinstance(value, symbol):
            return isinstance(example, kinds)
    if not isinstance(value, Tensor):
        return isinstance(value, kinds)
    return any(
        isinstance(value, kind) for kind in flat(kinds) if not getattr(kind, "__module__", "").startswith(OF_TRACES)
    )


def flat(kinds: Any) -> Iterator[Any]:
    """Yields the classes of a class, of a union, or of a tuple of them."""
    inner = kinds if isinstance(kinds, tuple) else get_args(kinds) if isinstance(kinds, UnionType) else ()
    if not inner and not isinstance(kinds, tuple):
        yield kinds
    for kind in inner:
        yield from flat(kind)


def own_globals(model: nn.Module) -> list[dict[str, Any]]:
    """The globals of the files that define the classes of the modules of `model`, but foreign files."""
    found: dict[int, dict[str, Any]] = {}
    for kind in {kind for part in model.modules() for kind in type(part).__mro__}:
        for value in vars(kind).values():
            function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
            if isinstance(function, FunctionType):
                found[id(function.__globals__)] = function.__globals__
    return [one for one in found.values() if not is_foreign(one)]


REPLACED = {"len": first_size, "isinstance": is_instance}


@contextmanager
def eager_builtins(model: nn.Module) -> Iterator[None]:
    """Puts `REPLACED` into the globals of the user's modules, for the duration. Names of their own stay."""
    changed = [(one, name) for one in own_globals(model) for name in REPLACED if name not in one]
    try:
        for one, name in changed:
            one[name] = REPLACED[name]
        yield
    finally:
        for one, name in changed:
            one.pop(name, None)
