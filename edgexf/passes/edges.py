"""Pad token inputs to whole blocks at the start of a graph, and crop token outputs at its end.

    before  input_ids [batch, blocks, 64]                      -> ... -> relevance [batch, 64*blocks]
    after   input_ids [batch, sequence] -> Pad, Reshape        -> ... -> Slice -> relevance [batch, sequence]

Some models change their attention with the length. Such a model gets two blocks of half the length instead, up to a
length that is called `switch`. Padded tokens have `attention_mask` 0 or less, so they do not change the outputs of a
model that masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgexf import names

Axes = tuple[int | str, ...]


@dataclass(frozen=True)
class Edges:
    """What a graph needs at its edges.

    Inputs other than `input_ids`, `baseline` and `attention_mask` are padded with 0.

    Attributes:
        block: the number of tokens in a block.
        padding_id: the token id that pads `input_ids` and `baseline`.
        shapes: the shapes that the inputs and outputs get, by name.
        switch: the largest length that is split into two blocks of half the length; 0 for a model that does not change
            its attention with the length.
        padding_mark: the value of `attention_mask` at padding. A model that must distinguish padding from tokens that a
            caller hides has a mark other than 0.
    """

    block: int
    padding_id: int
    shapes: Mapping[str, Axes]
    switch: int = 0
    padding_mark: int = 0

    def tokens(self, value: ir.Value) -> int | None:
        """The axis of tokens of an input or output; None if it has no such axis."""
        shape = self.shapes[value.name or ""]
        return shape.index(names.SEQUENCE) if names.SEQUENCE in shape else None


@dataclass(frozen=True)
class Frame:
    """The length of an input and its blocks, as the graph computes them. Each value is int64 [1].

    Attributes:
        length: the number of tokens before padding.
        rest: the number of padded tokens behind the input.
        blocks: the number of blocks after padding.
        block: the number of tokens in each of these blocks.
    """

    length: ir.Value
    rest: ir.Value
    blocks: ir.Value
    block: ir.Value


def constant(graph: ir.Graph, name: str, value: list[int] | int) -> ir.Value:
    """An int64 initializer of the graph: a scalar for a number, a vector for a list. Each name is made once."""
    if name not in graph.initializers:
        array = np.array(value, dtype=np.int64)
        tensor = ir.tensor(array, name=name)
        graph.register_initializer(
            ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.INT64), const_value=tensor)
        )
    return graph.initializers[name]


@dataclass
class PadInputsToBlocks(ir.passes.InPlacePass):
    """Lets a graph over blocks of tokens take any length. In a graph over single tokens it only names the axes."""

    edges: Edges

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        if self.edges.block > 1 or self.edges.switch:
            self.pad_and_crop(graph)
        for value in (*graph.inputs, *graph.outputs):
            value.shape = ir.Shape(self.edges.shapes[value.name or ""])
        return ir.passes.PassResult(model, modified=True)

    def pad_and_crop(self, graph: ir.Graph) -> None:
        inputs = [value for value in graph.inputs if self.edges.tokens(value) is not None]
        first: list[ir.Node] = []
        uses = {value: list(value.uses()) for value in inputs}
        ids = next(value for value in inputs if value.name == names.INPUT_IDS)
        frame = self.frame(graph, ids, first)
        for value, users in uses.items():
            whole = self.padded(graph, value, frame, first)
            for user, index in users:
                user.replace_input_with(index, whole)
        graph.insert_before(graph[0], first)
        for index, value in enumerate(graph.outputs):
            if self.edges.tokens(value) is not None:
                graph.outputs[index] = self.crop(graph, value, frame.length)

    def frame(self, graph: ir.Graph, ids: ir.Value, nodes: list[ir.Node]) -> Frame:
        """The `Frame` of `ids`. Appends the nodes that compute it to `nodes`."""

        def node(kind: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
            nodes.append(ir.node(kind, list(inputs), attributes=attributes))
            return nodes[-1].outputs[0]

        block, one = constant(graph, "edge_block", [self.edges.block]), constant(graph, "edge_one", [1])
        length = node("Shape", ids, start=-1)
        last = node("Sub", length, one)
        blocks = node("Add", node("Div", last, block), one)
        if self.edges.switch:
            two, switch = constant(graph, "edge_two", [2]), constant(graph, "edge_switch", [self.edges.switch])
            short, half = node("LessOrEqual", length, switch), node("Add", node("Div", last, two), one)
            blocks, block = node("Where", short, two, blocks), node("Where", short, half, block)
        return Frame(length, node("Sub", node("Mul", blocks, block), length), blocks, block)

    def padded(self, graph: ir.Graph, value: ir.Value, frame: Frame, nodes: list[ir.Node]) -> ir.Value:
        """`value` padded and reshaped to whole blocks. Its last axis is the axis of tokens."""
        axes = len(self.edges.shapes[value.name or ""])
        none = constant(graph, f"edge_none_{axes}", [0] * (2 * axes - 1))
        pads = ir.node("Concat", [none, frame.rest], attributes={"axis": 0})
        fillers = {
            names.INPUT_IDS: self.edges.padding_id,
            names.BASELINE: self.edges.padding_id,
            names.ATTENTION_MASK: self.edges.padding_mark,
        }
        found = fillers.get(value.name or "", 0)
        filler = [constant(graph, f"edge_padding_{value.name}", found)] if found else []
        pad = ir.node("Pad", [value, pads.outputs[0], *filler])  # without a filler 0: "not real" in a mask
        before = ir.node("Shape", [value], attributes={"end": -1})
        shape = ir.node("Concat", [before.outputs[0], frame.blocks, frame.block], attributes={"axis": 0})
        nodes += [pads, pad, before, shape, ir.node("Reshape", [pad.outputs[0], shape.outputs[0]])]
        return nodes[-1].outputs[0]

    def crop(self, graph: ir.Graph, value: ir.Value, length: ir.Value) -> ir.Value:
        axis = self.edges.tokens(value) or 0
        name, value.name = value.name, f"{value.name}_in_blocks"
        start, axes = constant(graph, "edge_start", [0]), constant(graph, f"edge_axis_{axis}", [axis])
        cropped = ir.node("Slice", [value, start, length, axes])
        output = cropped.outputs[0]
        output.name, output.type, output.shape = name, value.type, value.shape
        graph.append(cropped)
        return output
