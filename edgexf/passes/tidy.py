"""Drop what the exporter leaves in a graph: stack traces, source paths of the exporting machine, inferred shapes.

    before  node.metadata_props {"pkg.torch.onnx.stack_trace": "File ..."}, value_info for every tensor
    after   neither; producer is edgexf, and the IR version is the lowest that the graph needs

They are most of the bytes of a graph without its weights. Stale shapes break quantizers later.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.ir_version import LowestIrVersion

PRODUCER = "edgexf"


def bodies_of(node: ir.Node) -> list[ir.Graph]:
    """The graphs inside a node, such as the branches of an If."""
    return [one.as_graph() for one in node.attributes.values() if one.type == ir.AttributeType.GRAPH]


def name_within(body: ir.Graph, around: str) -> None:
    """Names what the nodes inside a node give: no value of a graph around it may have the same name."""
    for place, node in enumerate(body):
        node.name = f"{around}_{body.name or ''}_{place}"
        for index, value in enumerate(node.outputs):
            value.name = f"{node.name}_{index}"
        for inner in bodies_of(node):
            name_within(inner, node.name)


class DropTraces(ir.passes.InPlacePass):
    """Clears metadata, doc strings and inferred types, and names nodes and values by their position."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        common.ClearMetadataAndDocStringPass()(model)
        model.producer_name, model.producer_version = PRODUCER, None
        model.doc_string = None
        model.metadata_props.clear()
        graph = model.graph
        kept = {id(value) for value in (*graph.inputs, *graph.outputs)}
        for place, node in enumerate(graph):
            node.name = f"{node.op_type}_{place}"
            for index, value in enumerate(node.outputs):
                value.metadata_props.clear()
                if id(value) not in kept:
                    value.name = f"{node.op_type}_{place}_{index}"
                    value.shape, value.type = None, None
            for body in bodies_of(node):
                name_within(body, node.name)
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            value.metadata_props.clear()
            value.doc_string = None
        graph.name = PRODUCER
        LowestIrVersion()(model)
        return ir.passes.PassResult(model, modified=True)
