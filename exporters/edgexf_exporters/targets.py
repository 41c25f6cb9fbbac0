"""The explained value: one number for each sample, computed from a model's outputs and a caller's target.

In: the outputs of a head. Out: a `Target`. It names the tensors that an explain graph takes besides the model's inputs.
It computes the explained value f [samples] from the outputs and these tensors. It draws these tensors for the grid.

    logits [samples, classes]             target [samples, classes]           f = target . logits
    logits [samples, tokens, classes]     the same, position [samples]        f = target . logits at the position
    start_logits, end_logits              target_start, target_end            f = both dot products
    last_hidden_state                     target [samples, width]             f = cosine of target and the vector
    ..., sentence_embedding               target [samples, width]             f = cosine of target and the embedding

The vector of a sample is the mean of its real tokens' vectors; for a decoder it is the vector at the position. A target
row of zeros stands for what the model predicts: the best class, or the best start and end. For vectors, a row of zeros
stands for the direction of the sample's vector, whose length then counts as a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.formula import known
from edgexf.bundle.heads import CLASSES, EMBEDDING, SPAN, TOKEN_CLASSES, VECTORS, Head, Kind, head_of

Array = npt.NDArray[Any]
TINY = 1e-12  # the least length of a vector, so that no division is by 0


class Target(Protocol):
    """The explained value of a `head`. `head.targets` are the graph's further inputs, in order."""

    @property
    def head(self) -> Head: ...

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """The tensors that `value` takes: `given`, with the model's prediction in place of rows of zeros.

        `real` is bool [samples, tokens], or None where every token is real.
        """

    def on_path(self, resolved: Sequence[Tensor]) -> list[Tensor]:
        """What `value` takes at the points of a path that ends at the input."""

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], real: Tensor | None) -> Tensor:
        """The explained value [samples]."""

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """The target's inputs for a cell of the grid, from the sizes of the axes; `real` is as in `resolved`."""


def chosen_or_predicted(weights: Tensor, logits: Tensor) -> Tensor:
    """`weights` [..., classes]; a row of zeros becomes one-hot at the best logit."""
    best = logits.argmax(dim=-1, keepdim=True) == torch.arange(logits.shape[-1])
    given = weights.abs().sum(dim=-1, keepdim=True) > 0
    return torch.where(given, weights, best.to(logits.dtype))


def drawn_weights(rows: int, columns: int, seed: int) -> Array:
    """Draws weights, float32 [rows, columns].

    Rows take turns: zeros (the prediction), one column, one column against another.
    """
    target = np.zeros((rows, columns), dtype=np.float32)
    for row in range(rows):
        kind, chosen = (seed + row) % 3, (seed + 5 * row) % columns
        if kind > 0:
            target[row, chosen] = 1.0
        if kind > 1:
            target[row, (chosen + 1) % columns] = -1.0
    return target


class Fixed:
    """A target whose value is of one form at every point of a path."""

    def on_path(self, resolved: Sequence[Tensor]) -> list[Tensor]:
        return list(resolved)


@dataclass(frozen=True)
class Classes(Fixed):
    """Explains logits [samples, classes]."""

    head: Head

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], _: Tensor | None) -> list[Tensor]:
        return [chosen_or_predicted(given[0], outputs[0].detach())]

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        return (resolved[0] * outputs[0]).sum(dim=-1)

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        columns = self.head.columns if isinstance(self.head.columns, int) else sizes[self.head.columns]
        found = drawn_weights(sizes[self.head.samples], columns, seed)
        if not self.head.has_fixed_columns and real is not None and real.sum(axis=-1).max() == 1:
            found[~found.any(axis=1), 0] = 1.0  # choices of a single token are equal, so the best choice would be a tie
        return {names.TARGET: found}


@dataclass(frozen=True)
class TokenClasses(Fixed):
    """Explains logits at a token, from [samples, tokens, classes] or [tokens, samples, classes]."""

    head: Head

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], _: Tensor | None) -> list[Tensor]:
        weights, position = given
        return [chosen_or_predicted(weights, self.logits(outputs, position).detach()), position]

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        weights, position = resolved
        return (weights * self.logits(outputs, position)).sum(dim=-1)

    def logits(self, outputs: Sequence[Tensor], position: Tensor) -> Tensor:
        return at(outputs[0], position, 0 if self.head.rows_first else 1)

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        weights = drawn_weights(sizes[self.head.samples], int(self.head.columns), seed)
        return {names.TARGET: weights, names.POSITION: drawn_position(sizes, self.head, seed, real)}


def at(outputs: Tensor, position: Tensor, samples: int) -> Tensor:
    """[samples, tokens, any] at `position` [samples] -> [samples, any].

    `samples` is the axis of samples; with 1 the outputs are [tokens, samples, any].
    """
    by_sample = outputs if samples == 0 else outputs.transpose(0, 1)
    place = position[:, None, None].expand(-1, 1, by_sample.shape[-1])
    return by_sample.gather(1, place).squeeze(1)


def drawn_position(sizes: Mapping[str, int], head: Head, seed: int, real: Array | None) -> Array:
    """Draws the position of a real token for each sample, int64 [samples]."""
    chance, rows, length = np.random.default_rng(seed), sizes[head.samples], sizes[str(head.tokens)]
    if real is None or head.tokens != names.SEQUENCE:
        return chance.integers(0, length, rows)
    return np.array([chance.choice(np.flatnonzero(row)) for row in real], dtype=np.int64)


@dataclass(frozen=True)
class Span(Fixed):
    """Explains start_logits and end_logits."""

    head: Head

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """Replaces a row that is zero in both targets by the best start and the best end among the real tokens."""
        neither = (given[0].abs() + given[1].abs()).sum(dim=-1, keepdim=True) == 0
        found = []
        for logits, weights in zip(outputs, given, strict=False):
            shown = logits.detach()
            if real is not None and self.head.tokens == names.SEQUENCE:
                shown = torch.where(real, shown, torch.finfo(shown.dtype).min)
            found.append(torch.where(neither, chosen_or_predicted(torch.zeros_like(weights), shown), weights))
        return found

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        parts = [(weights * logits).sum(dim=-1) for logits, weights in zip(outputs, resolved, strict=False)]
        return parts[0] + parts[1]

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """Draws both targets. Rows take turns: zeros, a start, a start and an end."""
        rows, length = sizes[self.head.samples], sizes[str(self.head.tokens)]
        found = {name: np.zeros((rows, length), dtype=np.float32) for name in self.head.kind.weights}
        for end, name in enumerate(found):
            place = drawn_position(sizes, self.head, seed + end, real)
            for row in range(rows):
                found[name][row, place[row]] = float((seed + row) % 3 > end)
        return found


@dataclass(frozen=True)
class Direction(Fixed):
    """Explains vectors [samples, tokens, width]: the mean over the real tokens, or a decoder's vector at a position."""

    head: Head

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """The direction to compare with, the constant length, and the position if the head has one.

        The direction, [batch, width], is the direction of the target, or of the sample's vector where the target is a
        row of zeros. The constant length, [batch, 1], is the length of the sample's vector where the target is a row of
        zeros, and 0 otherwise.
        """
        target, *position = given
        vector = self.vector(outputs, position, real).detach()
        asked = target.abs().sum(dim=-1, keepdim=True) > 0
        direction = torch.where(asked, target, vector)
        norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True).clamp(min=TINY)
        return [direction / norm, torch.where(asked, 0.0, norm), *position]

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], real: Tensor | None) -> Tensor:
        direction, length, *position = resolved
        vector = self.vector(outputs, position, real)
        own = torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=TINY)
        cosine: Tensor = (vector * direction / torch.where(length > 0, length, own)).sum(dim=-1)
        return cosine

    def vector(self, outputs: Sequence[Tensor], position: Sequence[Tensor], real: Tensor | None) -> Tensor:
        """The vector of each sample, float32 [batch, width]."""
        if position:
            return at(outputs[0], position[0], 0)
        if real is None:
            return outputs[0].mean(dim=1)
        weights = real.unsqueeze(-1).to(outputs[0].dtype)
        return (outputs[0] * weights).sum(dim=1) / weights.sum(dim=1)

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """Draws a direction, and a position if the head has one. Every third row of the target is zeros."""
        rows = sizes[self.head.samples]
        target = np.random.default_rng(seed).standard_normal((rows, int(self.head.columns))).astype(np.float32)
        target[(seed + np.arange(rows)) % 3 == 0] = 0
        if not self.head.positioned:
            return {names.TARGET: target}
        position = drawn_position(sizes, self.head, seed, real)
        return {names.TARGET: target, names.POSITION: position}


class Embedding(Direction):
    """Explains sentence_embedding [samples, width].

    On a path, a target of zeros stands for the cosine with the embedding at the input, whose lengths are no constants: an
    embedding of length 1 leaves no other value whose gradient adds up along the path.
    """

    def on_path(self, resolved: Sequence[Tensor]) -> list[Tensor]:
        direction, length = resolved
        return [direction, torch.zeros_like(length)]

    def vector(self, outputs: Sequence[Tensor], _: Sequence[Tensor], __: Tensor | None) -> Tensor:
        return outputs[1]


TARGETS: dict[Kind, Callable[[Head], Target]] = {
    CLASSES: Classes,
    TOKEN_CLASSES: TokenClasses,
    SPAN: Span,
    EMBEDDING: Embedding,
    VECTORS: Direction,
}
FIXED = (TOKEN_CLASSES, EMBEDDING, VECTORS)  # kinds whose last axis must have a fixed size


def target_of(outputs: Sequence[contract.Tensor], samples: str, axes: Collection[str] | None = None) -> Target | None:
    """The target of a model with these outputs, or None where nothing can be explained.

    `samples` names the axis of independent samples. `axes` are the names of the inputs' axes, if outputs may have others:
    a token that is explained must have a place that can be counted.
    """
    head = head_of(outputs, samples)
    if head is None or head.outputs[0].dtype != "float32" or (head.kind in FIXED and not head.has_fixed_columns):
        return None
    if head.kind == TOKEN_CLASSES and not isinstance(head.tokens, str):
        return None
    if axes is not None and any(not known(axis, dict.fromkeys(axes, 0)) for axis in head.shape):
        return None
    return TARGETS[head.kind](head)
