"""Attention of blocks to rows of their own choice, as a single operator of a captured program.

    edgexf::windowed           softmax(Q K^T + hidden + band) V of each block
    edgexf::windowed_reverse   its gradients by the gathered Q, K and V

    stepwise       Scan over the blocks of all samples     Gather of rows, MatMul, Add, weights, MatMul in its body
    else           the same nodes over all blocks at once

With `stepwise` the graph holds the scores, the weights, the queries, the keys and the values of one block at a time, and the
reverse pass computes the weights again. For windows of 512 tokens, 12 heads and 16,384 tokens, the scores of all blocks take
617 MB, and their weights as much again. The gradients of all blocks' keys and values are whole tensors in both forms.
Without `stepwise` a short input of a small model needs no loop, and both passes share the nodes that are equal.

Rows are gathered as in `edgexf_exporters.trace.rows`. No score counts as more than 64 below the largest one of its row, as in
`edgexf_exporters.trace.attention_weights`.

Two alternatives were weighed. A Scan over groups of blocks computes blocks that nobody reads in its last group. A pass
that puts the loop into a finished graph would have to find the reverse pass too, which reads the weights of all blocks.
Source: Beltagy et al. 2020, section 3.1; Dao et al. 2022, "FlashAttention", appendix B.2 for the reverse pass; the operator
Scan of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20
from torch import Tensor

from edgexf_exporters.trace.attention_weights import LOWEST
from edgexf_exporters.trace.recurrent import Body
from edgexf_exporters.trace.rows import of_readers
from edgexf_exporters.trace.sliced import numbers, scan

op: Any = opset20  # its types don't know the values of a translation


def weights_of(query: Tensor, key: Tensor, hidden: Tensor, band: Tensor | None) -> Tensor:
    hides = hidden if band is None else hidden + band
    return (query @ key.transpose(-1, -2) + hides).softmax(dim=-1)


@torch.library.custom_op("edgexf::windowed", mutates_args=())
def windowed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    at_queries: Tensor,
    at_keys: Tensor,
    hidden: Tensor,
    band: Tensor | None,
    asked: Tensor,  # noqa: ARG001 (the gradient reads it)
    readers: Tensor,  # noqa: ARG001 (the gradient reads it)
    shared: int,  # noqa: ARG001 (the gradient reads it)
    stepwise: bool,  # noqa: ARG001 (the translation reads it)
) -> Tensor:
    """Softmax(Q K^T + hidden + band) V of each block; Vaswani et al. 2017, eq. 1.

    Args:
        query: divided by the square root of the width of a head, float32 [rows of queries, width].
        key: float32 [rows, width]. The last rows, [batch, heads, shared], are the first keys of each block of their sample.
        value: float32 [rows, value_width].
        at_queries: rows of `query`, int64 [batch, blocks, heads, window].
        at_keys: rows of `key` and `value`, int64 [batch, blocks, heads, keys].
        hidden: added to the scores, float32 [batch, blocks, 1, 1, keys].
        band: added to the scores of every block, float32 [window, keys], or None.
        asked: the places of `at_queries` that hold each row, int64 [rows of queries, 1]; see `edgexf_exporters.trace.rows`.
        readers: the places of `at_keys` that hold each row that is not shared, int64 [rows that are not shared, 3].
        shared: the number of keys that all blocks of a sample share.
        stepwise: a graph computes one block at a time.

    Returns the mixed values, [batch, blocks, heads, window, value_width].
    """
    return weights_of(query[at_queries], key[at_keys], hidden, band) @ value[at_keys]


@windowed.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, at_queries: Tensor, *_: Any) -> Tensor:  # noqa: ARG001
    return query.new_empty(*at_queries.shape, value.shape[-1])


@torch.library.custom_op("edgexf::windowed_reverse", mutates_args=())
def windowed_reverse(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    at_queries: Tensor,
    at_keys: Tensor,
    hidden: Tensor,
    band: Tensor | None,
    mixed: Tensor,
    of_scores: bool,
    stepwise: bool,  # noqa: ARG001 (the translation reads it)
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `windowed` by the queries, keys and values of each block.

        dV = A^T g        dS = A * (g V^T - rowsum(g * mixed))        dQ = dS K        dK = dS^T Q

    Args:
        gradient: by the mixed values, float32 [batch, blocks, heads, window, value_width].
        query, key, value, at_queries, at_keys, hidden, band, stepwise: as for `windowed`.
        mixed: what `windowed` answered.
        of_scores: whether anything reads the gradients by queries and keys. If not, both are empty.

    Returns the gradients by queries [batch, blocks, heads, window, width], by keys [batch, blocks, heads, keys, width] and by
    values [batch, blocks, heads, keys, value_width].
    """
    queries, keys, values = query[at_queries], key[at_keys], value[at_keys]
    weights = weights_of(queries, keys, hidden, band)
    by_value = weights.transpose(-1, -2) @ gradient
    if not of_scores:
        return query.new_empty(0), query.new_empty(0), by_value
    total = (gradient * mixed).sum(dim=-1, keepdim=True)
    by_score = weights * (gradient @ values.transpose(-1, -2) - total)
    return by_score @ keys, by_score.transpose(-1, -2) @ queries, by_value


@windowed_reverse.register_fake
def _(_: Tensor, query: Tensor, key: Tensor, value: Tensor, at_queries: Tensor, at_keys: Tensor, *how: Any) -> Any:
    of_value = value.new_empty(*at_keys.shape, value.shape[-1])
    if not how[-2]:
        return query.new_empty(0), query.new_empty(0), of_value
    return (
        query.new_empty(*at_queries.shape, query.shape[-1]),
        key.new_empty(*at_keys.shape, key.shape[-1]),
        of_value,
    )


def remember(ctx: Any, inputs: Any, output: Tensor) -> None:
    *tensors, ctx.shared, ctx.stepwise = inputs
    ctx.save_for_backward(*tensors, output)


def reverse(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    *given, asked, readers, mixed = ctx.saved_tensors
    of_scores = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
    by_query, by_key, by_value = windowed_reverse(gradient, *given, mixed, of_scores, ctx.stepwise)
    query, key, value, *_ = given
    found: list[Tensor | None] = [None, None]
    if of_scores:
        found = [of_readers(by_query, asked).reshape(query.shape), of_rows(by_key, readers, ctx.shared, key)]
    return *found, of_rows(by_value, readers, ctx.shared, value), *[None] * 8


def of_rows(found: Tensor, readers: Tensor, shared: int, tokens: Tensor) -> Tensor:
    """The gradient by `tokens` [rows, width]. `found`: the gradient by the keys of blocks, [batch, blocks, heads, keys, width]."""
    common = found[..., :shared, :].sum(dim=1)  # [batch, heads, shared, width]
    return torch.cat((of_readers(found, readers), common.flatten(0, -2))).reshape(tokens.shape)


windowed.register_autograd(reverse, setup_context=remember)


class Whole:
    """Nodes over all blocks at once. It is called as `Body` is."""

    def __call__(self, operator: str, *given: Any, **attributes: int) -> Any:
        return getattr(op, operator)(*given, **attributes)

    def transposed(self, matrices: Any) -> Any:
        """Swaps the last two of five axes."""
        return op.Transpose(matrices, perm=[0, 1, 2, 4, 3])


class Weights:
    """The nodes that compute the weights of a block, or of all blocks."""

    def __init__(self, key: Any, band: Any) -> None:
        self.band, self.last = band, numbers(-1)
        self.lowest = op.CastLike(op.Constant(value_float=LOWEST), key)

    def within(self, make: Body | Whole, query: Any, key: Any, hidden: Any) -> Any:
        """From queries [..., window, width], keys [..., keys, width] and what hides keys."""
        product = make("MatMul", query, make.transposed(key))
        scores = make("Add", product, hidden if self.band is None else make("Add", hidden, self.band))
        lowest = make("Sub", make("ReduceMax", scores, self.last), self.lowest)
        return make("Softmax", make("Max", scores, lowest), axis=-1)


def in_blocks(
    stepwise: bool, floats: Sequence[Any], indices: Sequence[Any], count: int, step: Callable[..., Sequence[Any]]
) -> Sequence[Any]:
    """What `step` gives, [batch, blocks, ...]: of a block at a time, or of all of them.

    `step` gets `Body` or `Whole`, and a block of the floats and indices, [batch, blocks, ...], or all of them.
    """
    if not stepwise:
        return step(Whole(), *floats, *indices)
    first = op.Shape(indices[0], start=0, end=2)
    flat = [op.Reshape(one, op.Concat(numbers(-1), op.Shape(one, start=2), axis=0)) for one in (*floats, *indices)]
    found = scan([], flat[: len(floats)], flat[len(floats) :], count, step)
    return [op.Reshape(one, op.Concat(first, op.Shape(one, start=1), axis=0)) for one in found]


def onnx_windowed(
    query: Any, key: Any, value: Any, at_queries: Any, at_keys: Any, hidden: Any, band: Any, asked: Any, readers: Any,
    shared: int, stepwise: bool,
) -> Any:  # fmt: skip
    """The translation of `windowed`."""
    del asked, readers, shared  # the reverse pass in a graph is an operator of its own
    weights = Weights(key, band)

    def step(make: Body | Whole, hidden: Any, at_queries: Any, at_keys: Any) -> Sequence[Any]:
        queries, keys, values = (
            make("Gather", *one) for one in ((query, at_queries), (key, at_keys), (value, at_keys))
        )
        return [make("MatMul", weights.within(make, queries, keys, hidden), values)]

    return in_blocks(stepwise, [hidden], [at_queries, at_keys], 1, step)[0]


def onnx_windowed_reverse(
    gradient: Any, query: Any, key: Any, value: Any, at_queries: Any, at_keys: Any, hidden: Any, band: Any, mixed: Any,
    of_scores: bool, stepwise: bool,
) -> Any:  # fmt: skip
    """The translation of `windowed_reverse`. Each product transposes its smaller operand."""
    weights = Weights(key, band)

    def step(make: Body | Whole, hidden: Any, gradient: Any, *given: Any) -> Sequence[Any]:
        *total, at_queries, at_keys = given
        queries, keys = make("Gather", query, at_queries), make("Gather", key, at_keys)
        share = weights.within(make, queries, keys, hidden)
        by_value = make.transposed(make("MatMul", make.transposed(gradient), share))
        if not of_scores:
            return [by_value]
        values = make("Gather", value, at_keys)
        slope = make("Sub", make("MatMul", gradient, make.transposed(values)), *total)
        by_score = make("Mul", share, slope)
        by_key = make.transposed(make("MatMul", make.transposed(queries), by_score))
        return [make("MatMul", by_score, keys), by_key, by_value]

    indices = [at_queries, at_keys]
    if not of_scores:
        none = op.Constant(value_floats=[])
        return none, none, in_blocks(stepwise, [hidden, gradient], indices, 1, step)[0]
    total = op.ReduceSum(op.Mul(gradient, mixed), numbers(-1))
    return tuple(in_blocks(stepwise, [hidden, gradient, total], indices, 3, step))


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.edgexf.windowed.default: onnx_windowed,
    torch.ops.edgexf.windowed_reverse.default: onnx_windowed_reverse,
}
