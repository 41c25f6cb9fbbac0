"""The base of all explain programs: the facts about a source, and the run of the model whose output is explained.

In: a method, the embedding, a captured body and an `ExplainSpec`. Out: a base class. Its subclasses are the programs of
`edgexf_exporters.explain.compile`, `integrated` and `rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from edgexf_exporters.explain.methods import Method
from edgexf_exporters.targets import Target


@dataclass(frozen=True)
class ExplainSpec:
    """What an explain program must know of its source.

    All inputs are the model's inputs, then the inputs of the target, then a baseline and a path where the method takes
    them.

    Attributes:
        inputs: the number of the model's inputs.
        target: the explained value.
        blocked: for each of all inputs, whether it comes as [..., blocks, block].
        mask: the place of the mask among the inputs, and the values that mark real tokens in it; None without a mask.
        rows: the axis of samples of each of all inputs; None for an input without samples.
        output_rows: the axis of samples of each output of the model.
        summed: the axis along which relevance is a sum: the width of a token or the channels of a pixel. None without
            such an axis.
    """

    inputs: int
    target: Target
    blocked: tuple[bool, ...]
    mask: tuple[int, tuple[int, ...]] | None
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
        """The relevance that the graph returns: scores summed along `summed`, [..., tokens], 0 where not `real`."""
        found = scores if self.summed is None else scores.sum(dim=self.summed)
        found = found.flatten(-2) if self.blocked[0] else found
        return found if real is None else torch.where(real, found, 0.0)

    def total(self, relevance: Tensor) -> Tensor:
        """The sum of relevance for each sample, [samples]."""
        rest = [axis for axis in range(relevance.ndim) if axis != self.samples]
        return relevance.sum(dim=rest)

    def real(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """Which tokens are real: bool, in the shape of the first input. None without a mask."""
        if self.mask is None:
            return None
        place, marks = self.mask
        return reduce(torch.logical_or, [inputs[place] == mark for mark in marks])


class ExplainProgram(nn.Module):
    """The base class of explain programs.

    `tokens` makes the embeddings of the first input. `body` makes the outputs from the embeddings and the inputs.
    """

    def __init__(self, method: Method, tokens: nn.Module, body: nn.Module, explained: ExplainSpec) -> None:
        super().__init__()
        self.method = method
        self.tokens = tokens
        self.body = body
        self.explained = explained

    def answered(
        self, inputs: Sequence[Tensor], rules: AbstractContextManager[Any]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor | None]:
        """Runs the body under `rules`.

        Returns the outputs, the explained value [samples], the embeddings that it depends on, and `ExplainSpec.real`.
        """
        about = self.explained
        flat = about.flat(inputs)
        real = about.real(flat)
        embeddings = self.tokens(inputs[0]).detach().requires_grad_(True)
        with rules:
            outputs = self.body(embeddings, *inputs[: about.inputs])
            resolved = about.target.resolved(outputs, flat[about.inputs :], real)
            value = about.target.value(outputs, resolved, real)
        return tuple(output.detach() for output in outputs), value, embeddings, real
