"""From captured programs to graphs: predict, and one explain graph for each method.

In: `Captured`. Out: `Graphs`, ONNX models over lengths in whole blocks. `edgexf.passes` makes them take any length.

    predict program -> ONNX, and once more in each further form
    body            -> differentiated by each method (`edgexf_exporters.explain`) -> captured again -> ONNX, likewise
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx
from onnx import numpy_helper

from edgexf import names
from edgexf.errors import ExportError
from edgexf_exporters.capture import Captured, CapturedBody
from edgexf_exporters.explain.compile import differentiate
from edgexf_exporters.explain.layers import Within
from edgexf_exporters.explain.methods import METHODS, Method
from edgexf_exporters.explain.program import ExplainSpec
from edgexf_exporters.source import Values
from edgexf_exporters.trace.export import translate
from edgexf_exporters.trace.forms import Form, written_in
from edgexf_exporters.trace.guards import Condition


@dataclass(frozen=True)
class Written:
    """The graphs of a source in one form: ``predict``, and the explain graphs by method, the first method first."""

    predict: onnx.ModelProto
    explain: dict[str, onnx.ModelProto]


@dataclass(frozen=True)
class Graphs:
    """The graphs of a source in ONNX.

    Attributes:
        predict: the graph from the inputs to the outputs.
        explain: the graph of each method, by the name of the method. The first method comes first.
        block: the number of tokens in a block. If it is more than one, inputs come as [..., blocks, block].
        variable_block: the size of a block is free.
        unexplained: why nothing can be explained, or why no explain graph could be made; otherwise empty.
        padding_mark: the value of ``attention_mask`` behind the end of an input.
        guards: the conditions on sizes under which the trace holds.
        step: the number of tokens at whose multiples the model meets another number of blocks; the block, or more where
            modules cut blocks by themselves.
        tracing_branch: the lines at which a custom module asks whether it is traced, if the graph holds the way of the
            trace; else empty.
        candidates: the same graphs in further forms, where a form changes them.
    """

    predict: onnx.ModelProto
    explain: dict[str, onnx.ModelProto]
    block: int
    variable_block: bool
    unexplained: str = ""
    padding_mark: int = 0
    guards: tuple[Condition, ...] = ()
    step: int = 1
    tracing_branch: str = ""
    candidates: Mapping[Form, Written] = field(default_factory=dict)

    def without_explain(self, reason: str) -> Graphs:
        """The predict graphs alone, in all forms, with the reason."""
        candidates = {form: Written(written.predict, {}) for form, written in self.candidates.items()}
        return replace(self, explain={}, unexplained=reason, candidates=candidates)


SMALL = 1 << 10  # bytes of a constant such as the queries of a slice
Programs = Mapping[str, Callable[[], onnx.ModelProto]]  # by method, what translates it in the form of the moment


def make_graphs(captured: Captured, opset: int, asked: bool = True, forms: Sequence[Form] = ()) -> Graphs:
    """Makes the graphs of captured programs, and once more in each of `forms` that changes one of them. Raises ExportError where an operator has no translation.

    If a method can't be compiled, all explain graphs are left out, and the result holds the reason. If the user `asked`
    for the methods by name, this is an ExportError instead.
    """
    source, lowering = captured.source, captured.lowering
    outputs = tuple(output.name for output in source.outputs)
    predict = partial(translate, captured.predict, source.inputs, outputs, opset)
    written, explain, reason = Written(predict(), {}), {}, captured.unexplained
    if captured.body is not None:
        try:
            explain = {
                method: explain_program(captured, METHODS[method], captured.body, opset) for method in captured.methods
            }
            written = Written(written.predict, {method: translated() for method, translated in explain.items()})
        except ExportError as error:
            if asked:
                raise
            explain, reason = {}, str(error)
    return Graphs(
        written.predict, written.explain, lowering.block, lowering.variable_block, reason, lowering.padding_mark,
        captured.guards, lowering.step, captured.tracing_branch, dict(rewritten(forms, written, predict, explain)),
    )  # fmt: skip


def rewritten(
    forms: Sequence[Form], usual: Written, predict: Callable[[], onnx.ModelProto], explain: Programs
) -> Iterator[tuple[Form, Written]]:
    """Yields each form in which a graph differs from the usual one, with the graphs in this form."""
    for form in forms:
        with written_in(form):
            found = Written(predict(), {method: translated() for method, translated in explain.items()})
        if not alike(found, usual):
            yield form, found


def alike(one: Written, other: Written) -> bool:
    """Whether the graphs of both have the same nodes, whatever the values between them are called.

    All forms have the same weights, and notes of the exporter don't count.
    """
    pairs = [(one.predict, other.predict), *((model, other.explain[method]) for method, model in one.explain.items())]
    return all(Nodes(first.graph).found == Nodes(second.graph).found for first, second in pairs)


class Nodes:
    """The nodes of a graph, also those inside nodes, with numbers in place of names, and small constants by their content.

    Attributes:
        found: all that tells the nodes of a graph from those of another one.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._known: dict[str, Any] = {
            one.name: (*one.dims, numpy_helper.to_array(one).tobytes())
            for one in graph.initializer
            if one.ByteSize() < SMALL
        }
        self.found = self._of(graph)

    def _of(self, graph: onnx.GraphProto) -> list[Any]:
        return [
            (
                node.domain,
                node.op_type,
                [self._known.setdefault(name, len(self._known)) for name in (*node.input, "", *node.output)],
                [
                    (one.name, self._of(one.g)) if one.HasField("g") else one.SerializeToString()
                    for one in node.attribute
                ],
            )
            for node in graph.node
        ]


def explain_program(
    captured: Captured, method: Method, body: CapturedBody, opset: int
) -> Callable[[], onnx.ModelProto]:
    """Differentiates the body by a method. Returns what translates the program."""
    source = captured.source
    takes, gives = source.explained_by(method.path, method.weights)
    tensors = (*source.tensors, *takes)
    inputs, dimensions = captured.example(tensors)
    spec = ExplainSpec(
        len(source.tensors),
        body.target,
        tuple(captured.lowering.blocked and names.SEQUENCE in tensor.shape for tensor in tensors),
        source.mask,
        tuple(map(source.samples, tensors)),
        tuple(map(source.samples, source.outputs)),
        source.channels if isinstance(body.embedding, Values) else -1,
    )
    declared = [tensor.shape for tensor in tensors] if source.module_inputs is not None else []
    known = (path for path, module in source.module.named_modules() if module is body.embedding)
    embedding = next((Within(body.embedding, path) for path in known), body.embedding)
    program = differentiate(method, embedding, body.program, spec, inputs, dimensions, opset, declared)
    outputs = tuple(output.name for output in (*source.outputs, *gives))
    return partial(translate, program, tuple(tensor.name for tensor in tensors), outputs, opset)
