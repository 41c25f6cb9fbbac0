"""Compile an explanation into the graph: the model, its reverse pass, and relevance in one program.

In: token embeddings and a body ``(embeddings, input_ids, attention_mask, ...) -> logits``. Out: an `ExportedProgram`

    (input_ids, attention_mask, ..., target) -> (logits, relevance, residual)

    f          = sum over classes of target * logits       a row of zeros in target: the predicted class
    relevance  = sum over width of embedding * df/d embedding, 0 at padding             gradient x input
    residual   = f - sum over tokens of relevance

The body is captured first, then differentiated with plain `torch.autograd.grad` while it is traced
again with symbolic sizes, so batch and length stay dynamic. (`torch.func.vjp` specialises them.)
Source of gradient x input: Shrikumar et al. 2016, "Not just a black box", section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from edgexf.errors import UsageError
from edgexf_exporters.source import Source
from edgexf_exporters.trace import Axes, capture, in_a_sentence

METHODS = ("gradient",)
Mask = tuple[int, int]  # the place among the inputs of the one that tells real tokens, and what marks them there


def check_method(method: str, source: Source) -> None:
    """UsageError for a method that is unknown, or asked of a model that can't be explained."""
    if source.classes is None:
        raise UsageError(
            f"an explanation needs logits of classes, and token ids that an embedding reads, got {method!r} for a model "
            f"without ({source.unexplained}); export it with --explain none."
        )
    if method not in METHODS:
        raise UsageError(
            f"an explanation method must be one of {', '.join(METHODS)} or none, got {method!r}; choose one of them."
        )


def weights_on_logits(logits: Tensor, target: Tensor) -> Tensor:
    """`target`, and one-hot of the predicted class in rows where it is all zero; float32 [batch, classes]."""
    predicted = torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    chosen = target.abs().sum(dim=-1, keepdim=True) > 0  # [batch, 1]
    return torch.where(chosen, target, predicted)


class GradientTimesInput(nn.Module):
    """The body and its gradient; see the module's docstring."""

    def __init__(self, tokens: nn.Module, body: nn.Module, mask: Mask | None) -> None:
        super().__init__()
        self.tokens = tokens
        self.body = body
        self.mask = mask

    def forward(self, input_ids: Tensor, *others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *rest, target = others
        embeddings = self.tokens(input_ids).detach().requires_grad_(True)
        logits = self.body(embeddings, input_ids, *rest)
        weights = weights_on_logits(logits.detach(), target)
        explained = (weights * logits).sum(dim=-1)  # [batch]
        (gradient,) = torch.autograd.grad(explained.sum(), embeddings)
        relevance = (gradient * embeddings.detach()).sum(dim=-1)
        if self.mask is not None:
            place, real = self.mask
            relevance = torch.where((input_ids, *rest)[place] == real, relevance, 0.0)
        relevance = relevance.flatten(1)  # of folded inputs [batch, blocks, block]
        return logits.detach(), relevance, explained.detach() - relevance.sum(dim=-1)


def convolution_backward(
    gradient: Tensor,
    _inputs: Tensor,
    weight: Tensor,
    _bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> Any:
    """The gradient of a convolution's input, for which ONNX has no operator: with steps of 1 it is a convolution with the
    kernel turned around. NotImplemented for others, which then have no translation. Weights are constants and have none.
    """
    around = [step * (size - 1) - pad for step, size, pad in zip(dilation, weight.shape[2:], padding, strict=True)]
    if transposed or list(wanted) != [True, False, False] or any(step != 1 for step in stride) or min(around) < 0:
        return NotImplemented
    turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(tuple(range(2, weight.ndim)))
    none = [0] * len(around)
    reverse = torch.ops.aten.convolution.default
    return reverse(gradient, turned, None, stride, around, dilation, False, none, groups), None, None


REVERSED: dict[Any, Callable[..., Any]] = {torch.ops.aten.convolution_backward.default: convolution_backward}


def differentiate(
    tokens: nn.Module,
    body: ExportedProgram,
    mask: Mask | None,
    example: tuple[Tensor, ...],
    shapes: Sequence[Axes],
) -> ExportedProgram:
    """The explain program; `example` and `shapes` are those of (input_ids, attention_mask, ..., target).

    ExportError where the body has no gradient, or one that depends on values.
    """
    module = GradientTimesInput(tokens, body.module(check_guards=False), mask)
    with in_a_sentence(
        "an explained model must be differentiable from its logits to its token embeddings",
        "export it with --explain none, or lower the module that this names",
    ):
        flat = make_fx(module, tracing_mode="symbolic", decomposition_table=REVERSED, _allow_non_fake_inputs=True)(
            *example
        )
    return capture(flat, example, shapes)
