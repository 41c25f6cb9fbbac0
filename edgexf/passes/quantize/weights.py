"""Find the weights of a graph that are worth storing in fewer bits, and how the graph uses each of them.

In: an onnx_ir model whose linear layers are products (`edgexf.passes.linear`). Out: `Weight`s with their `Use`s.

    MatMul(x, W)                     a product: W [inputs, outputs], a scale for each output (axis 1)
    MatMul(x, Transpose(V))          a product: V [outputs, inputs], a scale for each output (axis 0)
    MatMul(x, Slice(W))              a product by the first rows of W (Linformer's projections), axis 1
    MatMul(x, Expand(W))             a product by W, which is repeated for each sample, axis 1
    Gather(V, ids), Slice(V)         rows of a table: a scale for each row (axis 0)
    anything else, such as           a read of the whole weight, which is converted back to float32
    MatMul(g, Transpose(W)) where
    W is a product elsewhere

The last case is the reverse pass of an explanation. It multiplies by the transposed weight, so the scales lie along the
sum, and no integer product can apply them. Gradients also differ by orders of magnitude from token to token, which no
single integer range holds. The reverse pass therefore reads the same stored weight, and computes in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir as ir

from edgexf.passes.digest import SMALLEST, digest
from edgexf.passes.linear import swapped

LARGEST_VALUE = 1e4  # of a weight; larger values are those of a mask
PICKS = ("Gather", "GatherND", "Slice")
READERS = {"MatMul", "Transpose", "Conv", "ConvTranspose", "Einsum", *PICKS}
SCALED = ("Conv", "ConvTranspose")  # they read the whole weight, with a scale for each row


class Kind(Enum):
    """What a node does with a weight."""

    PRODUCT = "product"
    ROWS = "rows"
    READ = "read"


@dataclass(frozen=True)
class Use:
    """A use of a weight by a node.

    Attributes:
        kind: what the node does with the weight.
        node: the node that takes the weight; for a product, the node that multiplies.
        index: the number of the node's input.
        axis: the axis of the weight along which its scales must lie for this use; None for a read.
        path: for a product, the nodes that move the weight before the product takes it, in order.
    """

    kind: Kind
    node: ir.Node
    index: int
    axis: int | None = None
    path: tuple[ir.Node, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the node takes the whole weight, perhaps transposed or repeated."""
        return all(swapped(step) or step.op_type == "Expand" for step in self.path)


@dataclass(frozen=True)
class Weight:
    """A float32 initializer of two axes or more, with its uses."""

    value: ir.Value
    digest: bytes
    uses: tuple[Use, ...]

    @property
    def name(self) -> str:
        return self.value.name or ""

    @property
    def array(self) -> np.ndarray:
        return np.asarray(self.value.const_value.numpy())  # type: ignore[union-attr]

    @property
    def axis(self) -> int:
        """The axis of the scales: a table's rows, or a layer's outputs. Lookups decide before products, then reads."""
        first = [use.axis for use in self.uses if use.kind is Kind.ROWS]
        then = [use.axis for use in self.uses if use.kind is Kind.PRODUCT]
        for axis in (*first, *sorted(then, key=lambda axis: axis != 1)):
            if axis is not None:
                return axis
        return 0 if any(use.node.op_type in SCALED for use in self.uses) else 1


def find(graph: ir.Graph) -> tuple[list[Weight], dict[str, str]]:
    """The weights in the graph's order; and by name, why other float32 initializers of their size are no weights."""
    found, skipped = [], {}
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
            continue
        reason = unfit(value, graph)
        if reason:
            skipped[value.name or ""] = reason
        else:
            found.append(Weight(value, digest(value), tuple(uses_of(value))))
    return found, skipped


def unfit(value: ir.Value, graph: ir.Graph) -> str:
    """Why a large constant is no weight; empty for a weight."""
    users = {node.op_type for node, _ in value.uses()}
    array = value.const_value.numpy()  # type: ignore[union-attr]
    if any(node.graph is not graph for node, _ in value.uses()):
        return "is read inside a branch or a loop"
    if not users & READERS and not (users <= {"Reshape", "Expand"} and array.ndim == 2):
        return f"is read by {', '.join(sorted(users)) or 'nothing'}, not by a layer or a lookup"
    if array.ndim > 2 and not users & set(SCALED):
        return f"has {array.ndim} axes, and may be a projection that hashes, whose signs must not change"
    if array.ndim < 2:
        return "is a vector"
    if not np.isfinite(array).all() or np.abs(array).max() > LARGEST_VALUE:
        return "holds values of a mask"
    return ""


def uses_of(value: ir.Value) -> Iterator[Use]:
    for node, index in value.uses():
        yield from use_of(node, index, len(value.const_value.shape))  # type: ignore[union-attr]


def use_of(node: ir.Node, index: int, axes: int) -> Iterator[Use]:
    """The uses of a weight by a node; several if several products take the moved weight."""
    if node.op_type == "MatMul" and index == 1 and axes == 2:
        yield Use(Kind.PRODUCT, node, index, axis=1)
    elif index == 0 and axes == 2 and (gathers_rows(node) or whole_rows(node)):
        yield Use(Kind.ROWS, node, index, axis=0)
    elif swapped(node) and all(user.op_type == "MatMul" and place == 1 for user, place in node.outputs[0].uses()):
        yield from (Use(Kind.PRODUCT, user, place, 0, (node,)) for user, place in node.outputs[0].uses())
    elif index == 0 and axes == 2 and slices_rows(node):
        yield from sliced(node)
    elif index == 0 and axes == 2 and node.op_type == "Expand":
        yield from repeated(node)
    else:
        yield Use(Kind.READ, node, index)


def sliced(node: ir.Node) -> Iterator[Use]:
    """The uses of a Slice of a weight: products, perhaps of a repeated weight; without a product, rows of a table."""
    paths = list(followed(node.outputs[0], (node,)))
    products = [
        Use(Kind.PRODUCT, user, place, 1, path) for user, place, path in paths if (user.op_type, place) == ("MatMul", 1)
    ]
    if not products:
        yield Use(Kind.ROWS, node, 0, axis=0)
        return
    yield from products
    if len(products) < len(paths):
        yield Use(Kind.READ, node, 0)


def repeated(node: ir.Node) -> Iterator[Use]:
    """The uses of a weight that is repeated for each sample: products, or one read if a node does something else."""
    paths = list(followed(node.outputs[0], (node,)))
    if all((user.op_type, place) == ("MatMul", 1) for user, place, _ in paths):
        yield from (Use(Kind.PRODUCT, user, place, 1, path) for user, place, path in paths)
    else:
        yield Use(Kind.READ, node, 0)


def followed(value: ir.Value, path: tuple[ir.Node, ...]) -> Iterator[tuple[ir.Node, int, tuple[ir.Node, ...]]]:
    """The nodes that use a moved weight, behind Expand nodes; each with its input number and the path to it."""
    for user, place in value.uses():
        if user.op_type == "Expand" and place == 0:
            yield from followed(user.outputs[0], (*path, user))
        else:
            yield user, place, path


def gathers_rows(node: ir.Node) -> bool:
    axis = node.attributes.get("axis")
    return node.op_type == "Gather" and (axis is None or axis.as_int() == 0)


def whole_rows(node: ir.Node) -> bool:
    """Whether each index of a GatherND names a row: no batch axes, and the last axis of the indices has size 1."""
    if node.op_type != "GatherND":
        return False
    batched = node.attributes.get("batch_dims")
    maker = node.inputs[1].producer() if node.inputs[1] is not None else None
    if maker is None or maker.op_type != "Unsqueeze" or (batched is not None and batched.as_int() != 0):
        return False
    axes = maker.inputs[1].const_value if maker.inputs[1] is not None else None
    return axes is not None and axes.numpy().tolist() == [-1]


def slices_rows(node: ir.Node) -> bool:
    """Whether a Slice takes consecutive rows."""
    if node.op_type != "Slice":
        return False
    axes = node.inputs[3].const_value if len(node.inputs) > 3 and node.inputs[3] is not None else None
    return axes is not None and axes.numpy().tolist() == [0] and (len(node.inputs) < 5 or constant_one(node.inputs[4]))


def constant_one(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and value.const_value.numpy().tolist() == [1]
