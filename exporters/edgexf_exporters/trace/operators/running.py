"""Running values along an axis: cummax, cummin, cumprod, logcumsumexp.

In: a tensor and an axis. Out: the operator of PyTorch, values and places.

    running maximum   x[i] = max(x[i], x[max(i - 1, 0)]), then with 2, 4, 8, ... in place of 1

After the step of 2^k, an entry is the maximum of up to 2^(k+1) entries. So the largest length takes log2 of it steps over
the whole tensor, and no loop. The steps that a free length may need follow from the bound of the length. Sums in the
exponent take the same steps. A product of floats does not: the product of some middle entries may be infinite where no
running product is. It is a Scan, entry by entry.
Source: Hillis and Steele 1986, "Data parallel algorithms".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18
from torch import SymInt, Tensor
from torch.onnx._internal.exporter._torchlib.ops.hop import call_op

from edgexf_exporters.trace.operators.likelihood import logaddexp

aten = torch.ops.aten
op: Any = opset18  # its types don't follow what a node answers
UNBOUNDED = 1 << 24  # the largest length where none is known


def largest(length: int | SymInt) -> int:
    """The largest value of a size."""
    if isinstance(length, int):
        return length
    bound = length.node.shape_env.bound_sympy(length.node.expr).upper
    return int(bound) if bound.is_Integer else UNBOUNDED


def steps(values: Tensor, axis: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For 1, 2, 4, ...: the places so far before each place, at least 0; and whether a place has none, to broadcast."""
    length = values.shape[axis]
    places = torch.arange(length)
    step = 1
    while step < largest(length):
        before = places - step
        yield before.clamp(min=0), (before < 0).reshape([-1] + [1] * (values.ndim - 1 - axis))
        step *= 2


def running(values: Tensor, axis: int, best: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The best entry so far."""
    for before, _ in steps(values, axis):
        values = best(values, values.index_select(axis, before))
    return values


def best_so_far(best: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """Makes `cummax` from the maximum, `cummin` from the minimum. The place is the last one among equals."""

    def function(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        if x.ndim == 0:
            return x.clone(), torch.zeros((), dtype=torch.int64)
        axis, kind = dim % x.ndim, x.dtype
        wide = x if x.is_floating_point() or kind == torch.int64 else x.to(torch.int64)
        values = running(wide, axis, best)
        record = (wide == values) | (wide != wide)
        places = torch.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - 1 - axis))
        found = running(torch.where(record, places, torch.zeros_like(places)), axis, torch.maximum)
        return values.to(kind), found

    return function


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    if x.ndim == 0:
        return x.clone()
    axis = dim % x.ndim
    for before, none in steps(x, axis):
        earlier = x.index_select(axis, before)
        x = logaddexp(x, torch.where(none, torch.full_like(earlier, -math.inf), earlier))
    return x


def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Products of integers, which wrap in any order. A product of floats has a translation."""
    kind = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    if kind.is_floating_point:
        if x.dtype == kind and dtype is None:
            return NotImplemented
        return aten.cumprod.default(x.to(kind), dim)
    axis, products = dim % max(x.ndim, 1), x.to(torch.int64)
    for before, none in steps(products, axis) if x.ndim else ():
        earlier = products.index_select(axis, before)
        products = products * torch.where(none, torch.ones_like(earlier), earlier)
    return products.to(kind)


def cumprod_in_onnx(x: Any, dim: int, dtype: int = -1) -> Any:
    """`cumprod` of floats in ONNX."""
    del dtype  # `cumprod` has cast
    axis = dim % len(x.shape)
    kind = ir.TensorType(x.dtype)
    across = ir.Shape([size for place, size in enumerate(x.shape) if place != axis])
    state, entry = (ir.Value(name=name, shape=across, type=kind) for name in ("product", "entry"))
    product = ir.Node("", "Mul", [state, entry])
    given = ir.Node("", "Identity", [product.outputs[0]])
    for name, node in (("next_product", product), ("given", given)):
        node.outputs[0].name, node.outputs[0].type = name, kind
    one = op.CastLike(op.Constant(value_float=1.0), x)
    first = op.Shape(op.Gather(x, op.Constant(value_int=0), axis=axis))
    found = call_op(
        "Scan",
        op.Expand(one, first),
        x,
        _num_outputs=2,
        body=ir.Graph([state, entry], [product.outputs[0], given.outputs[0]], nodes=[product, given], name="body"),
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_output_axes=[axis],
    )
    return found[1]


OPERATORS: dict[Any, Callable[..., Any]] = {
    aten.cummax.default: best_so_far(torch.maximum),
    aten.cummin.default: best_so_far(torch.minimum),
    aten.logcumsumexp.default: logcumsumexp,
    aten.cumprod.default: cumprod,
}
TRANSLATIONS: dict[Any, Callable[..., Any]] = {aten.cumprod.default: cumprod_in_onnx}
