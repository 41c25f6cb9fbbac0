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
        """An initializer of that name, or of one like it where the graph's own constant is called so."""
        array = np.asarray(array, order="C")
        content = array.tobytes()
        free = (name if number == 0 else f"{name}_{number}" for number in range(len(self.graph.initializers) + 1))
        name = next(one for one in free if self.holds(one) in (None, content))
        found = self.graph.initializers.get(name)
        if found is None:
            tensor = ir.tensor(array, name=name)
            value = ir.Value(
                name=name,
                shape=ir.Shape(np.shape(tensor.numpy())),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            self.graph.register_initializer(value)
            return value
        return found

    def holds(self, name: str) -> bytes | None:
        """The content of an initializer, None where there is none of that name."""
        found = self.graph.initializers.get(name)
        return None if found is None or found.const_value is None else found.const_value.tobytes()

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
