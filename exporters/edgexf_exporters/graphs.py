"""From an encoder to its two graphs: predict, and one explain graph for each method.

In: an `edgexf.models.encoder.Encoder`. Out: `Graphs`, ONNX models over block-aligned lengths, and the
block. `edgexf.passes` makes them take any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn

from edgexf import names
from edgexf.models.encoder import Encoder
from edgexf_exporters.explain import check_method, differentiate
from edgexf_exporters.swap import lowered
from edgexf_exporters.trace import BLOCKS_TRACED, capture, dynamic_axes, translate

TOKENS_TRACED = 96  # an example's length where the block is a single token

PREDICT_INPUTS = (names.INPUT_IDS, names.ATTENTION_MASK)
PREDICT_OUTPUTS = (names.LOGITS,)
EXPLAIN_INPUTS = (*PREDICT_INPUTS, names.TARGET)
EXPLAIN_OUTPUTS = (*PREDICT_OUTPUTS, names.RELEVANCE, names.RESIDUAL)


@dataclass(frozen=True)
class Graphs:
    """`explain` maps a method to its graph, the first method first; `block` is in tokens."""

    predict: onnx.ModelProto
    explain: dict[str, onnx.ModelProto]
    block: int


class Body(nn.Module):
    """An encoder from its token embeddings on."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, embeddings: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder.classify(embeddings, attention_mask)


@contextmanager
def without_gradients(model: nn.Module) -> Iterator[None]:
    """Weights are constants while a graph is made; afterwards each wants a gradient as before."""
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


def example(encoder: Encoder, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """input_ids and attention_mask [2, aligned length], target [2, labels]: shapes matter, values don't."""
    length = BLOCKS_TRACED * block if block > 1 else min(TOKENS_TRACED, encoder.spec.max_length)
    ids = torch.arange(2 * length).reshape(2, length) % encoder.spec.vocabulary
    return ids, torch.ones_like(ids), torch.zeros(2, len(encoder.spec.labels))


def make(encoder: Encoder, methods: Sequence[str], opset: int) -> Graphs:
    """The encoder's graphs. UsageError for an unknown method, ExportError where a trace fails."""
    for method in methods:
        check_method(method)
    with without_gradients(encoder), lowered(encoder) as block:
        ids, mask, target = example(encoder, block)
        batch, sequence = dynamic_axes(block, encoder.spec.max_length)
        tokens = {0: batch, 1: sequence}
        program = capture(encoder, (ids, mask), (tokens, tokens))
        predict = translate(program, PREDICT_INPUTS, PREDICT_OUTPUTS, opset)
        explain = {}
        for method in methods:
            body = capture(Body(encoder), (encoder.tokens(ids), mask), (tokens, tokens))
            program = differentiate(encoder.tokens, body, (ids, mask, target), (tokens, tokens, {0: batch}))
            explain[method] = translate(program, EXPLAIN_INPUTS, EXPLAIN_OUTPUTS, opset)
    return Graphs(predict, explain, block)
