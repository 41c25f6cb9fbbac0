"""What all explain programs share: what they must know of a source, and the answer that they explain.

In: a method, the embedding, a captured body and an `ExplainSpec`. Out: a base class, whose subclasses are the programs of
`edgexf_exporters.explain.compile`, `integrated` and `rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgexf_exporters.explain.methods import Method
from edgexf_exporters.targets import Target


@dataclass(frozen=True)
class ExplainSpec:
    """What an explain program must know of its source: the inputs' number, the `target`, and `blocked`: which of all inputs
    come as [..., blocks, block]. `mask`: the place among the inputs of the one that tells real tokens, and what marks
    them there; `rows` and `output_rows`: the axis of samples of all inputs, and of the model's outputs. `summed`: the axis
    of what is explained along which relevance is the sum, a token's width or a pixel's channels; None without one.
    """

    inputs: int
    target: Target
    blocked: tuple[bool, ...]
    mask: tuple[int, int] | None
    rows: tuple[int | None, ...]
    output_rows: tuple[int | None, ...]
    summed: int | None = -1

    @property
    def samples(self) -> int:
        """The axis of samples of the first input."""
        return self.rows[0] or 0

    def flat(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """All inputs as [..., tokens]."""
        return [tensor.flatten(-2) if fold else tensor for tensor, fold in zip(inputs, self.blocked, strict=True)]

    def relevance(self, scores: Tensor, real: Tensor | None) -> Tensor:
        """Scores of all that is explained as the graph answers them: summed, [..., tokens], 0 where nothing is `real`."""
        found = scores if self.summed is None else scores.sum(dim=self.summed)
        found = found.flatten(-2) if self.blocked[0] else found
        return found if real is None else torch.where(real, found, 0.0)

    def total(self, relevance: Tensor) -> Tensor:
        """[samples]."""
        rest = [axis for axis in range(relevance.ndim) if axis != self.samples]
        return relevance.sum(dim=rest)

    def real(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """bool, as the first input."""
        if self.mask is None:
            return None
        place, mark = self.mask
        return inputs[place] == mark


class ExplainProgram(nn.Module):
    """`body` goes from embeddings and the inputs to the outputs; `tokens` makes the embeddings of the first input."""

    def __init__(self, method: Method, tokens: nn.Module, body: nn.Module, explained: ExplainSpec) -> None:
        super().__init__()
        self.method = method
        self.tokens = tokens
        self.body = body
        self.explained = explained

    def answered(
        self, inputs: Sequence[Tensor], rules: AbstractContextManager[Any]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor | None]:
        """Under `rules`: the outputs, the explained value [samples], the embeddings that it hangs on, and `ExplainSpec.real`."""
        about = self.explained
        flat = about.flat(inputs)
        real = about.real(flat)
        embeddings = self.tokens(inputs[0]).detach().requires_grad_(True)
        with rules:
            outputs = self.body(embeddings, *inputs[: about.inputs])
            resolved = about.target.resolved(outputs, flat[about.inputs :], real)
            value = about.target.value(outputs, resolved, real)
        return tuple(output.detach() for output in outputs), value, embeddings, real
