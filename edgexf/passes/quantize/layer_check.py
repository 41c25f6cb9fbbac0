"""Check on this machine that each layer computes what its stored numbers say, and that these fit the layer's weight.

In: a quantized graph, what the walk over it replaced, and inputs. Out: a `Check` for each weight, by digest.

    graph   x -> product(x, stored W) -> y      x and y are outputs of the graph
    numpy   y' = rounded(x) W'                  W': the values of the stored numbers, by the formats' definitions

    error   |y - y'| / |y'|, norms over all rows
    apart   max |W - W'| in units of the most that the format's rounding leaves, which is half a step in 8 bits

The outputs of the whole graph hide many faults. As a trial, the scales of one weight at a time were shifted by one
output, for 38 weights of two trained models. 2 of these faults in 8 bits, and 22 in 4 bits, change an output by more
than the mode's tolerance. This check sees all but two faults; in those two weights neighbours have the same scale.

The graph runs with the kernels of this machine, so the check also sees sums that saturate. It does not compare weights
that are read whole, lookups by operators other than Gather, and reverse passes. For these, outputs and relevance of the
whole graph are measured.

Two alternatives were weighed. Tighter tolerances of outputs would refuse good graphs, since rounding adds up with
depth. The whole graph could also run in emulated arithmetic for comparison. In 4 bits the two agree to 1e-6. In 8 bits
a value half way between two steps goes either way, and behind a few layers all other values follow: 2e-2 for the four
layers of BERT, as much as rounding itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgexf.passes.quantize.observe import AT_ONCE, Feeds, answering
from edgexf.passes.quantize.walk import Replaced, Scheme
from edgexf.passes.quantize.weights import Kind


@dataclass(frozen=True)
class Check:
    """What was found about a weight.

    Attributes:
        error: the relative error of its worst use; None if no use could be compared.
        apart: the largest distance of its stored numbers from the weight, in units of the most that rounding leaves.
    """

    error: float | None
    apart: float


def check(model: ir.Model, replaced: Sequence[Replaced], scheme: Scheme, inputs: Iterable[Feeds]) -> dict[bytes, Check]:
    """Compares every use in `replaced` over the `inputs`. Adds nodes and outputs to the model."""
    uses = [
        (one, one.given if one.kind is Kind.PRODUCT else whole(model.graph, one.given))
        for one in replaced
        if one.given is not None and one.given.const_value is None
    ]
    taken = {value.name or "" for _, value in uses if not value.is_graph_input()}
    session = answering(model, taken | {one.answer.name or "" for one, _ in uses})
    errors: dict[bytes, list[float]] = {}
    for feeds in inputs:
        for start in range(0, len(uses), AT_ONCE):
            part = uses[start : start + AT_ONCE]
            names = {name for one, given in part for name in (given.name or "", one.answer.name or "")}
            made = sorted(names - set(feeds))
            arrays = {**feeds, **dict(zip(made, session.run(made, dict(feeds)), strict=True))}
            for one, given in part:
                error = error_of(one, scheme, arrays[given.name or ""], arrays[one.answer.name or ""])
                errors.setdefault(one.digest, []).append(error)
    stored = {one.digest: one for one in replaced}
    apart = {digest: scheme.apart(one.packed, one.array) / scheme.nearest for digest, one in stored.items()}
    return {digest: Check(max(errors.get(digest, []), default=None), far) for digest, far in apart.items()}


def whole(graph: ir.Graph, numbers: ir.Value) -> ir.Value:
    """The row numbers of a lookup, cast to int64: the type in which the graph outputs them."""
    cast = ir.node("Cast", [numbers], attributes={"to": ir.DataType.INT64})
    cast.outputs[0].name, cast.outputs[0].type = (
        f"rows_of_{numbers.name}_{len(graph)}",
        ir.TensorType(ir.DataType.INT64),
    )
    graph.append(cast)
    return cast.outputs[0]


def error_of(one: Replaced, scheme: Scheme, given: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]) -> float:
    """The relative error of one use from its input and its output, for the rounding that fits best."""
    weight = scheme.stored(one.packed)
    if one.kind is Kind.ROWS:
        return difference(answer, weight[given])
    weight = (weight.T if one.turned else weight)[: given.shape[-1]]
    taken = scheme.roundings(one.packed, given, one.answer.producer())
    return min(difference(answer, rounded @ weight) for rounded in taken)


def difference(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """The relative difference; infinite for a value that is not finite, and for shapes that do not fit.

    `found` may have further axes in front, along which `wanted` repeats.
    """
    if not np.isfinite(found).all() or found.shape[-wanted.ndim :] != wanted.shape:
        return float("inf")
    size = float(np.linalg.norm(np.broadcast_to(wanted, found.shape).astype(np.float64)))
    return float(np.linalg.norm(found.astype(np.float64) - wanted)) / max(size, float(np.finfo(np.float32).tiny))
