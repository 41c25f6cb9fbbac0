"""Operators of complex numbers that torch's exporter has no form of.

In: a complex tensor, which a graph holds as real and imaginary parts along a last axis of 2. Out: the same with the axes
that the operator answers.

    freqs_cis [batch, tokens, pairs] complex   unsqueeze(1)     [batch, tokens, pairs, 2] -> [batch, 1, tokens, pairs, 2]
    the same                                   unsqueeze(-1)    the new axis stands before that of 2

Rotary positions of Llama 4 and DeepSeek-V2 are products of complex numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

op: Any = opset18  # its types don't follow what a node answers


def unsqueeze(parts: Any, dim: int) -> Any:
    return op.Unsqueeze(parts, [dim if dim >= 0 else dim - 1])


TRANSLATIONS: dict[Any, Callable[..., Any]] = {torch.ops.aten.unsqueeze.default: unsqueeze}
