"""The additions and multiplications of a graph's matrix products, at given sizes of its inputs.

In: the bytes of an ONNX file, and sizes of the axes of its inputs. Out: a `Count` by kind of number.

    MatMul(x [batch*blocks, 64, 128], W [128, 512])  at batch 2, 5 blocks  ->  2 * 10 * 64 * 128 * 512 of float32

Nothing is multiplied: each node that a product depends on gets shapes, by the rules of the package onnx, and small constants
of whole numbers are computed on the way, since they are what shapes follow from. It takes some 20 ms for a graph of 500 nodes.

Three alternatives were weighed. The shapes of torch's trace are expressions of sizes, and a product of them is a formula at
once. But the graph that a device runs has other nodes than the trace (products that were joined, padded at the edges or
quantized), a device quantizes without torch, and sympy would have to be told what a block is. A profiled run counts what ONNX
Runtime does, and takes weights in memory, and a run at the longest length. ONNX's inference over a whole graph does not follow
sizes through divisions and comparisons.

What is counted is what the graph says, before ONNX Runtime changes it. It drops no product that an answer needs, so these are
the necessary operations; a product of constants alone, which it computes once beforehand, is left out here too. A product
between dequantized bytes counts as one of bytes, since the graph lets a device multiply the bytes, and a floor holds for the
fastest way. ONNX Runtime 1.32 goes another way where it joins such a product of matrices and a sum to a Gemm of floats, as in
the explain graph of the dtype int8: there a profile counts as many operations, and all in float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, NodeProto, TypeProto, defs, helper, numpy_helper, shape_inference
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

from edgexf.products import IN_BYTES, INTEGERS, Count, multiplications, multiplies

Sizes = Mapping[str, int]
Array = npt.NDArray[Any]
SMALL = 64  # numbers of a constant that shapes may follow from
# Operators that compute sizes out of sizes.
SIZES = {
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
CONTRIB = "com.microsoft"
DEQUANTIZE = "DequantizeLinear"
# ONNX Runtime's names of element types where they differ from those of onnx, and of kinds of numbers with one rate each.
KINDS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.UINT8: INTEGERS,
    onnx.TensorProto.INT8: INTEGERS,
}


class Products:
    """The products of a graph.

    Attributes:
        graph: the graph.
        axes: the names of the axes of its inputs.
        nodes: the nodes that its products depend on, in order, and the products.
    """

    def __init__(self, data: bytes) -> None:
        model = onnx.load_model_from_string(data)
        self.model = inline_local_functions(model) if model.functions else model
        self.graph = self.model.graph
        self.imports = list(self.model.opset_import)
        dimensions = [axis for given in self.graph.input for axis in given.type.tensor_type.shape.dim]
        self.axes = tuple(dict.fromkeys(axis.dim_param for axis in dimensions if axis.dim_param))
        self.nodes = needed(self.graph)
        self.small = {
            tensor.name: tensor
            for tensor in self.graph.initializer
            if prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL
        }
        self.constants = {
            tensor.name: helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
            for tensor in self.graph.initializer
        }
        self.schema = cache(self._schema)
        self.computing: dict[tuple[int, ...], ReferenceEvaluator] = {}

    def _schema(self, operator: str, domain: str) -> defs.OpSchema | None:
        """The rules of an operator in the graph's opset; None for one that the package onnx does not know."""
        version = next((one.version for one in self.imports if one.domain == domain), 0)
        known = defs.has(operator, max_inclusive_version=version, domain=domain)
        return defs.get_schema(operator, version, domain) if known else None

    def count(self, sizes: Sizes) -> Count:
        """Counts where the axes have these sizes. KeyError for an axis without a size."""
        tally = Tally(self, sizes)
        tally.run(self.nodes)
        return Count(dict(tally.found), tuple(tally.uncounted))

    @property
    def loops(self) -> bool:
        """Whether products are in the body of a loop."""
        return any(map(hides, self.nodes))

    @property
    def between_bytes(self) -> set[str]:
        """The values that are dequantized bytes. A product of two of them may be one of the bytes."""
        return {name for node in self.nodes if node.op_type == DEQUANTIZE for name in node.output}


class Tally:
    """Counts the products of nodes in their order, also of the body of a Scan, once for each of its steps.

    Attributes:
        found: the additions and multiplications by kind of number.
        uncounted: the operators whose products nobody can count.
    """

    def __init__(self, of: Products, sizes: Sizes) -> None:
        self.shapes = Shapes(of, sizes)
        self.fixed = set(of.constants)
        self.bytes = of.between_bytes
        self.found = Counter[str]()
        self.uncounted: dict[str, None] = {}

    def run(self, nodes: Sequence[NodeProto], times: int = 1, within: tuple[int, ...] = ()) -> None:
        """Counts `nodes`, which run this many times; `within` are the places of the nodes whose body holds them."""
        for place, node in enumerate(nodes):
            self.forget(node)
            self.shapes.step((*within, place), node)
            if self.fixed.issuperset(name for name in (*node.input, *captured(node)) if name):
                self.fixed.update(node.output)
            elif node.op_type == "If" and hides(node):
                self.either(node, times, (*within, place))
            elif hides(node):
                self.loop(node, times, (*within, place))
            elif multiplies(node.op_type):
                self.add(node, times)

    def forget(self, node: NodeProto) -> None:
        """Forgets values of the names that a node gives: the branches of an If may use the same ones."""
        self.fixed.difference_update(node.output)
        for name in node.output:
            self.shapes.types.pop(name, None)
            self.shapes.values.pop(name, None)

    def add(self, node: NodeProto, times: int) -> None:
        needs = self.shapes.multiplications(node)
        if needs is None:
            self.uncounted[node.op_type] = None
            return
        whole = node.op_type in IN_BYTES or (len(node.input) > 1 and self.bytes.issuperset(node.input[:2]))
        self.found[INTEGERS if whole else self.shapes.kind(node)] += 2 * needs * times

    def either(self, node: NodeProto, times: int, within: tuple[int, ...]) -> None:
        """Counts the branch of an If that needs fewer operations: whatever decides, no answer can do with less."""
        before, unknown, found = self.found, self.uncounted, []
        for place, body in enumerate(bodies_of(node)):
            self.found, self.uncounted = Counter(), {}
            self.run(body.node, times, (*within, place))
            found.append((self.found, self.uncounted))
            self.shapes.follow(node, body)
        least, lacking = min(
            found, key=lambda branch: (len(branch[1]), branch[0].total())
        )  # a counted one, if there is one
        self.found, self.uncounted = before + least, {**unknown, **lacking}

    def loop(self, node: NodeProto, times: int, within: tuple[int, ...]) -> None:
        """Counts the body of a Scan over the first axes of its inputs; other loops are named as uncounted."""
        steps = self.shapes.enter(node)
        if steps is None:
            self.uncounted[node.op_type] = None
            return
        body = body_of(node)
        self.run(body.node, times * steps, within)
        self.shapes.leave(node, steps)


class Shapes:
    """The types and shapes of values of a graph at some sizes, as far as they are known.

    Attributes:
        types: by the name of a value; each size in them is a number.
        values: the values themselves, of those that are small and follow from constants and sizes alone.
    """

    def __init__(self, of: Products, sizes: Sizes) -> None:
        self.of = of
        self.types = dict(of.constants)
        self.values = dict(of.small)
        for given in of.graph.input:
            tensor = given.type.tensor_type
            shape = [sizes[axis.dim_param] if axis.dim_param else axis.dim_value for axis in tensor.shape.dim]
            self.types[given.name] = helper.make_tensor_type_proto(tensor.elem_type, shape)

    def step(self, place: tuple[int, ...], node: NodeProto) -> None:
        """Finds out about the outputs of a node, whose place in the graph is `place`."""
        if node.op_type == "Shape":
            shape = self.shape(node.input[0])
            if shape is not None:
                self.keep(node.output[0], np.array(shape[number(node, "start", 0) : number(node, "end", len(shape))]))
            return
        self.types.update(self.inferred(node))
        if (
            node.op_type in SIZES
            and self.values.keys() >= set(filter(None, node.input))
            and all(is_small(self.shape(name)) for name in node.output)
        ):
            if place not in self.of.computing:
                self.of.computing[place] = ReferenceEvaluator(node)
            given = {name: numpy_helper.to_array(self.values[name]) for name in node.input if name}
            for name, value in zip(node.output, self.of.computing[place].run(None, given), strict=True):
                self.keep(name, np.asarray(value))

    def enter(self, node: NodeProto) -> int | None:
        """Gives the inputs of a Scan's body their types. Returns the number of steps; None for other loops, and without shapes."""
        if node.op_type != "Scan" or any(
            one.name.endswith(("_axes", "_directions")) and any(one.ints) for one in node.attribute
        ):
            return None
        shapes = [self.shape(name) for name in node.input]
        if any(shape is None for shape in shapes):
            return None
        states = len(node.input) - number(node, "num_scan_inputs", 0)
        for place, (inner, name) in enumerate(zip(body_of(node).input, node.input, strict=True)):
            shape = shapes[place] or []
            element = self.types[name].tensor_type.elem_type
            self.types[inner.name] = helper.make_tensor_type_proto(element, shape if place < states else shape[1:])
        return (shapes[states] or [0])[0]

    def leave(self, node: NodeProto, steps: int) -> None:
        """Gives the outputs of a Scan their types: its states, and what each step gives."""
        states = len(node.input) - number(node, "num_scan_inputs", 0)
        for place, (inner, name) in enumerate(zip(body_of(node).output, node.output, strict=True)):
            shape = self.shape(inner.name)
            if shape is not None:
                element = self.types[inner.name].tensor_type.elem_type
                self.types[name] = helper.make_tensor_type_proto(element, shape if place < states else [steps, *shape])

    def follow(self, node: NodeProto, body: GraphProto) -> None:
        """Gives the outputs of an If the types of a branch."""
        for inner, name in zip(body.output, node.output, strict=True):
            if inner.name in self.types:
                self.types[name] = self.types[inner.name]

    def keep(self, name: str, value: Array) -> None:
        self.values[name] = tensor = numpy_helper.from_array(value)
        self.types[name] = helper.make_tensor_type_proto(tensor.data_type, value.shape)

    def inferred(self, node: NodeProto) -> dict[str, TypeProto]:
        """The types of a node's outputs, by the rules of the package onnx; empty where they do not say.

        Rules read the values of small constants, such as the shape of a Reshape.
        """
        if node.domain == CONTRIB:
            return self.of_contrib(node)
        schema = self.of.schema(node.op_type, node.domain)
        if schema is None or not self.types.keys() >= set(filter(None, node.input)):
            return {}  # a product behind it is not counted, and named
        types = {name: self.types[name] for name in node.input if name}
        small = {name: self.values[name] for name in node.input if name in self.values}
        try:
            return shape_inference.infer_node_outputs(
                schema, node, types, small, opset_imports=self.of.imports, ir_version=self.of.model.ir_version
            )
        except shape_inference.InferenceError:
            return {}  # behind a shape that is not known

    def of_contrib(self, node: NodeProto) -> dict[str, TypeProto]:
        """The types of operators of ONNX Runtime's own: those that unpack weights (`edgexf.passes.quantize.blockwise`), and
        attention on tokens [batch, tokens, width].
        """
        if node.op_type == "MatMulNBits":
            shape, kind = self.shape(node.input[0]), node.input[0]
            found = None if shape is None else [*shape[:-1], number(node, "N", 0)]
        elif node.op_type == "GatherBlockQuantized":
            table, rows, kind = self.shape(node.input[0]), self.shape(node.input[1]), node.input[2]
            packed = 8 // number(node, "bits", 4)
            found = None if table is None or rows is None else [*rows, table[-1] * packed]
        elif node.op_type == "MultiHeadAttention":
            query, value, kind = self.shape(node.input[0]), self.shape(node.input[2]), node.input[0]
            found = None if query is None or value is None else [*query[:-1], value[-1]]
        else:
            return {}
        if found is None or kind not in self.types:
            return {}
        return {node.output[0]: helper.make_tensor_type_proto(self.types[kind].tensor_type.elem_type, found)}

    def shape(self, name: str) -> list[int] | None:
        """The shape of a value; None where it, or a size in it, is not known."""
        if name not in self.types or not self.types[name].tensor_type.HasField("shape"):
            return None
        axes = self.types[name].tensor_type.shape.dim
        return [axis.dim_value for axis in axes] if all(axis.HasField("dim_value") for axis in axes) else None

    def kind(self, node: NodeProto) -> str:
        """The kind of number that a product reads."""
        element: int = self.types[node.input[0]].tensor_type.elem_type
        return KINDS.get(element) or str(helper.tensor_dtype_to_string(element)).rpartition(".")[2].lower()

    def multiplications(self, node: NodeProto) -> int | None:
        """Those of a product; None where nobody can count them."""
        inputs = [self.shape(name) for name in node.input if name]
        outputs = [self.shape(name) for name in node.output if name]
        if None in inputs or None in outputs[:1]:
            return None
        equation = next((one.s.decode() for one in node.attribute if one.name == "equation"), "")
        return multiplications(node.op_type, inputs, outputs, equation)  # type: ignore[arg-type]  # checked above


def needed(graph: GraphProto) -> list[NodeProto]:
    """The products of a graph and the nodes that they depend on, in order."""
    wanted, found = set[str](), []
    for node in reversed(graph.node):
        if multiplies(node.op_type) or hides(node) or not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update((*node.input, *captured(node)))
    return found[::-1]


def body_of(node: NodeProto) -> GraphProto:
    """The graph inside a node."""
    return bodies_of(node)[0]


def bodies_of(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node."""
    return [one.g for one in node.attribute if one.HasField("g")]


def captured(node: NodeProto) -> list[str]:
    """The values of outer graphs that the graphs inside a node read."""
    found = []
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            own = {one.name for one in (*body.input, *body.initializer)} | {
                name for inner in body.node for name in inner.output
            }
            read = [name for inner in body.node for name in (*inner.input, *captured(inner))]
            found += [name for name in (*read, *(one.name for one in body.output)) if name and name not in own]
    return found


def hides(node: NodeProto) -> bool:
    """Whether a node holds a graph with products, such as the body of a loop."""
    return any(
        multiplies(inner.op_type) or hides(inner)
        for attribute in node.attribute
        for body in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
        for inner in body.node
    )


def number(node: NodeProto, name: str, usual: int) -> int:
    return next((one.i for one in node.attribute if one.name == name), usual)


def is_small(shape: Sequence[int] | None) -> bool:
    return shape is not None and prod(shape) <= SMALL
