"""Rows of a tensor by an index into all of them, as an operator of a captured program whose reverse pass scatters nothing.

    edgexf::rows    tokens.flatten(0, -2)[index]        Gather
    its gradient    grads[readers].sum(-2)              Gather of each reader, Add

ONNX Runtime copies whole rows: an index of each number, `torch.gather`, takes five times as long. The caller knows which
places of the index read a row, so the gradient is a Gather too. (A Gather of all readers needs a ReduceSum
over a short axis, which took an eighth of a run of the reference longformer's explain graph at 4,096 bytes.)

Two alternatives were weighed. ScatterND that adds, torch's gradient of an index, is wrong in ONNX Runtime with two
threads where an index occurs twice: threads overwrite each other's sums (1.32, no error). ScatterElements that adds is
right, and takes twenty times as long.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor
from torch.nn import functional as F

op: Any = opset18  # its types don't follow what a node answers


@torch.library.custom_op("edgexf::rows", mutates_args=())
def rows(tokens: Tensor, index: Tensor, readers: Tensor) -> Tensor:  # noqa: ARG001 (the gradient reads the readers)
    """The vectors of `tokens` at an index into all of them, [*index, width].

    Args:
        tokens: [..., width].
        index: int64, rows of `tokens` counted over all axes but the last.
        readers: int64 [..., any], for each row of `tokens`, whose axes may be joined, the places of `index` that hold
            it, counted over all axes; the number of places stands for none. A place that is left out passes no gradient.
    """
    return tokens.flatten(0, -2)[index]


@rows.register_fake
def _(tokens: Tensor, index: Tensor, readers: Tensor) -> Tensor:  # noqa: ARG001
    return tokens.new_empty(*index.shape, tokens.shape[-1])


def remember(ctx: Any, inputs: Sequence[Tensor], output: Tensor) -> None:  # noqa: ARG001
    ctx.shape = inputs[0].shape
    ctx.save_for_backward(inputs[2])


def of_readers(gradient: Tensor, readers: Tensor) -> Tensor:
    """The sum of the gradients at the readers of each row, [*rows, width]."""
    found = F.pad(gradient.flatten(0, -2), (0, 0, 0, 1))  # a row of zeros for no reader
    return functools.reduce(torch.add, (found[one] for one in readers.unbind(dim=-1)))


def reverse(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    (readers,) = ctx.saved_tensors
    return of_readers(gradient, readers).reshape(ctx.shape), None, None


rows.register_autograd(reverse, setup_context=remember)


def in_onnx(tokens: Any, index: Any, readers: Any) -> Any:  # noqa: ARG001
    """The translation of `rows`."""
    width = op.Shape(tokens, start=-1)
    return op.Gather(op.Reshape(tokens, op.Concat(op.Constant(value_ints=[-1]), width, axis=0)), index)


TRANSLATIONS = {torch.ops.edgexf.rows.default: in_onnx}
