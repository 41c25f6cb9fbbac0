"""Finds answers that are no finite numbers: the ``nan=`` of `edgexf.load`.

In: the outputs of a run. Out: the name of an output that holds NaN or an infinite number, or an error that names the row.

| `nan` | an answer that is no finite number |
|---|---|
| `raise` | is refused with an EdgexfError |
| `flag` | passes; `Run.finite` and `Prediction.finite` are False |
| `auto` | `flag` if the model itself gave such answers when the bundle was verified (`undefined` of the grid), else `raise` |

A model whose masks may hide everything, or that bars a choice by -inf, gives such answers by itself. From every other
model they are a fault: of the weights, of a dtype with a small range, or of a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.checks import is_choice
from edgexf.errors import AnswerError, UsageError, quoted

Array = npt.NDArray[Any]

AUTO, RAISE, FLAG = CHOICES = ("auto", "raise", "flag")


def refuses(nan: str, manifest: Manifest) -> bool:
    """Whether answers that are no finite numbers are refused. Raises UsageError for an unknown choice."""
    if not is_choice(nan, CHOICES):
        raise UsageError(f"nan must be one of {', '.join(CHOICES)}, got {quoted(nan)}; choose one of them.")
    return nan == RAISE or (nan == AUTO and not manifest.grid.get("undefined"))


def is_finite(array: Array) -> bool:
    """Whether all values are finite numbers. Whole numbers are.

    `argmax` and `argmin` find NaN before any number. They need no memory, and are quicker than other functions on the
    few numbers of a classifier.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return True
    if array.dtype.itemsize == 2:  # `argmax` of float16 takes 20 times as long
        return bool(np.isfinite(array).all())
    return isfinite(array.item(array.argmax())) and isfinite(array.item(array.argmin()))


def not_finite(outputs: Mapping[str, Array]) -> str | None:
    """The name of the first output that holds other than finite numbers, or None."""
    for name, array in outputs.items():
        if not is_finite(array):
            return name
    return None


def refusal(name: str, array: Array, declared: Sequence[Tensor], samples: str) -> AnswerError:
    """The error for an output that holds other than finite numbers. `samples` is the name of the axis of rows."""
    shape = next((tensor.shape for tensor in declared if tensor.name == name), ())
    place = [int(index) for index in np.argwhere(~np.isfinite(array))[0]]
    row = shape.index(samples) if samples and samples in shape else None
    where = f"at {place}" if row is None else f"in row {place[row]}"
    return AnswerError(
        f"an answer must hold finite numbers, got {array[tuple(place)]} {where} of {name}; check this input, try dtype='fp32', or load with nan='flag' to get it as it is."
    )
