"""Tells a model of a library from one that code of the user extends.

In: a module. Out: whether its class, its ``forward`` or a hook belongs to another package than the libraries that edgexf
knows. Such code may branch on sizes, so that it is traced with the lengths that it sees in PyTorch.
"""

from __future__ import annotations

from typing import Any

from torch import nn

LIBRARIES = ("torch", "transformers", "edgexf", "edgexf_exporters")  # the packages whose models edgexf knows


def has_own_code(module: nn.Module) -> bool:
    """Whether a module runs code that belongs to none of `LIBRARIES`: its class, its ``forward`` or its hooks."""
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    kind: Any = type(module)
    code = (kind, kind.forward, *hooks, *(value for name, value in vars(module).items() if name == "forward"))
    return any(str(getattr(one, "__module__", "")).partition(".")[0] not in LIBRARIES for one in code)
