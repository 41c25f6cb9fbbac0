"""Dense attention a slice of the queries at a time, as a single operator of a captured program.

    edgexf::sliced           softmax(Q K^T) V                   Scan over slices of the queries
    edgexf::sliced_reverse   its gradients by Q, K and V        Scan that computes each slice of weights again

No tensor of queries x keys is ever whole: weights are [batch, heads, slice, keys]. A slice has at most `ROWS` queries, so
the memory of a run grows as the length, and an input of up to `ROWS` tokens is one slice. (Slices of 64, 256 and 1,024
queries take 1.16, 1.04 and 0.98 of the time of one product.)

`edgexf_exporters.trace.forms` names other sizes of a slice, and the operator that `fused` puts in its place for a CPU.

Four alternatives were weighed. A number of slices that the graph fixes, unrolled (Split, then MatMul, Softmax and MatMul for
each), has weights that grow as the square of the length: four times the memory at twice the length, and 64 nodes for a short
input. `com.microsoft.MultiHeadAttention` has no kernel that saves memory where a mask hides padding, and no other runtime has
the operator. The standard Attention of opset 23 keeps all weights. `torch.ops.higher_order.scan` runs Dynamo inside the
trace, and its reverse can't be traced again with free sizes.
Source: Rabe and Staats 2021, "Self-attention does not need O(n^2) memory", section 2; Dao et al. 2022, "FlashAttention",
appendix B.2 for the reverse pass; the operator Scan of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset20
from torch import Tensor
from torch.onnx._internal.exporter._torchlib.ops.hop import call_op

from edgexf.bundle.graphs import PORTABLE
from edgexf.products import ROWS
from edgexf_exporters.trace import fused
from edgexf_exporters.trace.forms import current
from edgexf_exporters.trace.recurrent import FLOAT, Body

op: Any = opset20  # its types don't know the values of a translation
LEAST = torch.finfo(torch.float32).min  # hides a key that stands behind its query


def weights_of(query: Tensor, key: Tensor, first: int, causal: bool) -> Tensor:
    """The softmax weights of the queries from place `first` on, [batch, heads, queries, keys]."""
    scores = query @ key.transpose(-1, -2)
    if causal:
        places = torch.arange(first, first + query.shape[-2], device=query.device)
        scores = scores.where(places.unsqueeze(-1) >= torch.arange(key.shape[-2], device=query.device), LEAST)
    return scores.softmax(dim=-1)


def slices(length: int) -> Iterator[tuple[int, slice]]:
    """The first place of each slice, and the slice."""
    for first in range(0, length, ROWS):
        yield first, slice(first, first + ROWS)


@torch.library.custom_op("edgexf::sliced", mutates_args=())
def sliced(query: Tensor, key: Tensor, value: Tensor, causal: bool, masked: bool) -> Tensor:  # noqa: ARG001
    """Softmax(Q K^T) V, a slice of the queries at a time; Vaswani et al. 2017, eq. 1.

    Args:
        query: divided by the square root of the width of a head, [batch, heads, queries, width].
        key: [batch, heads, keys, width].
        value: [batch, heads, keys, value_width].
        causal: a query sees the keys up to its own place. Then there are as many keys as queries.
        masked: the last column of queries is 1, and that of keys is a mask that all heads share: 0 where a key is real.

    Returns the mixed values, [batch, heads, queries, value_width].
    """
    return torch.cat(
        [weights_of(query[:, :, part], key, first, causal) @ value for first, part in slices(query.shape[2])], dim=2
    )


@sliced.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, causal: bool, masked: bool) -> Tensor:  # noqa: ARG001
    return query.new_empty(*query.shape[:-1], value.shape[-1])


@torch.library.custom_op("edgexf::sliced_reverse", mutates_args=())
def sliced_reverse(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mixed: Tensor,
    causal: bool,
    masked: bool,
    of_scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `sliced`, which computes the weights of each slice again.

        dV = A^T g        dS = A * (g V^T - rowsum(g * mixed))        dQ = dS K        dK = dS^T Q

    Args:
        gradient: by the mixed values, [batch, heads, queries, value_width].
        query, key, value, causal, masked: as for `sliced`.
        mixed: what `sliced` answered.
        of_scores: whether anything reads the gradients by query and key. If not, both are empty.

    Returns the gradients by query, key and value. Those of a column for the mask are 0: nothing reads them.
    """
    by_query, by_key, by_value = [], torch.zeros_like(key), torch.zeros_like(value)
    for first, part in slices(query.shape[2]):
        rows, given = query[:, :, part], gradient[:, :, part]
        weights = weights_of(rows, key, first, causal)
        by_value += weights.transpose(-1, -2) @ given
        if of_scores:
            total = (given * mixed[:, :, part]).sum(dim=-1, keepdim=True)
            by_score = weights * (given @ value.transpose(-1, -2) - total)
            by_query.append(by_score @ key)
            by_key += by_score.transpose(-1, -2) @ rows
    if not of_scores:
        return query.new_empty(0), query.new_empty(0), by_value
    found = torch.cat(by_query, dim=2)
    if masked:
        found[..., -1], by_key[..., -1] = 0, 0
    return found, by_key, by_value


@sliced_reverse.register_fake
def _(_: Tensor, query: Tensor, key: Tensor, value: Tensor, *how: Any) -> Any:
    of_scores = how[-1]
    scored = (query, key) if of_scores else (query.new_empty(0), query.new_empty(0))
    return *map(torch.empty_like, scored), torch.empty_like(value)


def remember(ctx: Any, inputs: Any, output: Tensor) -> None:
    *tensors, ctx.causal, ctx.masked = inputs
    ctx.save_for_backward(*tensors, output)


def reverse(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None, None]:
    of_scores = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
    by_query, by_key, by_value = sliced_reverse(gradient, *ctx.saved_tensors, ctx.causal, ctx.masked, of_scores)
    return (by_query, by_key, by_value, None, None) if of_scores else (None, None, by_value, None, None)


sliced.register_autograd(reverse, setup_context=remember)


class Cut:
    """Cuts tensors [batch, heads, queries, width] into slices of queries, and puts them together again.

    A slice has at most as many queries as the form of the graph says, by default `ROWS`. All slices have one size, the least
    that so many slices allow: 513 queries are three slices of 171, not of 256. Zeros fill up the last one. Batch and heads are
    one axis inside a slice, since ONNX Runtime joins a transposition of the last two of three axes to a product.
    """

    def __init__(self, query: Any) -> None:
        self.query = query
        most = current().rows
        self.length = op.Shape(query, start=2, end=3)
        self.count = op.Div(op.Add(self.length, numbers(most - 1)), numbers(most))
        self.each = op.Div(op.Sub(op.Add(self.length, self.count), numbers(1)), self.count)
        self.rows = op.Mul(self.count, self.each)

    def apart(self, tokens: Any, width: int) -> Any:
        """[batch, heads, queries, width] -> [slices, batch * heads, slice, width]."""
        behind = op.Concat(numbers(0), op.Sub(self.rows, self.length), axis=0)
        shape = op.Concat(numbers(-1), self.count, self.each, numbers(width), axis=0)
        return op.Transpose(op.Reshape(op.Pad(tokens, behind, None, numbers(2)), shape), perm=[1, 0, 2, 3])

    def together(self, found: Any, width: int) -> Any:
        """[slices, batch * heads, slice, width] -> [batch, heads, queries, width]."""
        shape = op.Concat(op.Shape(self.query, start=0, end=2), self.rows, numbers(width), axis=0)
        rows = op.Reshape(op.Transpose(found, perm=[1, 0, 2, 3]), shape)
        return op.Slice(rows, numbers(0), self.length, numbers(2))

    def places(self) -> Any:
        """The place of each query, int64 [slices, slice, 1]."""
        every = op.Range(op.Constant(value_int=0), op.Squeeze(self.rows), op.Constant(value_int=1))
        return op.Reshape(every, op.Concat(self.count, self.each, numbers(1), axis=0))


def numbers(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def joined(tokens: Any) -> Any:
    """[batch, heads, tokens, width] -> [batch * heads, tokens, width]."""
    return op.Reshape(tokens, op.Concat(numbers(-1), op.Shape(tokens, start=2, end=4), axis=0))


def transposed(tokens: Any) -> Any:
    return op.Transpose(tokens, perm=[0, 2, 1])


class Weights:
    """The nodes that compute the weights of a slice, for the body of a Scan."""

    def __init__(self, key: Any, causal: bool) -> None:
        self.key = transposed(joined(key))  # [batch * heads, width, keys]
        self.causal = causal
        if causal:
            count = op.Squeeze(op.Shape(key, start=2, end=3))
            self.places = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
            self.least = op.Constant(value_float=LEAST)

    def within(self, body: Body, query: ir.Value, places: Sequence[ir.Value]) -> ir.Value:
        scores = body("MatMul", query, self.key)
        if self.causal:
            scores = body("Where", body("GreaterOrEqual", *places, self.places), scores, self.least)
        return body("Softmax", scores, axis=-1)


def scan(
    states: Sequence[Any], rows: Sequence[Any], places: Sequence[Any], count: int, step: Callable[..., Any]
) -> Any:
    """A Scan over the first axis of `rows` and `places`, which returns the last states and `count` results of each slice.

    `step` gets the body, and the states, a row and a place in it. It returns the next states and the results.
    """
    inside = [ir.Value(name=f"scan_state_{place}", type=FLOAT) for place in range(len(states))]
    inside += [ir.Value(name=f"scan_slice_{place}", type=FLOAT) for place in range(len(rows))]
    inside += [ir.Value(name="scan_places", type=ir.TensorType(ir.DataType.INT64)) for _ in places]
    body = Body()
    outputs = step(body, *inside)
    for place, output in enumerate(outputs):
        output.name, output.type = f"next_{place}", FLOAT
    graph = ir.Graph(inside, outputs, nodes=body.nodes, name="body")
    given = (*states, *rows, *places)
    taken = len(rows) + len(places)
    return call_op("Scan", *given, _num_outputs=len(states) + count, body=graph, num_scan_inputs=taken)


def onnx_sliced(query: Any, key: Any, value: Any, causal: bool, masked: bool) -> Any:
    """The translation of `sliced` in the form of the graph."""
    if current().ops == PORTABLE or causal or not masked:
        return by_slices(query, key, value, causal)
    return fused.if_all_real(
        key, lambda: fused.attention(query, key, value), lambda: by_slices(query, key, value, causal=False)
    )


def by_slices(query: Any, key: Any, value: Any, causal: bool) -> Any:
    cut, weights, values = Cut(query), Weights(key, causal), joined(value)

    def step(body: Body, rows: ir.Value, *places: ir.Value) -> Any:
        return [body("MatMul", weights.within(body, rows, places), values)]

    found = scan([], [cut.apart(query, query.shape[-1])], [cut.places()] if causal else [], 1, step)
    return cut.together(found[0], value.shape[-1])


def nothing_in(tokens: Any) -> Any:
    return op.Expand(op.Constant(value_float=0.0), op.Shape(tokens))


def onnx_sliced_reverse(
    gradient: Any, query: Any, key: Any, value: Any, mixed: Any, causal: bool, masked: bool, of_scores: bool
) -> Any:
    """The translation of `sliced_reverse`.

    An additional column of gradients and values subtracts the sum of each row within a product, as in
    `edgexf_exporters.explain.gradients.Mixed`. Sums over slices are [batch * heads, width, keys], so that each product transposes
    its smaller operand. For 32 columns that takes 0.8 of the time (4 heads, 241 queries, 4,097 keys, AVX2), for 64 the same.
    """
    cut, weights, places = Cut(query), Weights(key, causal), []
    if causal:
        places = [cut.places()]
    values = transposed(joined(value))  # [batch * heads, value_width, keys]
    rows, given = cut.apart(query, query.shape[-1]), cut.apart(gradient, value.shape[-1])
    if not of_scores:

        def value_step(body: Body, by_value: ir.Value, rows: ir.Value, given: ir.Value, *places: ir.Value) -> Any:
            share = weights.within(body, rows, places)
            return [body("Add", by_value, body("MatMul", body.transposed(given), share))]

        by_value = scan([nothing_in(values)], [rows, given], places, 0, value_step)[0]
        none = op.Constant(value_floats=[])
        return none, none, op.Reshape(transposed(by_value), op.Shape(value))
    width = query.shape[-1] - masked
    start, end, last = numbers(0), numbers(width), numbers(2)
    asked = op.Slice(key, start, end, numbers(3)) if masked else key
    keys = joined(asked)
    total = op.ReduceSum(op.Mul(gradient, mixed), numbers(-1))
    ones = op.Expand(op.Constant(value_float=1.0), op.Shape(op.Slice(values, numbers(0), numbers(1), numbers(1))))
    right = op.Concat(values, ones, axis=1)  # [batch * heads, value_width + 1, keys]

    def step(
        body: Body,
        by_key: ir.Value,
        by_value: ir.Value,
        rows: ir.Value,
        given: ir.Value,
        total: ir.Value,
        *places: ir.Value,
    ) -> Any:
        share = weights.within(body, rows, places)
        left = body("Concat", given, body("Neg", total), axis=-1)
        by_score = body("Mul", share, body("MatMul", left, right))
        asking = body("Slice", rows, start, end, last) if masked else rows
        return [
            body("Add", by_key, body("MatMul", body.transposed(asking), by_score)),
            body("Add", by_value, body("MatMul", body.transposed(given), share)),
            body("MatMul", by_score, keys),
        ]

    states = [nothing_in(transposed(keys)), nothing_in(values)]
    taken = [rows, given, cut.apart(total, 1)]
    by_key, by_value, by_query = scan(states, taken, places, 1, step)
    scored = cut.together(by_query, width), op.Reshape(transposed(by_key), op.Shape(asked))
    if masked:
        scored = tuple(op.Pad(one, numbers(0, 1), None, numbers(3)) for one in scored)
    return *scored, op.Reshape(transposed(by_value), op.Shape(value))


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.edgexf.sliced.default: onnx_sliced,
    torch.ops.edgexf.sliced_reverse.default: onnx_sliced_reverse,
}
