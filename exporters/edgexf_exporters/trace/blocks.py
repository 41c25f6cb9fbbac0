"""Operators that cut an input of any length into whole blocks, inside a traced program.

In: tensors with an axis of tokens. Out: the places of the tokens of whole blocks, or of those between the ends.

    places   tokens [batch, length, ...]     ->  int64 [blocks, block]      0, 1, 2, ... row by row; blocks * block >= length
    middle   places int64 [blocks, block]    ->  int64 [blocks - 2, block]  those of the blocks between the ends

torch takes both sizes of the result for sizes that it knows nothing about. So a model behind the operator traces as if
its inputs came in blocks, whatever the length in front of the operator is, and ONNX computes both sizes from the length.

Two alternatives were weighed. Blocks as an expression of the length, (length + block - 1) // block, trace too, but each
layer nests this expression once more, and six layers take minutes. Blocks as a further input of the program are what
`edgexf.passes.edges` makes of the inputs of a whole model, but the length inside a custom module need not be the length
of an input.
"""

from __future__ import annotations

from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor

op: Any = opset18  # its types don't follow what a node answers


@torch.library.custom_op("edgexf::places", mutates_args=())
def places(tokens: Tensor, block: int, switch: int) -> Tensor:
    """The places of whole blocks for `tokens` [batch, length, ...], int64 [blocks, block].

    Up to a length of `switch` there are two blocks of half the length.
    """
    length = tokens.shape[1]
    sizes = (2, (length + 1) // 2) if length <= switch else (-(-length // block), block)
    return torch.arange(sizes[0] * sizes[1]).reshape(sizes)


@places.register_fake
def _(tokens: Tensor, block: int, switch: int) -> Tensor:  # noqa: ARG001 (the sizes depend on the length in ONNX alone)
    free = torch.library.get_ctx()
    blocks = free.new_dynamic_size(min=1)
    return torch.empty((blocks, free.new_dynamic_size(min=1) if switch else block), dtype=torch.int64)


def places_in_onnx(tokens: Any, block: int, switch: int) -> Any:
    """`places` in ONNX."""
    length = op.Shape(tokens, start=1, end=2)
    last = op.Sub(length, op.Constant(value_ints=[1]))
    size, one = op.Constant(value_ints=[block]), op.Constant(value_ints=[1])
    blocks = op.Add(op.Div(last, size), one)
    if switch:
        two = op.Constant(value_ints=[2])
        short = op.LessOrEqual(length, op.Constant(value_ints=[switch]))
        blocks = op.Where(short, two, blocks)
        size = op.Where(short, op.Add(op.Div(last, two), one), size)
    count = op.Squeeze(op.Mul(blocks, size), op.Constant(value_ints=[0]))
    place = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    return op.Reshape(place, op.Concat(blocks, size, axis=0))


@torch.library.custom_op("edgexf::middle", mutates_args=())
def middle(place: Tensor) -> Tensor:
    """The places of the blocks between the first and the last one, int64 [blocks - 2, block], from int64 [blocks, block].

    There are two blocks or more. Two blocks have none between them: then place 1 is a block, int64 [1, 1], since a loop of ONNX
    Runtime has at least one step (1.32). The caller reads no answer of this block.
    """
    return place[1:-1].clone() if len(place) > 2 else torch.ones((1, 1), dtype=torch.int64)


@middle.register_fake
def _(place: Tensor) -> Tensor:  # noqa: ARG001 (the sizes depend on its size in ONNX alone)
    free = torch.library.get_ctx()
    return torch.empty((free.new_dynamic_size(min=1), free.new_dynamic_size(min=1)), dtype=torch.int64)


def middle_in_onnx(place: Any) -> Any:
    """`middle` in ONNX."""
    one, two = op.Constant(value_ints=[1]), op.Constant(value_ints=[2])
    blocks, block = op.Shape(place, start=0, end=1), op.Shape(place, start=1, end=2)
    steps, size = op.Max(op.Sub(blocks, two), one), op.Where(op.LessOrEqual(blocks, two), one, block)
    count = op.Squeeze(op.Mul(steps, size), op.Constant(value_ints=[0]))
    inner = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    return op.Reshape(op.Add(inner, size), op.Concat(steps, size, axis=0))


TRANSLATIONS = {
    torch.ops.edgexf.places.default: places_in_onnx,
    torch.ops.edgexf.middle.default: middle_in_onnx,
}
