"""Make nodes and constants in a graph, each once.

In: an onnx_ir graph. Out: the same graph with more nodes, which `TopologicalSortPass` puts where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

CONTRIB = "com.microsoft"


class Rewriter:
    """Adds to one graph; asked twice for the same, it gives what it made the first time."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.made: dict[tuple[Any, ...], tuple[ir.Value, ...]] = {}

    def constant(self, name: str, array: Any) -> ir.Value:
        """An initializer of that name; ValueError where another one has it."""
        found = self.graph.initializers.get(name)
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        if found is None:
            value = ir.Value(
                name=name,
                shape=ir.Shape(np.shape(tensor.numpy())),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            self.graph.register_initializer(value)
            return value
        if found.const_value is None or found.const_value.tobytes() != tensor.tobytes():
            raise ValueError(f"{name} is the name of another constant of this graph")
        return found

    def nodes(
        self, kind: str, inputs: Sequence[ir.Value | None], outputs: int = 1, **attributes: Any
    ) -> tuple[ir.Value, ...]:
        """The outputs of a node; a kind with a domain is written ``domain::kind``."""
        key = (kind, tuple(map(id, inputs)), tuple(sorted((name, repr(value)) for name, value in attributes.items())))
        if key not in self.made:
            domain, _, plain = kind.rpartition("::")
            node = ir.node(plain, list(inputs), attributes=attributes, domain=domain, num_outputs=outputs)
            self.graph.append(node)
            if domain:
                self.model.opset_imports.setdefault(domain, 1)
            self.made[key] = tuple(node.outputs)
        return self.made[key]

    def node(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The one output of a node."""
        return self.nodes(kind, inputs, **attributes)[0]

    def again(self, node: ir.Node, first: ir.Value) -> ir.Value:
        """A node of one output once more, with another first input."""
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        return self.node(node.op_type, first, *node.inputs[1:], **attributes)

    def instead(self, node: ir.Node, value: ir.Value) -> None:
        """Puts `value` where the output of `node` was, under its name where the graph answers it."""
        output = node.outputs[0]
        ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
        if value.is_graph_output():
            output.name, value.name = None, output.name
            value.shape, value.type = output.shape, output.type
