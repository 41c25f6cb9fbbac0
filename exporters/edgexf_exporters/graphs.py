"""From a source to its graphs: predict, and one explain graph for each method.

In: a `Source`. Out: `Graphs`, ONNX models over block-aligned lengths, and the block. `edgexf.passes`
makes them take any length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.errors import ExportError
from edgexf_exporters.explain.compile import check_method, differentiate
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.explain.mixing import marked
from edgexf_exporters.explain.program import ExplainSpec
from edgexf_exporters.lowerings.swap import Lowered, lowered, replaced
from edgexf_exporters.source import SHORTEST, ModuleInputs, Source, Values
from edgexf_exporters.trace.export import (
    BATCH_TRACED,
    STEPS_TRACED,
    TOKENS_TRACED,
    Traced,
    capture,
    dynamic_axes,
    translate,
)
from edgexf_exporters.trace.guards import conditions


@dataclass(frozen=True)
class Graphs:
    """`explain` maps a method to its graph, the first method first. Their inputs are [..., blocks, block] where `block`,
    in tokens, is more than one; its size is free if they are `variable_block`. `unexplained` says why there is none to explain,
    `padding_mark` is what ``attention_mask`` holds behind an input's end. `guards`: of a module of one's own the
    conditions on sizes under which its trace holds.
    """

    predict: onnx.ModelProto
    explain: dict[str, onnx.ModelProto]
    block: int
    variable_block: bool
    unexplained: str = ""
    padding_mark: int = 0
    guards: list[CodeType] = field(default_factory=list)


class Program(nn.Module):
    """A source with its inputs and outputs in order instead of by name; once it is lowered, inputs may be blocked."""

    lowering = Lowered(1, ())

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.module = source.module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        by_name = {
            tensor.name: given.flatten(-2) if self.lowering.blocked and names.SEQUENCE in tensor.shape else given
            for tensor, given in zip(self.source.tensors, inputs, strict=True)
        }
        try:
            for module in self.lowering.variable_block_modules:
                module.frame = tuple(inputs[0].shape[-2:])
            return tuple(self.source.answer(by_name, self.module).values())
        finally:
            for module in self.lowering.variable_block_modules:
                module.frame = (0, 0)


class EmbeddingStub(nn.Module):
    """Stands where an embedding was, and hands out the vectors that it holds; a head may be tied to its weight."""

    vectors: Any = None

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.tied = (original,)  # in a tuple: no part of this module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tied"][0], name)

    def forward(self, _: Tensor, **__: object) -> Tensor:
        vectors: Tensor = self.vectors
        return vectors


class Body(nn.Module):
    """A source's outputs from its token embeddings on; the embedding itself is replaced by `given`. Without one from the
    values of the first input.
    """

    def __init__(self, program: Program, given: EmbeddingStub | None) -> None:
        super().__init__()
        self.program = program
        self.given = given

    def forward(self, embeddings: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.given is None:
            values: tuple[Tensor, ...] = self.program(embeddings, *inputs[1:])
            return values
        rows = embeddings.flatten(0, 1) if self.program.source.multiple_choice else embeddings
        self.given.vectors = rows.flatten(1, -2)  # of blocked inputs [batch, blocks, block, width]
        try:
            outputs: tuple[Tensor, ...] = self.program(*inputs)
            return outputs
        finally:
            self.given.vectors = None


def axes_of(source: Source, lowering: Lowered) -> dict[str, tuple[Traced, ...]]:
    """The parts of each dynamic axis, by its name."""
    if source.module_inputs is not None:
        sizes = own_sizes(source, source.module_inputs)
        return {name: (Traced(size, Dim.DYNAMIC),) for name, size in {**sizes, names.STEPS: STEPS_TRACED}.items()}
    reach = source.decoder.max_length if source.decoder is not None else 0
    shortest = max(source.limits.min_length, SHORTEST)  # torch takes one token for a fixed size
    fixed = {
        axis
        for tensor in (*source.outputs, *source.explained_by()[0])
        for axis in tensor.shape
        if isinstance(axis, int)
    }
    variable_block = lowering.variable_block
    return dynamic_axes(lowering.block, shortest, source.limits.max_length, reach, fixed, variable_block)


def example(
    source: Source, tensors: Sequence[contract.Tensor], axes: Mapping[str, tuple[Traced, ...]]
) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Inputs and their dynamic axes: shapes matter, values don't."""
    drawn: Mapping[str, Any] = {}
    if source.module_inputs is not None:
        own = {axis.name for axis in source.module_inputs.signature.axes}
        drawn = source.module_inputs.draw({name: part.size for name, (part,) in axes.items() if name in own}, seed=1)
    inputs, dimensions = [], []
    for tensor in tensors:
        parts = [part for axis in tensor.shape for part in axes.get(str(axis), (Traced(axis),))]  # type: ignore[arg-type]
        given = drawn.get(tensor.name)
        sizes = [part.size for part in parts]
        inputs.append(filled(tensor, sizes, source.limits.vocab) if given is None else torch.from_numpy(given))
        dimensions.append({place: part.dimension for place, part in enumerate(parts) if part.dimension is not None})
    return tuple(inputs), tuple(dimensions)


def own_sizes(source: Source, own: ModuleInputs) -> dict[str, int]:
    """Sizes that differ from each other and from all fixed ones: equal ones become one while a reverse pass is traced."""
    fixed = {axis for tensor in (*own.tensors, *source.outputs) for axis in tensor.shape if isinstance(axis, int)}
    sizes: dict[str, int] = {}
    for axis in own.signature.axes:
        first = BATCH_TRACED if axis.name == own.signature.samples else TOKENS_TRACED
        taken = {*fixed, *sizes.values()}
        lengths = range(-(-min(first, axis.most) // axis.step) * axis.step, axis.most + 1, axis.step)
        shorter = range(axis.most // axis.step * axis.step, axis.least - 1, -axis.step)
        sizes[axis.name] = next(
            (size for size in (*lengths, *shorter) if axis.allows(size) and size not in taken), axis.most
        )
    return sizes


def filled(tensor: contract.Tensor, sizes: Sequence[int], vocabulary: int) -> Tensor:
    """Ids that count, a mask of ones, else zeros."""
    kind = getattr(torch, tensor.dtype)
    if tensor.name in (names.INPUT_IDS, names.BASELINE) and not kind.is_floating_point:
        return (torch.arange(math.prod(sizes)).reshape(*sizes) % vocabulary).to(kind)
    return torch.full(tuple(sizes), int(tensor.name == names.ATTENTION_MASK), dtype=kind)


def make(source: Source, methods: Sequence[str], opset: int, asked: bool = True) -> Graphs:
    """The graphs of a source that is `frozen`. UsageError for a method that is unknown or has nothing to explain, ExportError where a trace fails.

    Methods that nobody `asked` for by name are left out where they can't be compiled, and the reason is told.
    """
    for method in methods:
        check_method(method, source)
    program, reason = Program(source), source.unexplained
    with lowered(program, source.limits) as lowering:
        if source.module_inputs is not None and (lowering.blocked or lowering.block != 1):
            raise ExportError(
                "a module of one's own may hold attentions that take any length, got one that takes whole blocks of "
                "tokens; export that model of transformers by itself, or give it a head of its library."
            )
        program.lowering = lowering
        sizes = axes_of(source, lowering)
        inputs, axes = example(source, source.tensors, sizes)
        outputs = tuple(output.name for output in source.outputs)
        captured = capture(program, inputs, axes)
        guards: list[CodeType] = []
        if source.module_inputs is not None:
            check_reach(captured, source.module_inputs)
            guards = conditions(captured)
        predict = translate(captured, source.inputs, outputs, opset)
        explain = {}
        try:
            explain = explain_graphs(source, program, methods, sizes, opset)
        except ExportError as error:
            if asked:
                raise
            reason = str(error)
    return Graphs(predict, explain, lowering.block, lowering.variable_block, reason, lowering.padding_mark, guards)


def check_reach(captured: ExportedProgram, own: ModuleInputs) -> None:
    """ExportError where a trace ends before an axis does: ``forward`` goes another way for longer inputs."""
    given = set(captured.graph_signature.user_inputs)
    nodes = [node for node in captured.graph.nodes if node.op == "placeholder" and node.name in given]
    for node, tensor in zip(nodes, own.tensors, strict=True):
        for size, name in zip(node.meta["val"].shape, tensor.shape, strict=True):
            known = captured.range_constraints.get(size.node.expr) if isinstance(size, torch.SymInt) else None
            if known is not None and isinstance(name, str) and known.upper < own.signature.axis(name).most:
                raise ExportError(
                    f"a trace must hold wherever the module answers ({name} up to {own.signature.axis(name).most}), got one up to {known.upper}, "
                    "beyond which forward goes another way; export each way by its own dynamic_shapes."
                )


def explain_graphs(
    source: Source, program: Program, methods: Sequence[str], sizes: Mapping[str, tuple[Traced, ...]], opset: int
) -> dict[str, onnx.ModelProto]:
    """The explain graph of each method; `sizes` are the parts of the axes by name."""
    if not methods or source.embedding is None or source.target is None:
        return {}
    count = len(source.tensors)
    inputs, axes = example(source, source.tensors, sizes)
    given = None if isinstance(source.embedding, Values) else EmbeddingStub(source.embedding)
    vectors = source.embedding(inputs[0]).clone()  # one tensor twice would be one input
    instead = {} if given is None else {source.embedding: given}
    mixing = source.variant.mixing if any(METHODS[method].attends for method in methods) else None
    marks = nullcontext() if mixing is None else marked(source.module, mixing)
    with replaced(program, instead), marks:
        body = capture(Body(program, given), (vectors, *inputs), (axes[0], *axes))
    graphs = {}
    for method in methods:
        takes, gives = source.explained_by(METHODS[method].path, METHODS[method].weights)
        tensors = (*source.tensors, *takes)
        example_inputs, dimensions = example(source, tensors, sizes)
        about = ExplainSpec(
            count,
            source.target,
            tuple(program.lowering.blocked and names.SEQUENCE in tensor.shape for tensor in tensors),
            source.mask,
            tuple(map(source.samples, tensors)),
            tuple(map(source.samples, source.outputs)),
            -1 if given is not None else source.channels,
        )
        graph = differentiate(METHODS[method], source.embedding, body, about, example_inputs, dimensions)
        outputs = tuple(output.name for output in (*source.outputs, *gives))
        graphs[method] = translate(graph, tuple(tensor.name for tensor in tensors), outputs, opset)
    return graphs
