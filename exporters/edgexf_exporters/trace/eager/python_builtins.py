"""Lets `len`, `isinstance` and `type` answer as in eager PyTorch, in a user's code, while a model is traced.

    h[torch.arange(len(h)), last]    len(h) is a number of the example      ->  len(h) is h.shape[0]
    isinstance(h.shape[1], int)      False: a size of a trace is a SymInt   ->  True
    type(h.shape[1]) is int          False                                  ->  True
    isinstance(h, FakeTensor)        True                                   ->  False

A trace has classes of its own for sizes and tensors. A branch on them is one that only a trace takes, and no condition on a
size records it: ``if isinstance(n, int) and n == 100``. ``n.__class__ is int`` and ``hasattr(n, "node")`` still are such
branches.

Python turns what ``__len__`` answers into an int, so a free size becomes a number, and the trace is refused. A name in the
globals of a module comes before the builtin of this name. So a name there serves all functions of the file, also
functions inside functions. ``range(len(h))`` and ``[0] * len(h)`` need an int: they are refused as before.

The files are those that define the classes of the modules or the functions that a module holds, and what these files
import: of other packages nothing, unless it is not installed. In the files of models of transformers `len` alone is replaced:
the library knows the classes of a trace, but not that it is traced with free sizes.

Three alternatives were weighed. Other builtins change torch and all other threads. A torch mode sees
``Tensor.__len__``, but Python turns its answer into an int too. Changed source or bytecode reaches the same functions with
much more code.
"""

from __future__ import annotations

import builtins
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FunctionType, ModuleType, UnionType
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import _AttrProxy

from edgexf_exporters.trace.eager.exchange import is_foreign

EAGER: dict[type, Any] = {torch.SymInt: 1, torch.SymFloat: 1.0, torch.SymBool: True}
OF_TRACES = ("torch._subclasses", "torch.fx")  # where the classes of a trace's tensors come from
CACHED = type(cache(len))
LIBRARY = "transformers.models."
INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def first_size(value: Any, /) -> Any:
    """What `len` answers, but the size itself for a tensor: it may be free."""
    plain = isinstance(value, Tensor) and value.ndim > 0 and type(value).__len__ is Tensor.__len__
    return value.shape[0] if plain else builtins.len(value)


def is_instance(value: Any, kinds: Any, /) -> bool:
    """What `isinstance` answers in eager PyTorch, where a size is a number and a tensor has no class of a trace."""
    kinds = tuple(type if kind is class_of else kind for kind in flat(kinds))
    for symbol, example in EAGER.items():
        if isinstance(value, symbol):
            return isinstance(example, kinds)
    if not isinstance(value, Tensor):
        return isinstance(value, kinds)
    return any(
        isinstance(value, kind) for kind in flat(kinds) if not getattr(kind, "__module__", "").startswith(OF_TRACES)
    )


def class_of(*values: Any) -> Any:
    """What `type` answers in eager PyTorch to one value. With three values `type` makes a class."""
    value = values[0]
    if len(values) > 1:
        return type(*values)
    for symbol, example in EAGER.items():
        if isinstance(value, symbol):
            return type(example)
    if isinstance(value, _AttrProxy):  # a stand-in for a module that a model holds twice
        return type(value).__bases__[-1]
    if isinstance(value, Tensor) and type(value).__module__.startswith(OF_TRACES):
        return nn.Parameter if isinstance(value, nn.Parameter) else Tensor
    return type(value)


def flat(kinds: Any) -> Iterator[Any]:
    """Yields the classes of a class, of a union, or of a tuple of them."""
    inner = kinds if isinstance(kinds, tuple) else get_args(kinds) if isinstance(kinds, UnionType) else ()
    if not inner and not isinstance(kinds, tuple):
        yield kinds
    for kind in inner:
        yield from flat(kind)


def own_globals(model: nn.Module) -> list[dict[str, Any]]:
    """The globals of the files of a user's code: see the docstring of this module."""
    found: dict[int, dict[str, Any]] = {}
    waiting = [one for one in map(names_of, held(model)) if one is not None]
    packages = {package_of(one) for one in waiting} - sys.stdlib_module_names
    while waiting:
        names = waiting.pop()
        if id(names) in found or is_foreign(names) or not (package_of(names) in packages or is_loose(names)):
            continue
        found[id(names)] = names
        waiting += [one for one in map(names_of, list(names.values())) if one is not None]
    return list(found.values())


def library_globals(model: nn.Module) -> list[dict[str, Any]]:
    """The globals of the files of transformers that define the classes of the modules."""
    places = {kind.__module__ for part in model.modules() for kind in type(part).__mro__}
    return [vars(sys.modules[one]) for one in sorted(places) if one.startswith(LIBRARY) and one in sys.modules]


def held(model: nn.Module) -> Iterator[Any]:
    """Yields what may be a function: the attributes of all modules and of their classes."""
    for part in model.modules():
        yield from (value for value in vars(part).values() if not isinstance(value, ModuleType))
    for kind in {kind for part in model.modules() for kind in type(part).__mro__}:
        yield from vars(kind).values()


def names_of(value: Any) -> dict[str, Any] | None:
    """The globals of a function or a method, or the names of a module of Python; None for another value."""
    if isinstance(value, ModuleType):
        return vars(value)
    if not isinstance(value, FunctionType | property | classmethod | staticmethod | CACHED):
        return None
    inner: Any = getattr(value, "fget", None) or getattr(value, "__func__", value)
    function = inspect.unwrap(inner)
    return function.__globals__ if isinstance(function, FunctionType) else None


def package_of(names: Mapping[str, Any]) -> str:
    return str(names.get("__name__")).partition(".")[0]


def is_loose(names: Mapping[str, Any]) -> bool:
    """Whether the file of these globals is no part of an installed package or of Python."""
    file = names.get("__file__")
    return isinstance(file, str) and not file.startswith(INSTALLED)


REPLACED = {"len": first_size, "isinstance": is_instance, "type": class_of}


@contextmanager
def eager_builtins(model: nn.Module) -> Iterator[None]:
    """Puts `REPLACED` into the globals of the user's modules, for the duration, and `len` into those of the library's models.
    Names of their own stay.
    """
    wanted = [(one, name) for one in own_globals(model) for name in REPLACED]
    wanted += [(one, "len") for one in library_globals(model)]
    changed = [(one, name) for one, name in wanted if name not in one]
    try:
        for one, name in changed:
            one[name] = REPLACED[name]
        yield
    finally:
        for one, name in changed:
            one.pop(name, None)
