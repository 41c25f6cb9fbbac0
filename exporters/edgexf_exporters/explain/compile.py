"""Compile an explanation into the graph: the model, its reverse pass, and relevance in one program.

In: token embeddings and a body ``(embeddings, input_ids, attention_mask, ...) -> outputs``. Out: an `ExportedProgram`

    (input_ids, attention_mask, ..., target) -> (outputs, relevance, residual)

    f          = the explained value, by `edgexf_exporters.targets`
    relevance  = sum over width of embedding * df/d embedding, 0 at padding
    residual   = f - sum over tokens of relevance

The body is captured first. Then it is traced again, while `torch.autograd.grad` differentiates it. The sizes of this trace
are those of `Frame`, a captured program with the same inputs, so batch and length stay dynamic. (`torch.func.vjp`
specialises them.) The rules of a method change the derivative: see `edgexf_exporters.explain.rules`.
Source of gradient x input: Shrikumar et al. 2016, "Not just a black box", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgexf.bundle.formula import formula, known, size_of
from edgexf.errors import UsageError, in_a_sentence
from edgexf_exporters.explain.layers import Following, note_sums
from edgexf_exporters.explain.methods import METHODS, Method
from edgexf_exporters.explain.program import ExplainProgram, ExplainSpec
from edgexf_exporters.explain.reverse import REVERSED
from edgexf_exporters.source import Source
from edgexf_exporters.trace.export import Axes, capture
from edgexf_exporters.trace.prepare import decompositions
from edgexf_exporters.trace.retrace import retraced


class GradientTimesInput(ExplainProgram):
    """The body and its gradient; see the module's docstring."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs, value, embeddings, real = self.answered(inputs, self.method.rules())
        (gradient,) = torch.autograd.grad(value.sum(), embeddings)
        relevance = self.explained.relevance(gradient * embeddings.detach(), real)
        return *outputs, relevance, value.detach() - self.explained.total(relevance)


def check_method(method: str, source: Source) -> None:
    """Raises UsageError for an unknown method, and for a method that can't explain this model."""
    if source.target is None:
        raise UsageError(
            f"an explanation needs logits or vectors, and token ids that an embedding reads, got {method!r} for a model "
            f"without ({source.unexplained}); export it with --explain none."
        )
    if method not in METHODS:
        raise UsageError(
            f"an explanation method must be one of {', '.join(METHODS)} or none, got {method!r}; choose one of them."
        )
    if METHODS[method].attends and not source.mixing:
        reason = source.variant.unweighted or "no record says where its values are"
        raise UsageError(
            f"{method} needs an attention whose weights are over tokens, got {source.variant.name}: {reason}; explain by another method."
        )


class Frame(nn.Module):
    """Captured, it has the inputs of an explain program, whose trace `differentiate` puts in its place.

    `declared` are the shapes of the inputs by their axes. The capture learns which sizes follow from others.
    """

    def __init__(self, declared: Sequence[tuple[int | str, ...]] = ()) -> None:
        super().__init__()
        self.declared = declared

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        axes = [
            pair
            for shape, tensor in zip(self.declared, inputs, strict=False)
            for pair in zip(shape, tensor.shape, strict=False)
        ]
        sizes: dict[str, Any] = {str(axis): size for axis, size in axes}
        for axis, size in axes:
            if isinstance(axis, str) and not formula(axis).is_axis and known(axis, sizes):
                torch._check(size == size_of(axis, sizes))
        return tuple(tensor.clone() for tensor in inputs)


def differentiate(
    method: Method,
    tokens: nn.Module,
    body: ExportedProgram,
    explained: ExplainSpec,
    example: tuple[Tensor, ...],
    shapes: Sequence[Axes],
    opset: int,
    declared: Sequence[tuple[int | str, ...]] = (),
) -> ExportedProgram:
    """Makes the explain program. `example`, `shapes` and `declared` belong to (input_ids, attention_mask, ..., target).

    Raises ExportError where the body has no gradient, a gradient that depends on values, or an operator without a rule.
    """
    module = method.load_program()(method, tokens, Following(body.module(check_guards=False)), explained)
    with in_a_sentence(
        "an explained model must be differentiable from its outputs to its token embeddings",
        "export it with --explain none, or lower the module that this names",
    ):
        frame = capture(Frame(declared), example, shapes)
        program = retraced(frame, module, {**decompositions(opset), **REVERSED}, composite=False)
    note_sums(program.graph)
    return program
