"""Pad token inputs to whole blocks where the graph begins, and crop token outputs where it ends.

    before  input_ids [batch, 64*blocks]                       -> ... -> relevance [batch, 64*blocks]
    after   input_ids [batch, sequence] -> Pad to 64*blocks    -> ... -> Slice -> relevance [batch, sequence]

Padded tokens have `attention_mask` 0, so they change no answer of a model that masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgexf import names


@dataclass(frozen=True)
class Edges:
    """What a graph needs at its edges: whole blocks of `block` tokens, the id that pads `input_ids` (other inputs are
    padded with 0), and the `outputs` that have an axis of tokens behind the batch, by name.
    """

    block: int
    padding_id: int
    outputs: frozenset[str]


def constant(graph: ir.Graph, name: str, value: list[int] | int) -> ir.Value:
    """An int64 initializer of the graph, a scalar for a number, made once."""
    if name not in graph.initializers:
        array = np.array(value, dtype=np.int64)
        tensor = ir.tensor(array, name=name)
        graph.register_initializer(
            ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.INT64), const_value=tensor)
        )
    return graph.initializers[name]


@dataclass
class PadInputsToBlocks(ir.passes.InPlacePass):
    """Makes a graph over multiples of a block take any length. With a block of 1 it only names the axes."""

    edges: Edges

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        if self.edges.block > 1:
            self.pad_and_crop(graph)
        for value in (*graph.inputs, *graph.outputs):
            sizes = list(value.shape or ())
            tokens = [names.SEQUENCE] if self.has_tokens(value) else sizes[1:2]
            value.shape = ir.Shape([names.BATCH, *tokens, *sizes[2:]])
        return ir.passes.PassResult(model, modified=True)

    def has_tokens(self, value: ir.Value) -> bool:
        """Inputs but the target, and the outputs that were named, have an axis of tokens."""
        return value.name in self.edges.outputs or (value.is_graph_input() and value.name != names.TARGET)

    def pad_and_crop(self, graph: ir.Graph) -> None:
        inputs = {value.name: value for value in graph.inputs if self.has_tokens(value)}
        length = ir.node("Shape", [inputs[names.INPUT_IDS]], attributes={"start": 1, "end": 2})
        negative = ir.node("Neg", length.outputs)
        rest = ir.node("Mod", [negative.outputs[0], constant(graph, "edge_block", [self.edges.block])])
        pads = ir.node("Concat", [constant(graph, "edge_none", [0, 0, 0]), rest.outputs[0]], attributes={"axis": 0})
        first = [length, negative, rest, pads]
        filler = constant(graph, "edge_padding", self.edges.padding_id)
        for name, value in inputs.items():
            ids = [filler] if name == names.INPUT_IDS else []
            pad = ir.node("Pad", [value, pads.outputs[0], *ids])  # else with 0: "not real" in a mask
            ir.convenience.replace_all_uses_with(value, pad.outputs[0])
            pad.replace_input_with(0, value)
            first.append(pad)
        length.replace_input_with(0, inputs[names.INPUT_IDS])
        graph.insert_before(graph[0], first)
        for index, value in enumerate(graph.outputs):
            if self.has_tokens(value):
                graph.outputs[index] = self.crop(graph, value, length.outputs[0])

    def crop(self, graph: ir.Graph, value: ir.Value, length: ir.Value) -> ir.Value:
        name, value.name = value.name, f"{value.name}_in_blocks"
        cropped = ir.node(
            "Slice", [value, constant(graph, "edge_start", [0]), length, constant(graph, "edge_axis", [1])]
        )
        output = cropped.outputs[0]
        output.name, output.type, output.shape = name, value.type, value.shape
        graph.append(cropped)
        return output
