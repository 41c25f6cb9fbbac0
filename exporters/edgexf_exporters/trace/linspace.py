"""Lets `torch.linspace` take a free number of steps while a model is traced.

    torch.linspace(0, 1, x.shape[1])   ->   0 + step * place in the first half, 1 - step * (what is left) in the second

torch takes the number for an int, so that the free size becomes a number. The halves are those of PyTorch's kernel, so
both ends are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import SymInt, Tensor
from torch.overrides import TorchFunctionMode


def linspace(start: Any, end: Any, steps: Any, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.linspace` over a free number of steps."""
    kind = dtype or torch.get_default_dtype()
    place = torch.arange(steps)
    rest = steps - 1 - place
    step = (torch.full((), 0, dtype=kind) + end - start) / (torch.full((), steps, dtype=kind) - 1).clamp(min=1)
    return torch.where(place * 2 < steps, start + step * place, end - step * rest)


class FreeLinspace(TorchFunctionMode):
    """A context in which `torch.linspace` takes a free number of steps. Whole numbers stay: PyTorch cuts them off."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.linspace:
            given = {**dict(zip(("start", "end", "steps"), args, strict=False)), **kwargs}
            kind = given.get("dtype")
            if isinstance(given["steps"], SymInt) and (kind is None or kind.is_floating_point):
                return linspace(given["start"], given["end"], given["steps"], kind)
        return function(*args, **kwargs)
