"""Lets functions of torch take a free size that they take for an int, while a model is traced.

    torch.linspace(0, 1, x.shape[1])   ->   0 + step * place in the first half, 1 - step * (what is left) in the second
    F.max_pool1d(x, 3)                 ->   max_pool2d over images of one row, where the length is free
    x.tensor_split(3, 1)               ->   slices: the first n % 3 parts have one entry more
    F.one_hot(ids, n)                  ->   ids == arange(n)
    torch.as_tensor(n), x.new_tensor(n) ->  torch.full((), n)

torch turns the size into a number of the example, and the trace is refused. The halves are those of PyTorch's kernel, so
both ends are exact.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import SymInt, Tensor
from torch.overrides import TorchFunctionMode


def linspace(start: Any, end: Any, steps: Any, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.linspace` over a free number of steps."""
    kind = dtype or torch.get_default_dtype()
    place = torch.arange(steps)
    rest = steps - 1 - place
    step = (torch.full((), 0, dtype=kind) + end - start) / (torch.full((), steps, dtype=kind) - 1).clamp(min=1)
    return torch.where(place * 2 < steps, start + step * place, end - step * rest)


def max_pool1d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,  # noqa: ARG001 (`has_free_length` has looked at it)
) -> Tensor:  # fmt: skip
    """`torch.max_pool1d` over a free length."""

    def across(value: Any) -> Any:
        return value[0] if isinstance(value, list | tuple) else value

    size = across(kernel_size)
    step = size if stride is None or stride == [] else across(stride)
    images = x.unsqueeze(-2)
    pooled = torch.max_pool2d(images, (1, size), (1, step), (0, across(padding)), (1, across(dilation)), ceil_mode)
    return pooled.squeeze(-2)


def tensor_split(x: Tensor, sections: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`torch.tensor_split` of an axis of free length into a number of parts."""
    least, rest = x.shape[dim] // sections, x.shape[dim] % sections
    starts = [turn * least + torch.sym_min(turn, rest) for turn in range(sections + 1)]
    return tuple(torch.ops.aten.slice.Tensor(x, dim, start, end) for start, end in pairwise(starts))


def has_free_axis(x: Tensor, sections: Any, dim: int = 0) -> bool:
    """Whether an axis of free length is cut into a number of parts."""
    return isinstance(sections, int) and isinstance(x.shape[dim], SymInt)


def one_hot(ids: Tensor, classes: Any) -> Tensor:
    """`F.one_hot` of a free number of classes."""
    return (ids.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)


def of_size(size: Any, dtype: torch.dtype | None = None) -> Tensor:
    """A free size as a tensor without axes."""
    return torch.full((), size, dtype=dtype or torch.int64)


def has_free_length(x: Tensor, *others: Any, **named: Any) -> bool:
    """Whether the length is free. Places, the seventh argument, stay with torch."""
    places = named.get("return_indices", len(others) > 5 and others[5])
    return isinstance(x.shape[-1], SymInt) and not places


def has_free_steps(start: Any, end: Any, steps: Any, dtype: torch.dtype | None = None, **_: Any) -> bool:  # noqa: ARG001
    """Whether the steps are free. Whole numbers stay as they are: PyTorch cuts them off in its own way."""
    return isinstance(steps, SymInt) and (dtype is None or dtype.is_floating_point)


class FreeSizes(TorchFunctionMode):
    """A context in which the functions take free sizes."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.linspace and has_free_steps(*args, **kwargs):
            return linspace(*args, **{name: value for name, value in kwargs.items() if name in NAMES})
        if function in (torch.max_pool1d, F.max_pool1d) and has_free_length(*args, **kwargs):
            return max_pool1d(*args, **kwargs)
        if function in (torch.tensor_split, Tensor.tensor_split) and has_free_axis(*args, **kwargs):
            return tensor_split(*args, **kwargs)
        if function is F.one_hot and isinstance([*args, *kwargs.values()][-1], SymInt):
            return one_hot(*args, *kwargs.values())
        if function is torch.as_tensor and isinstance(args[0], SymInt):
            return of_size(*args, **{name: value for name, value in kwargs.items() if name == "dtype"})
        if function is Tensor.new_tensor and isinstance(args[1], SymInt):
            return of_size(args[1], kwargs.get("dtype") or args[0].dtype)
        return function(*args, **kwargs)


NAMES = {"start", "end", "steps", "dtype"}  # the arguments of `linspace`; a graph has no other device or layout
