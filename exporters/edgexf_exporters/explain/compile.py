"""Compile an explanation into the graph: the model, its reverse pass, and relevance in one program.

In: token embeddings and a body ``(embeddings, input_ids, attention_mask, ...) -> outputs``. Out: an `ExportedProgram`

    (input_ids, attention_mask, ..., target) -> (outputs, relevance, residual)

    f          = the explained value, by `edgexf_exporters.targets`
    relevance  = sum over width of embedding * df/d embedding, 0 at padding
    residual   = f - sum over tokens of relevance

The body is captured first. Then it is traced again with symbolic sizes, while `torch.autograd.grad` differentiates it,
so batch and length stay dynamic. (`torch.func.vjp` specialises them.) The rules of a method change the derivative:
see `edgexf_exporters.explain.rules`.
Source of gradient x input: Shrikumar et al. 2016, "Not just a black box", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from edgexf.errors import UsageError, in_a_sentence
from edgexf_exporters.explain.methods import METHODS, Method
from edgexf_exporters.explain.program import ExplainProgram, ExplainSpec
from edgexf_exporters.explain.reverse import REVERSED
from edgexf_exporters.source import Source
from edgexf_exporters.trace.export import Axes, capture


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


def differentiate(
    method: Method,
    tokens: nn.Module,
    body: ExportedProgram,
    explained: ExplainSpec,
    example: tuple[Tensor, ...],
    shapes: Sequence[Axes],
) -> ExportedProgram:
    """Makes the explain program. `example` and `shapes` belong to (input_ids, attention_mask, ..., target).

    Raises ExportError where the body has no gradient, a gradient that depends on values, or an operator without a rule.
    """
    module = method.load_program()(method, tokens, body.module(check_guards=False), explained)
    with in_a_sentence(
        "an explained model must be differentiable from its outputs to its token embeddings",
        "export it with --explain none, or lower the module that this names",
    ):
        flat = make_fx(module, tracing_mode="symbolic", decomposition_table=REVERSED, _allow_non_fake_inputs=True)(
            *example
        )
    return capture(flat, example, shapes)
