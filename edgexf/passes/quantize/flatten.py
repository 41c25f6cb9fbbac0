"""Write weights of three and more axes as matrices, which a scheme stores like any other weight.

    before  MatMul(x, W [heads, width, inputs])
    after   MatMul(x, Reshape(W [heads * width, inputs]))

A Longformer multiplies its global queries by such weights. A projection that hashes, as in a Reformer, is left alone:
the signs of its products choose a bucket, and a rounded weight may turn them. Such a weight is told by the predict
graph: a discrete choice lies behind it. An explain graph chooses its target behind every weight, so it flattens what the
predict graph does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.digest import SMALLEST, digest
from edgexf.passes.modules import place_around
from edgexf.passes.rewriter import Rewriter

TAKERS = {"MatMul", "Expand"}  # operators that take such a weight as a product does
DISCRETE = {
    "ArgMax", "ArgMin", "TopK", "Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Floor", "Ceil", "Round",
}  # fmt: skip


@dataclass
class FlattenWeights(ir.passes.InPlacePass):
    """Flattens the weights of one graph.

    Attributes:
        flat: the digests of the weights to flatten; the predict graph, which comes first, adds them.
        first: whether this is the predict graph.
    """

    flat: set[bytes] = field(default_factory=set)
    first: bool = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        weights = list(weights_of_many_axes(model.graph))
        if self.first:
            chosen_by = before_choices(model.graph)
            self.flat |= {digest(value) for value in weights if value not in chosen_by}
        found = [value for value in weights if digest(value) in self.flat]
        graph = Rewriter(model)
        for value in found:
            flatten(graph, value)
        if found:
            common.TopologicalSortPass()(model)
        return ir.passes.PassResult(model, modified=bool(found))


def weights_of_many_axes(graph: ir.Graph) -> Iterator[ir.Value]:
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST or len(tensor.shape) < 3:
            continue
        users = [node for node, _ in value.uses()]
        if users and all(node.op_type in TAKERS and node.graph is graph for node in users):
            yield value


def before_choices(graph: ir.Graph) -> set[ir.Value]:
    """All values on which a discrete choice in the graph depends."""
    found: set[ir.Value] = set()
    waiting = [value for node in graph if node.op_type in DISCRETE for value in node.inputs if value is not None]
    while waiting:
        value = waiting.pop()
        if value in found:
            continue
        found.add(value)
        maker = value.producer()
        waiting += [] if maker is None else [taken for taken in maker.inputs if taken is not None]
    return found


def flatten(graph: Rewriter, value: ir.Value) -> None:
    """Replaces a weight by a matrix of its last axis, and a Reshape."""
    graph.place = place_around(node for node, _ in value.uses())
    array = value.const_value.numpy()  # type: ignore[union-attr]
    matrix = graph.constant(f"{value.name}_flat", array.reshape(-1, array.shape[-1]))
    shape = graph.constant(f"{value.name}_shape", np.array(array.shape, np.int64))
    ir.convenience.replace_all_uses_with(value, graph.node("Reshape", matrix, shape))
    del graph.graph.initializers[value.name or ""]
