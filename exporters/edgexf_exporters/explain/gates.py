"""Remembers the gates of a forward pass: sigmoids, their views, and `1 - sigmoid`.

In: the tensors that operators answer. Out: whether a tensor is a gate, for the rule of products in `rules`.

A sigmoid that multiplies is a gate, as in an LSTM, and a constant. If gates took half, the 16 gates of an EfficientNet would
leave 1/65,536 of the relevance to the image itself. A gate is known by its version: what an operator has written to, itself
or through a view, is a gate no longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

SIGMOIDS = ("sigmoid", "hardsigmoid")


class Gates:
    """The gates of a forward pass, which this does not keep alive."""

    def __init__(self) -> None:
        self.versions: Any = WeakIdKeyDictionary()

    def add(self, value: Tensor) -> Tensor:
        self.versions[value] = value._version
        return value

    def update(self, values: Iterable[Tensor]) -> None:
        for value in values:
            self.add(value)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, Tensor) and bool(self.versions.get(value, -1) == value._version)
