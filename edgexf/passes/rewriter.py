"""Add nodes and constants to a graph, each only once.

In: an onnx_ir model. Out: the same model with more nodes at the end of its graph. `TopologicalSortPass` sorts them
later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgexf.passes.modules import put, shared

CONTRIB = "com.microsoft"


class Rewriter:
    """Adds nodes and constants to one graph. A second request for the same node returns the first node.

    Attributes:
        place: the module that new nodes come from, as in `edgexf.passes.modules`; None where nobody knows.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.place: str | None = None
        self.made: dict[tuple[Any, ...], tuple[ir.Value, ...]] = {}

    def constant(self, name: str, array: Any) -> ir.Value:
        """An initializer that holds `array`. It has a number behind `name` if `name` already has another content."""
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
        """The content of an initializer; None if the graph has no initializer of this name."""
        found = self.graph.initializers.get(name)
        return None if found is None or found.const_value is None else found.const_value.tobytes()

    def nodes(
        self, kind: str, inputs: Sequence[ir.Value | None], outputs: int = 1, **attributes: Any
    ) -> tuple[ir.Value, ...]:
        """The outputs of a node. ``domain::kind`` is a kind of operator with its domain."""
        key = (kind, tuple(map(id, inputs)), tuple(sorted((name, repr(value)) for name, value in attributes.items())))
        if key not in self.made:
            domain, _, plain = kind.rpartition("::")
            node = ir.node(plain, list(inputs), attributes=attributes, domain=domain, num_outputs=outputs)
            self.graph.append(node)
            if domain:
                self.model.opset_imports.setdefault(domain, 1)
            put([node], self.place)
            self.made[key] = tuple(node.outputs)
        else:
            shared(self.made[key][0].producer(), self.place)
        return self.made[key]

    def node(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The output of a node that has one output."""
        return self.nodes(kind, inputs, **attributes)[0]

    def again(self, node: ir.Node, first: ir.Value) -> ir.Value:
        """Repeats a node of one output with another first input."""
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        return self.node(node.op_type, first, *node.inputs[1:], **attributes)

    def instead(self, node: ir.Node, value: ir.Value) -> None:
        """Replaces the output of `node` by `value`. A graph output keeps its name, shape and type."""
        output = node.outputs[0]
        ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
        if value.is_graph_output():
            output.name, value.name = None, output.name
            value.shape, value.type = output.shape, output.type
