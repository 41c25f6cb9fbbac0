"""Products of groups of rows, each with its own matrix: the experts of transformers.

In: rows [rows, width] sorted by group, matrices [groups, width, columns], and the end of each group. Out: the rows' products
[rows, columns].

    ends 2, 5, 9        x[0:2] @ w[0], x[2:5] @ w[1], x[5:9] @ w[2], joined

Each group is a Range and a Gather of its rows and a MatMul, also of no rows. A Gather of a matrix for each row would hold rows *
width * columns values; all rows by all matrices would do the work of all experts. The custom operator of transformers exists
once its file is imported, so `translations` looks for it at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

op: Any = opset18  # its types don't follow what a node answers
INT64 = 7  # of onnx.TensorProto
PLACES = (("aten", "_grouped_mm"), ("transformers", "grouped_mm_fallback"))


def grouped_mm_in_onnx(rows: Any, matrices: Any, ends: Any, bias: Any = None, out_dtype: Any = None) -> Any:
    """The ONNX form. Raises ValueError for a bias or another dtype, which edgexf's models in float32 don't have."""
    groups = matrices.shape[0]
    if bias is not None or out_dtype is not None or not isinstance(groups, int):
        raise ValueError("groups of rows must have a fixed number, without a bias, in the dtype of the rows")
    whole, step = op.Cast(ends, to=INT64), op.Constant(value_int=1)
    start, found = op.Constant(value_int=0), []
    for group in range(groups):
        place = op.Constant(value_int=group)
        end = op.Gather(whole, place, axis=0)
        own = op.Gather(rows, op.Range(start, end, step), axis=0)
        found.append(op.MatMul(own, op.Gather(matrices, place, axis=0)))
        start = end
    return op.Concat(*found, axis=0)


def translations() -> dict[Any, Callable[..., Any]]:
    """The translations of the operators that there are."""
    there = (getattr(getattr(torch.ops, space), name, None) for space, name in PLACES)
    return {packet.default: grouped_mm_in_onnx for packet in there if packet is not None}
