"""Pooling: one vector for each row, from the vectors of its tokens.

In: hidden states float32 [batch, sequence, width], and two masks, bool [batch, sequence]: the real tokens, and those of
them that are pooled. Out: float32 [batch, width]. A prompt's tokens may be real and not pooled; padding is neither.

    cls                    the first pooled token
    lasttoken              the last pooled token
    max                    the largest value of the pooled tokens, width by width
    mean                   their mean
    mean_sqrt_len_tokens   their sum, divided by the square root of their number
    weightedmean           their mean, each weighted by its place among the real tokens, counted from 1

A row whose pooled tokens are none, which a truncated prompt may leave, gives zeros; `cls` then gives its first token, and
`max` minus infinity. Places are minima and maxima of whole numbers, so that no order among equals decides.
Source: the documentation of `sentence_transformers.models.Pooling`; Muennighoff 2022, "SGPT", eq. 2 (weightedmean);
Reimers and Gurevych 2019, "Sentence-BERT", section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgexf_exporters.targets import at

FEWEST = 1e-9  # what a row without pooled tokens is divided by, as in the library


def places(mask: Tensor) -> Tensor:
    """The places of tokens, int64 [sequence]."""
    return torch.arange(mask.shape[-1], device=mask.device)


def first(mask: Tensor) -> Tensor:
    """The place of the first token of a mask, int64 [batch]; 0 in a row without one."""
    found = torch.where(mask, places(mask), mask.shape[-1]).amin(dim=-1)
    return torch.where(mask.any(dim=-1), found, 0)


def last(mask: Tensor) -> Tensor:
    """The place of the last token of a mask, int64 [batch]; 0 in a row without one."""
    return torch.where(mask, places(mask), 0).amax(dim=-1)


def summed(hidden: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the tokens; a token of weight 0 counts for nothing, whatever it holds."""
    kept = torch.where(weights.unsqueeze(-1) > 0, hidden, 0.0)
    return (kept * weights.unsqueeze(-1)).sum(dim=1)


def total(weights: Tensor) -> Tensor:
    """The sum of the weights, [batch, 1], and never 0."""
    return weights.sum(dim=-1, keepdim=True).clamp(min=FEWEST)


def cls(hidden: Tensor, _: Tensor, pooled: Tensor) -> Tensor:
    return at(hidden, first(pooled), 0)


def lasttoken(hidden: Tensor, _: Tensor, pooled: Tensor) -> Tensor:
    return at(torch.where(pooled.unsqueeze(-1), hidden, 0.0), last(pooled), 0)


def largest(hidden: Tensor, _: Tensor, pooled: Tensor) -> Tensor:
    return torch.where(pooled.unsqueeze(-1), hidden, -torch.inf).amax(dim=1)


def mean(hidden: Tensor, _: Tensor, pooled: Tensor) -> Tensor:
    weights = pooled.to(hidden.dtype)
    return summed(hidden, weights) / total(weights)


def mean_sqrt(hidden: Tensor, _: Tensor, pooled: Tensor) -> Tensor:
    weights = pooled.to(hidden.dtype)
    return summed(hidden, weights) / total(weights).sqrt()


def weightedmean(hidden: Tensor, real: Tensor, pooled: Tensor) -> Tensor:
    place = places(real) - first(real).unsqueeze(-1) + 1
    weights = torch.where(pooled, place, 0).to(hidden.dtype)
    return summed(hidden, weights) / total(weights)


POOLS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cls": cls,
    "max": largest,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_sqrt,
    "weightedmean": weightedmean,
    "lasttoken": lasttoken,
}


class Pooling(nn.Module):
    """Pools by one or several of `POOLS`; several are concatenated, [batch, width * modes]."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, hidden: Tensor, real: Tensor, pooled: Tensor) -> Tensor:
        found: list[Any] = [POOLS[mode](hidden, real, pooled) for mode in self.modes]
        return found[0] if len(found) == 1 else torch.cat(found, dim=-1)
