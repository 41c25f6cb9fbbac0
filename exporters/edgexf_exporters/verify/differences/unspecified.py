"""Answers that depend on PyTorch's choice among equal values, which PyTorch leaves unspecified.

In: a model and inputs. Out: whether the model answers otherwise if the operators that choose take other equals.

    topk([3, 3, 1], 1)  ->  place 0, or place 1: PyTorch may take either, and a graph takes the first

A graph that takes another of the equals is not wrong, and not verified either. So such inputs are left out of the grid,
and its result says so. What depends on a tie is found by asking: the model runs once more, and each of these operators
gets its values in reversed order. `torch.argmax`, `max` and stable sorts take the first, in PyTorch as in a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Where the axis stands among the arguments of a function that chooses.
AXES: dict[Any, int] = {
    function: place
    for name, place in (("topk", 2), ("sort", 1), ("argsort", 1), ("median", 1), ("kthvalue", 2), ("mode", 1))
    for function in (getattr(torch, name), getattr(Tensor, name))
}
UNSPECIFIED = (
    "inputs with ties were left out of the comparison, since topk, sort, median, kthvalue or mode decide an answer, and "
    "PyTorch's choice among equal values is unspecified"
)


class OtherChoice(TorchFunctionMode):
    """Gives the values of functions that choose in reversed order. `met` counts these functions."""

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def __torch_function__(
        self, function: Any, _types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls the function; places are counted from the other end."""
        named = dict(kwargs or {})
        place = AXES.get(function)
        if place is None or named.get("stable"):
            return function(*args, **named)
        self.met += 1
        values, axis = args[0], named.get("dim", args[place] if len(args) > place else -1)
        last = values.shape[axis] - 1 if values.ndim else 0
        found = function(values.flip(axis) if values.ndim else values, *args[1:], **named)
        if isinstance(found, Tensor):  # places alone, or a median of all values
            return last - found if function in (torch.argsort, Tensor.argsort) else found
        return type(found)((found[0], last - found[1]))


def depends_on_ties(
    ask: Callable[[], Mapping[str, Any]], wanted: Mapping[str, Any], alike: Callable[..., bool]
) -> bool:
    """Whether a model answers otherwise if the operators that choose take other equals.

    `ask` runs the model, `wanted` is its answer, and `alike` compares two arrays.
    """
    with OtherChoice() as other:
        found = ask()
    return other.met > 0 and not all(alike(found[name], right) for name, right in wanted.items() if name in found)
