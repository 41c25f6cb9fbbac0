"""Whether each layer computes what its stored numbers say, on this machine, and whether those are its weight's.

In: a quantized graph, what the walk over it replaced, and inputs. Out: a `Check` for each weight, by digest.

    graph   x -> product(x, stored W) -> y      both shown
    numpy   y' = rounded(x) W'                  W' what the stored numbers stand for, by the formats' definitions

    error   |y - y'| / |y'|, norms over all rows
    apart   max |W - W'| in what the format's rounding leaves at most, half a step in 8 bits

Answers of the whole graph can't tell. With the scales of one weight moved on by an output, 2 of 38 weights of two trained
models in 8 bits, and 22 in 4, change an answer by more than the mode's tolerance; here all but two are seen, in which
neighbours have one scale. Kernels are the machine's own, so sums that saturate are seen too. Weights that are read whole,
lookups other than Gather's, and reverse passes are not compared; answers and relevance are what is measured of them.

Two alternatives were weighed. Tighter tolerances of answers would refuse good graphs, since rounding adds up with depth.
Running the whole graph in emulated arithmetic beside it agrees to 1e-6 in 4 bits, but in 8 bits a value half way between
two steps goes either way, and behind a few layers all others follow: 2e-2 for BERT's four layers, as much as rounding itself.
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
    """`error` of the worst use of a weight, None where no use could be compared, and how far `apart` its numbers are from it."""

    error: float | None
    apart: float


def check(model: ir.Model, replaced: Sequence[Replaced], scheme: Scheme, inputs: Iterable[Feeds]) -> dict[bytes, Check]:
    """The model's outputs are changed."""
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
    """The numbers of rows in the type that they are shown in, whichever they have."""
    cast = ir.node("Cast", [numbers], attributes={"to": ir.DataType.INT64})
    cast.outputs[0].name, cast.outputs[0].type = (
        f"rows_of_{numbers.name}_{len(graph)}",
        ir.TensorType(ir.DataType.INT64),
    )
    graph.append(cast)
    return cast.outputs[0]


def error_of(one: Replaced, scheme: Scheme, given: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]) -> float:
    """Of one use, from what it took and answered."""
    weight = scheme.stored(one.packed)
    if one.kind is Kind.ROWS:
        return difference(answer, weight[given])
    weight = (weight.T if one.turned else weight)[: given.shape[-1]]
    taken = scheme.roundings(one.packed, given, one.answer.producer())
    return min(difference(answer, rounded @ weight) for rounded in taken)


def difference(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """Relative; infinite for a value that is not finite, and for shapes that don't fit, up to axes that repeat."""
    if not np.isfinite(found).all() or found.shape[-wanted.ndim :] != wanted.shape:
        return float("inf")
    size = float(np.linalg.norm(np.broadcast_to(wanted, found.shape).astype(np.float64)))
    return float(np.linalg.norm(found.astype(np.float64) - wanted)) / max(size, float(np.finfo(np.float32).tiny))
