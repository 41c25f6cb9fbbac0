"""Attention weights as an explanation: how much of each token they carry to the places where the answer is read.

In: as in `edgexf_exporters.explain.compile`. Out: relevance that sums to 1, in shares of attention.

    row        = |df / d mixed| of the last layer, divided by its sum         [rows, tokens]: where f is read
    rollout:     row <- (row + row A) / 2, from the last layer to the first    A: the mean of a layer's heads
    attention:   row A of each layer and head, float32 [rows, layers, heads, tokens], and their mean as relevance

For a class token or a position, the row is that token alone. For a mean over tokens, the row is nearly uniform. One
reverse pass gives row A (`edgexf_exporters.explain.mixing`), so no tensor here is [tokens, tokens].

Shares are positive and are not parts of f: a token that speaks against a class gets as much as a token that speaks for
it. Shares do not include causes outside attention (positions, norms, feed-forward layers, convolutions over
neighbours).
Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3 (rollout, with half for the
residual connection); Jain and Wallace 2019 on what weights alone do not explain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgexf_exporters.explain.mixing import Layer, Watching
from edgexf_exporters.explain.program import ExplainProgram

TINY = 1e-30  # the least sum of slopes, so that no division is by 0
RESIDUAL_SHARE = 0.5  # the share of a token's state that passes a layer through the residual connection


def read_at(value: Tensor, last: Layer, choices: bool) -> Tensor:
    """The row [rows, tokens] that shows where the explained value [samples] reads the last layer.

    All rows of a sample together sum to 1; a sample has several rows where it has `choices`.
    """
    (slope,) = torch.autograd.grad(value.sum(), last.mixed, retain_graph=True)
    size = torch.linalg.vector_norm(slope, dim=-1)
    by_sample: Tensor = size.unflatten(0, (value.shape[0], -1)) if choices else size.unsqueeze(1)
    found: Tensor = by_sample / by_sample.sum(dim=(1, 2), keepdim=True).clamp(min=TINY)  # [samples, choices, tokens]
    return found.flatten(0, 1)


def rollout(row: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Relevance by rollout, [rows, tokens]. `layers` begin with the last layer."""
    for layer in layers:
        row = RESIDUAL_SHARE * row + (1 - RESIDUAL_SHARE) * layer.carried(row).mean(dim=1)
    return row


def weights(row: Tensor, layers: Sequence[Layer]) -> Tensor:
    """The weights of each layer and head, [rows, layers, heads, tokens], the first layer first.

    `layers` begin with the last layer.
    """
    return torch.stack([layer.carried(row) for layer in reversed(layers)], dim=1)


def scores(value: Tensor, watching: Watching, given: bool, choices: bool) -> tuple[Tensor, ...]:
    """Relevance [rows, tokens]; with `given` also the weights."""
    layers = watching.last_first()
    row = read_at(value, layers[0], choices)
    if not given:
        return (rollout(row, layers),)
    found = weights(row, layers)
    return found.mean(dim=(1, 2)), found


class AttentionWeights(ExplainProgram):
    """See the module's docstring."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        watching, first = Watching(), self.explained.flat(inputs)[0]
        outputs, value, _, real = self.answered(inputs, watching)
        found, *more = scores(value, watching, self.method.weights, first.ndim > 2)
        rows = first.shape[:-1]
        relevance = found.reshape(*rows, -1)
        relevance = relevance if real is None else torch.where(real, relevance, 0.0)
        given = [one.reshape(*rows, *one.shape[1:]) for one in more]
        return *outputs, relevance, value.detach() - self.explained.total(relevance), *given
