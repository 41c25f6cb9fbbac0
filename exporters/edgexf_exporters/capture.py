"""From a source to its captured programs: the model as torch.export sees it, lowered and with dynamic axes.

In: a `Source` whose module is `frozen`, and the explanation methods to compile. Out: `Captured`.

    Source -> lowered modules -> Program(*inputs)            -> ExportedProgram   what predicts
                              -> Body(embeddings, *inputs)   -> ExportedProgram   what explanations differentiate

This module works out the axes and their sizes in the example once. Every later stage uses the same axes and sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from sympy import primerange
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.formula import size_of
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError
from edgexf_exporters.explain.compile import check_method
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.explain.mixing import marked
from edgexf_exporters.lowerings.padded import rows_read
from edgexf_exporters.lowerings.swap import Lowered, lowered, replaced
from edgexf_exporters.source import SHORTEST, ModuleInputs, Source, Values
from edgexf_exporters.targets import Target
from edgexf_exporters.trace.eager.flags import Answers, answered
from edgexf_exporters.trace.export import (
    BATCH_TRACED,
    STEPS_TRACED,
    TOKENS_TRACED,
    Traced,
    capture,
    dynamic_axes,
)
from edgexf_exporters.trace.guards import Condition, conditions, fixed_axes

LATER = 60  # how far beyond the usual size of an example a prime is looked for: there are ten up to 157
Example = tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]


@dataclass(frozen=True)
class CapturedBody:
    """What explanations differentiate.

    Attributes:
        program: the model from the vectors of `embedding` on.
        embedding: the module from token ids to vectors, or `Values`.
        target: what is explained.
    """

    program: ExportedProgram
    embedding: nn.Module
    target: Target


@dataclass(frozen=True)
class Captured:
    """The programs of a source.

    Attributes:
        source: the source that was captured.
        lowering: what the lowered modules ask of the inputs.
        axes: the parts of each dynamic axis with their sizes in the example, by the name of the axis.
        predict: the program from the inputs to the outputs. Inputs come in blocks where `lowering` asks for blocks.
        body: what explanations differentiate; None if nothing is explained.
        methods: the explanation methods to compile.
        unexplained: why nothing can be explained, or why the body could not be captured; otherwise empty.
        guards: the conditions on sizes under which the trace holds.
        tracing_branch: the lines at which a custom module asks whether it is traced, if the graph holds the way of the
            trace; else empty.
    """

    source: Source
    lowering: Lowered
    axes: Mapping[str, tuple[Traced, ...]]
    predict: ExportedProgram
    body: CapturedBody | None
    methods: tuple[str, ...]
    unexplained: str
    guards: tuple[Condition, ...]
    tracing_branch: str = ""

    def example(self, tensors: Sequence[contract.Tensor]) -> Example:
        """An input for each of `tensors`, and the dynamic axes of each input."""
        return example(self.source, tensors, self.axes)


class Program(nn.Module):
    """A source that takes inputs and gives outputs in order, not by name. After lowering, inputs may come in blocks."""

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
            return apart(tuple(self.source.answer(by_name, self.module).values()), by_name.values())
        finally:
            for module in self.lowering.variable_block_modules:
                module.frame = (0, 0)


def apart(outputs: Sequence[Tensor], inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The outputs, each a tensor of its own: a copy of an output that is an input, or that was returned before."""
    seen, found = [*inputs], []
    for output in outputs:
        found.append(output.clone() if any(output is other for other in seen) else output)
        seen.append(output)
    return tuple(found)


class EmbeddingStub(nn.Module):
    """Takes the place of an embedding and returns the vectors that it was given.

    Other attributes are those of the original embedding, because a head may be tied to its weight.
    """

    vectors: Any = None

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.tied = (original,)  # in a tuple, so that torch does not make it a part of this module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tied"][0], name)

    def forward(self, ids: Tensor, **_: object) -> Tensor:
        joined = self.vectors.ndim - 1 - ids.ndim  # axes that the model joins: [rows, choices] to [rows * choices]
        return rows_read(self.tied[0], self.vectors.flatten(0, joined) if joined > 0 else self.vectors)


class Body(nn.Module):
    """A source from its token embeddings to its outputs.

    `given` has replaced the embedding in `program`. If `given` is None, the first input holds values, and
    ``embeddings`` are these values.
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
        blocked = self.program.lowering.blocked  # then [batch, blocks, block, width]
        self.given.vectors = rows.flatten(1, -2) if blocked else rows
        try:
            outputs: tuple[Tensor, ...] = self.program(*inputs)
            return outputs
        finally:
            self.given.vectors = None


def wanted_methods(source: Source, explain: str | Sequence[str] | None) -> tuple[str, ...]:
    """The methods to compile: the named methods, or by default the first of all methods if the model can be explained.

    Raises UsageError for an unknown method, and for a method that can't explain this model.
    """
    if explain is None:
        return (next(iter(METHODS)),) if source.target is not None else ()
    methods = (explain,) if isinstance(explain, str) else tuple(explain)
    for method in methods:
        check_method(method, source)
    return methods


def capture_source(source: Source, methods: Sequence[str], asked: bool = True) -> Captured:
    """Captures the programs of a source. Raises ExportError where a trace fails.

    A model that can't be captured from its embeddings on is left unexplained, and the result holds the reason. If the
    user `asked` for the methods by name, this is an ExportError instead.
    """
    program = Program(source)
    with lowered_within(source, program) as lowering, answered(program) as answers:
        if source.own_code and lowering.blocked:
            raise ExportError(
                f"code of your own may surround models whose lengths can be padded, got an attention alone that takes whole blocks of {lowering.block} "
                "tokens; hold the whole model of its library, or export that model by itself."
            )
        program.lowering = lowering
        axes = axes_of(source, lowering)
        inputs, dimensions = example(source, source.tensors, axes)
        predict = capture_either_way(program, inputs, dimensions, answers)
        guards = tuple(conditions(predict))
        body, reason = None, source.unexplained
        if methods and source.embedding is not None and source.target is not None:
            try:
                body_program = capture_body(program, source.embedding, methods, inputs, dimensions)
                body = CapturedBody(body_program, source.embedding, source.target)
            except ExportError as error:
                if asked:
                    raise
                reason = str(error)
    branch = answers.places if answers.as_torch else ""
    return Captured(source, lowering, axes, predict, body, tuple(methods), reason, guards, branch)


def lowered_within(source: Source, program: Program) -> AbstractContextManager[Lowered]:
    """Lowers a source. Around code of the user, lengths stay as they are: only the library models in it take whole
    blocks. So this code is traced with the lengths that it sees in PyTorch.
    """
    own = source.module_inputs
    limits = source.limits if own is None else replace(source.limits, max_global=own.max_global)
    return lowered(program, limits, inside=source.own_code)


def capture_either_way(
    program: Program, inputs: tuple[Tensor, ...], dimensions: Sequence[dict[int, Any]], answers: Answers
) -> ExportedProgram:
    """Captures the program as PyTorch runs it. If a custom module asks whether it is traced, and does not trace so, it
    is captured as torch traces it: the verification then looks for inputs that tell the two ways apart.
    """
    try:
        return capture(program, inputs, dimensions)
    except ExportError as error:
        if not answers.asked or program.source.module_inputs is None:
            raise
        answers.as_torch = True
        try:
            return capture(program, inputs, dimensions)
        except ExportError:
            raise error from None


def capture_body(
    program: Program,
    embedding: nn.Module,
    methods: Sequence[str],
    inputs: tuple[Tensor, ...],
    dimensions: Sequence[dict[int, Any]],
) -> ExportedProgram:
    """Captures the program from the token embeddings on. Marks attention weights if a method reads them."""
    source = program.source
    stub = None if isinstance(embedding, Values) else EmbeddingStub(embedding)
    vectors = embedding(inputs[0]).clone()  # the same tensor twice would become one input
    mixing = source.variant.mixing if any(METHODS[method].attends for method in methods) else None
    marks = nullcontext() if mixing is None else marked(source.module, mixing)
    with replaced(program, {} if stub is None else {embedding: stub}), marks:
        return capture(Body(program, stub), (vectors, *inputs), (dimensions[0], *dimensions))


def conditions_at(source: Source, sizes: Mapping[str, int]) -> list[Condition] | None:
    """The conditions of a trace from an example of these sizes; None where the trace fails, and for a model without
    code of the user, of which there is one trace.

    A way that a module takes at one size alone fixes this axis (``if batch == 100: ...``); the trace may fix it too.
    """
    if not source.own_code:
        return None
    program = Program(source)
    with lowered_within(source, program) as lowering, answered(program):
        program.lowering = lowering
        axes = {
            name: tuple(Traced(part.size, Dim.AUTO if part.size > 1 else None) for part in parts)
            for name, parts in axes_of(source, lowering, sizes).items()
        }
        inputs, dimensions = example(source, source.tensors, axes)
        try:
            captured = capture(program, inputs, dimensions)
            return [*fixed_axes(captured, [tensor.shape for tensor in source.tensors]), *conditions(captured)]
        except ExportError:
            return None


def axes_of(source: Source, lowering: Lowered, other: Mapping[str, int] | None = None) -> dict[str, tuple[Traced, ...]]:
    """The parts of each dynamic axis, by the name of the axis. `other` holds other sizes of the example.

    torch bounds the axes of a library model by the contract, and refuses a trace that does not hold in all of it. Around
    code of the user all sizes are free: the conditions of the trace say where it holds.
    """
    if source.module_inputs is not None:
        sizes = other or own_sizes(source, source.module_inputs)
        found = {name: (Traced(size, Dim.DYNAMIC),) for name, size in {**sizes, names.STEPS: STEPS_TRACED}.items()}
        derived = {axis for tensor in source.module_inputs.tensors for axis in tensor.shape if isinstance(axis, str)}
        return {**{axis: (Traced(size_of(axis, sizes), Dim.AUTO),) for axis in derived}, **found}
    reach = source.decoder.max_length if source.decoder is not None else 0
    shortest = max(source.limits.min_length, SHORTEST)  # torch takes a size of 1 for fixed
    fixed = {
        axis
        for tensor in (*source.outputs, *source.explained_by()[0])
        for axis in tensor.shape
        if isinstance(axis, int)
    }
    variable_block = lowering.variable_block
    bounded = dynamic_axes(lowering.block, shortest, source.limits.max_length, reach, fixed, variable_block)
    if not source.own_code:
        return bounded
    return {
        name: tuple(
            Traced((other or {}).get(name, part.size), None if part.dimension is None else Dim.DYNAMIC)
            for part in parts
        )
        for name, parts in bounded.items()
    }


def example(source: Source, tensors: Sequence[contract.Tensor], axes: Mapping[str, tuple[Traced, ...]]) -> Example:
    """Example inputs and their dynamic axes. Their shapes matter, their values don't."""
    drawn: Mapping[str, Any] = {}
    if source.module_inputs is not None:
        own = {axis.name for axis in source.module_inputs.signature.axes}
        drawn = source.module_inputs.draw({name: part.size for name, (part,) in axes.items() if name in own}, seed=1)
    inputs, dimensions = [], []
    for tensor in tensors:
        parts = [
            part
            for axis in tensor.shape
            for part in axes.get(str(axis), (Traced(axis),))  # type: ignore[arg-type]
        ]
        given = drawn.get(tensor.name)
        sizes = [part.size for part in parts]
        inputs.append(filled(tensor, sizes, source.limits.vocab) if given is None else torch.from_numpy(given))
        dimensions.append({place: part.dimension for place, part in enumerate(parts) if part.dimension is not None})
    return tuple(inputs), tuple(dimensions)


def usual_sizes(source: Source) -> dict[str, int]:
    """The size of each axis in an example of whole tokens."""
    axes = axes_of(source, Lowered(1, ()))
    return {axis.name: axes[axis.name][0].size for axis in source.signature.axes}


def own_sizes(source: Source, own: ModuleInputs) -> dict[str, int]:
    """A size for each axis of a custom module. All sizes differ from each other and from all fixed sizes.

    While a reverse pass is traced, equal sizes become one size. An axis that allows no such size gets its largest size.
    """
    fixed = {axis for tensor in (*own.tensors, *source.outputs) for axis in tensor.shape if isinstance(axis, int)}
    sizes: dict[str, int] = {}
    for axis in own.signature.axes:
        first = BATCH_TRACED if axis.name == own.signature.samples else TOKENS_TRACED
        taken = {*fixed, *sizes.values()}
        sizes[axis.name] = next(
            (size for size in sizes_from(first, axis) if axis.allows(size) and size not in taken), axis.most
        )
    return sizes


def sizes_from(first: int, axis: Axis) -> Iterator[int]:
    """Sizes for the example of an axis, the best first.

    Primes are first: code that pads to a multiple is then traced with padding. An axis that ends before `first` has its largest
    size late: the whole of a table is a case of its own.
    """
    step, most = axis.step, axis.most // axis.step
    yield from (prime * step for prime in primerange(-(-first // step), first + LATER))
    if axis.most < first:
        yield from (prime * step for prime in reversed([*primerange(most)]))
    yield from range(-(-min(first, axis.most) // step) * step, axis.most + 1, step)
    yield from range(most * step, axis.least - 1, -step)


def filled(tensor: contract.Tensor, sizes: Sequence[int], vocabulary: int) -> Tensor:
    """Ids that count up for token ids and a baseline of ids, ones for the attention mask, zeros for other tensors."""
    kind = getattr(torch, tensor.dtype)
    if tensor.name in (names.INPUT_IDS, names.BASELINE) and not kind.is_floating_point:
        return (torch.arange(math.prod(sizes)).reshape(*sizes) % vocabulary).to(kind)
    return torch.full(tuple(sizes), int(tensor.name == names.ATTENTION_MASK), dtype=kind)
