"""From a source to its graphs: predict, and one explain graph for each method.

In: a `Source`. Out: `Graphs`, ONNX models over block-aligned lengths, and the block. `edgexf.passes`
makes them take any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from edgexf import names
from edgexf_exporters.explain import check_method, differentiate
from edgexf_exporters.source import Source
from edgexf_exporters.swap import lowered, replaced
from edgexf_exporters.trace import BLOCKS_TRACED, capture, dynamic_axes, translate

TOKENS_TRACED = 96  # an example's length where the block is a single token


@dataclass(frozen=True)
class Graphs:
    """`explain` maps a method to its graph, the first method first; `block` is in tokens."""

    predict: onnx.ModelProto
    explain: dict[str, onnx.ModelProto]
    block: int


class Program(nn.Module):
    """A source with its inputs and outputs in order instead of by name."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.module = source.module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        by_name = dict(zip(self.source.inputs, inputs, strict=True))
        return tuple(self.source.answer(by_name, self.module).values())


class Given(nn.Module):
    """Stands where an embedding was, and hands out the vectors that it holds."""

    vectors: Any = None

    def forward(self, _: Tensor) -> Tensor:
        vectors: Tensor = self.vectors
        return vectors


class Body(nn.Module):
    """A source's logits from its token embeddings on; the embedding itself is replaced by `given`."""

    def __init__(self, program: Program, given: Given) -> None:
        super().__init__()
        self.program = program
        self.given = given

    def forward(self, embeddings: Tensor, *inputs: Tensor) -> Tensor:
        self.given.vectors = embeddings
        try:
            logits: Tensor = self.program(*inputs)[0]
            return logits
        finally:
            self.given.vectors = None


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model as it answers on a device: no dropout, weights that are constants. Afterwards it is as before."""
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = {module: module.training for module in model.modules()}
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for parameter, gradient in wanted.items():
            parameter.requires_grad_(gradient)
        for module, mode in training.items():
            module.training = mode


def example(source: Source, block: int) -> tuple[Tensor, ...]:
    """The source's inputs, int64 [2, aligned length]: shapes matter, values don't."""
    length = BLOCKS_TRACED * block if block > 1 else min(TOKENS_TRACED, source.limits.max_length)
    ids = torch.arange(2 * length).reshape(2, length) % source.limits.vocab
    values = {names.INPUT_IDS: ids, names.ATTENTION_MASK: torch.ones_like(ids)}
    return tuple(values.get(name, torch.zeros_like(ids)) for name in source.inputs)


def make(source: Source, methods: Sequence[str], opset: int) -> Graphs:
    """The graphs of a source that is `frozen`. UsageError for a method that is unknown or has nothing to explain, ExportError where a trace fails."""
    for method in methods:
        check_method(method, source.classes)
    outputs = tuple(output.name for output in source.outputs)
    program = Program(source)
    with lowered(program, source.limits) as block:
        inputs = example(source, block)
        batch, sequence = dynamic_axes(block, source.limits.max_length)
        axes = ({0: batch, 1: sequence},) * len(inputs)
        predict = translate(capture(program, inputs, axes), source.inputs, outputs, opset)
        explain = {}
        if methods:
            given, vectors = Given(), source.embedding(inputs[0])
            with replaced(program, {source.embedding: given}):
                body = capture(Body(program, given), (vectors, *inputs), (axes[0], *axes))
            target = torch.zeros(2, source.classes or 0)
        for method in methods:
            explained = differentiate(source.embedding, body, (*inputs, target), (*axes, {0: batch}))
            explain[method] = translate(
                explained,
                (*source.inputs, names.TARGET),
                (*outputs, names.RELEVANCE, names.RESIDUAL),
                opset,
            )
    return Graphs(predict, explain, block)
