"""Give each weight one orientation and one name, the model's name, in all graphs of a bundle.

    before  model.onnx: val_108 [640, 128]      explain.onnx: Transpose(_param_constant3 [128, 640])
    after   model.onnx: mix.weight [640, 128]   explain.onnx: mix.weight [640, 128]

The exporter folds the transposition of a weight away in one graph and keeps it in another. Without this step the bundle
would store such a weight twice. The names help people who look into a graph, or who read what quantization did. A
weight that is stored transposed keeps its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.digest import SMALLEST, digest, digest_of
from edgexf.passes.linear import SWAP, untwist
from edgexf.passes.modules import MODULE

Floats = npt.NDArray[np.float32]


def canonical_weights(models: Mapping[str, ir.Model], named: Iterable[tuple[str, Floats]]) -> None:
    """Changes the graphs of `models` (path -> graph) in place. `named` are the parameters of the model."""
    called: dict[bytes, str] = {}
    for name, array in named:
        if array.ndim > 1 and array.dtype == np.float32:
            called.setdefault(digest_of(array), name)
            if array.ndim == 2:
                called.setdefault(digest_of(array.T), name)
    known: set[bytes] = set()
    for model in models.values():
        for value in list(model.graph.initializers.values()):
            turn(model.graph, value, known)
        untwist(model.graph)
        common.RemoveUnusedNodesPass()(model)
        for value in list(model.graph.initializers.values()):
            if matrix(value, 1):
                rename(model.graph, value, called.get(digest(value), ""))


def matrix(value: ir.Value, least: int = SMALLEST) -> bool:
    """Whether an initializer is a float32 tensor of two or more axes and at least `least` elements."""
    tensor = value.const_value
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) > 1 and tensor.size >= least


def turn(graph: ir.Graph, value: ir.Value, known: set[bytes]) -> None:
    """Stores a matrix transposed if an earlier graph stores the transposed matrix. `known` are the digests so far."""
    if not matrix(value) or len(value.const_value.shape) != 2:  # type: ignore[union-attr]
        return
    found = digest(value)
    array = value.const_value.numpy()  # type: ignore[union-attr]
    other = digest_of(array.T)
    if found in known or other not in known:
        known.add(found)
        return
    turned = np.ascontiguousarray(array.T)
    node = ir.node("Transpose", [value], attributes={"perm": SWAP})
    users = list(value.uses())
    places = {user.meta.get(MODULE) for user, _ in users if user is not node}
    if len(places) == 1 and None not in places:
        (node.meta[MODULE],) = places
    value.const_value = ir.tensor(turned, name=value.name)
    value.shape = ir.Shape(turned.shape)
    graph.insert_before(graph[0], node)
    for user, index in users:
        if user is not node:
            user.replace_input_with(index, node.outputs[0])


def rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Renames an initializer to `name`, unless `name` is empty or already in use."""
    taken = {one.name for node in graph for one in node.outputs} | {one.name for one in (*graph.inputs, *graph.outputs)}
    if name and name not in graph.initializers and name not in taken:
        del graph.initializers[value.name or ""]
        if value.const_value is not None:  # a new tensor: the old one may be a view of the exporter's tensor
            value.const_value = ir.tensor(value.const_value.numpy(), name=name)
        value.name = name
        graph.register_initializer(value)
