"""What an explanation explains: one number for each sample, from a model's outputs and a caller's target.

In: the outputs of a head. Out: a `Target`: the tensors that an explain graph takes besides the model's inputs, the
explained value f [samples] as a function of outputs and those tensors, and how the grid draws them.

    logits [samples, classes]             target [samples, classes]           f = target . logits
    logits [samples, tokens, classes]     the same, position [samples]        f = target . logits at the position
    start_logits, end_logits              target_start, target_end            f = both dot products
    last_hidden_state                     target [samples, width]             f = cosine of the real tokens' mean and target

A row of zeros stands for what the model predicts: its best class, its best start and end, and for an embedding its own
direction, with the length taken for a constant. The vector of a decoder is that at the position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgexf import names
from edgexf.bundle import manifest as contract

Array = npt.NDArray[Any]
TINY = 1e-12  # the length of a vector that has none


class Target(Protocol):
    """`tensors` are the graph's further inputs, in order."""

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]: ...

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """What `value` takes: `given`, with what the model predicts in rows of zeros. `real` is bool [samples, tokens],
        None where every token is.
        """

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], real: Tensor | None) -> Tensor:
        """The explained value [samples]."""

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """Inputs for a cell of the grid, from the axes' sizes; `real` as in `value`."""


def chosen_or_predicted(weights: Tensor, logits: Tensor) -> Tensor:
    """`weights` [..., classes], and one-hot of the best logit in rows where they are all zero."""
    best = logits.argmax(dim=-1, keepdim=True) == torch.arange(logits.shape[-1])
    given = weights.abs().sum(dim=-1, keepdim=True) > 0
    return torch.where(given, weights, best.to(logits.dtype))


def drawn_weights(rows: int, columns: int, seed: int) -> Array:
    """float32 [rows, columns], in turn: zeros (what is predicted), one column, one column against another."""
    target = np.zeros((rows, columns), dtype=np.float32)
    for row in range(rows):
        kind, chosen = (seed + row) % 3, (seed + 5 * row) % columns
        if kind > 0:
            target[row, chosen] = 1.0
        if kind > 1:
            target[row, (chosen + 1) % columns] = -1.0
    return target


@dataclass(frozen=True)
class Classes:
    """Of logits [samples, classes]; the axes' names or sizes."""

    samples: str
    classes: int | str

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        return (contract.Tensor(names.TARGET, "float32", (self.samples, self.classes)),)

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], _: Tensor | None) -> list[Tensor]:
        return [chosen_or_predicted(given[0], outputs[0].detach())]

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        return (resolved[0] * outputs[0]).sum(dim=-1)

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        columns = self.classes if isinstance(self.classes, int) else sizes[self.classes]
        found = drawn_weights(sizes[self.samples], columns, seed)
        if isinstance(self.classes, str) and real is not None and real.sum(axis=-1).max() == 1:
            found[~found.any(axis=1), 0] = (
                1.0  # choices of a single token each are alike, and the best of them is a tie
            )
        return {names.TARGET: found}


@dataclass(frozen=True)
class TokenClasses:
    """Of logits at each token: `shape` names the axes, two of which are `samples` and `tokens`, the last one classes."""

    shape: tuple[int | str, ...]
    samples: str
    tokens: str

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        return (
            contract.Tensor(names.TARGET, "float32", (self.samples, self.shape[-1])),
            contract.Tensor(names.POSITION, "int64", (self.samples,)),
        )

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], _: Tensor | None) -> list[Tensor]:
        weights, position = given
        return [chosen_or_predicted(weights, self.logits(outputs, position).detach()), position]

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        weights, position = resolved
        return (weights * self.logits(outputs, position)).sum(dim=-1)

    def logits(self, outputs: Sequence[Tensor], position: Tensor) -> Tensor:
        return at(outputs[0], position, self.shape.index(self.samples))

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        weights = drawn_weights(sizes[self.samples], int(self.shape[-1]), seed)
        return {names.TARGET: weights, names.POSITION: drawn_position(sizes, self.samples, self.tokens, seed, real)}


def at(outputs: Tensor, position: Tensor, samples: int) -> Tensor:
    """[samples, tokens, any], or with `samples` 1 [tokens, samples, any], at `position` [samples] -> [samples, any]."""
    by_sample = outputs if samples == 0 else outputs.transpose(0, 1)
    place = position[:, None, None].expand(-1, 1, by_sample.shape[-1])
    return by_sample.gather(1, place).squeeze(1)


def drawn_position(sizes: Mapping[str, int], samples: str, tokens: str, seed: int, real: Array | None) -> Array:
    """int64 [samples]: a real token of each."""
    chance, rows, length = np.random.default_rng(seed), sizes[samples], sizes[tokens]
    if real is None or tokens != names.SEQUENCE:
        return chance.integers(0, length, rows)
    return np.array([chance.choice(np.flatnonzero(row)) for row in real], dtype=np.int64)


@dataclass(frozen=True)
class Span:
    """Of start_logits and end_logits; the names of their axes."""

    samples: str
    tokens: str

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        shape = (self.samples, self.tokens)
        return tuple(contract.Tensor(name, "float32", shape) for name in (names.TARGET_START, names.TARGET_END))

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """Zeros in both targets of a row stand for the best start and end among the real tokens."""
        neither = (given[0].abs() + given[1].abs()).sum(dim=-1, keepdim=True) == 0
        found = []
        for logits, weights in zip(outputs, given, strict=False):
            shown = logits.detach()
            if real is not None and self.tokens == names.SEQUENCE:
                shown = torch.where(real, shown, torch.finfo(shown.dtype).min)
            found.append(torch.where(neither, chosen_or_predicted(torch.zeros_like(weights), shown), weights))
        return found

    def value(self, outputs: Sequence[Tensor], resolved: Sequence[Tensor], _: Tensor | None) -> Tensor:
        parts = [(weights * logits).sum(dim=-1) for logits, weights in zip(outputs, resolved, strict=False)]
        return parts[0] + parts[1]

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """In turn: zeros, a start, a start and an end."""
        rows, length = sizes[self.samples], sizes[self.tokens]
        found = {name: np.zeros((rows, length), dtype=np.float32) for name in (names.TARGET_START, names.TARGET_END)}
        for end, name in enumerate(found):
            place = drawn_position(sizes, self.samples, self.tokens, seed + end, real)
            for row in range(rows):
                found[name][row, place[row]] = float((seed + row) % 3 > end)
        return found


@dataclass(frozen=True)
class Direction:
    """Of vectors [samples, tokens, width], the mean of the real tokens', or with `decoder` the one at a position."""

    samples: str
    width: int
    decoder: bool = False

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        vector = contract.Tensor(names.TARGET, "float32", (self.samples, self.width))
        return (vector, contract.Tensor(names.POSITION, "int64", (self.samples,))) if self.decoder else (vector,)

    def resolved(self, outputs: Sequence[Tensor], given: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        """The target's direction, and in rows of zeros the vector's own and its length, [batch, 1], else 0."""
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
        """float32 [batch, width]."""
        if position:
            return at(outputs[0], position[0], 0)
        if real is None:
            return outputs[0].mean(dim=1)
        weights = real.unsqueeze(-1).to(outputs[0].dtype)
        return (outputs[0] * weights).sum(dim=1) / weights.sum(dim=1)

    def draw(self, sizes: Mapping[str, int], seed: int, real: Array | None) -> dict[str, Array]:
        """In turn: zeros, and any direction."""
        rows = sizes[self.samples]
        target = np.random.default_rng(seed).standard_normal((rows, self.width)).astype(np.float32)
        target[(seed + np.arange(rows)) % 3 == 0] = 0
        if not self.decoder:
            return {names.TARGET: target}
        position = drawn_position(sizes, self.samples, names.DECODER_SEQUENCE, seed, real)
        return {names.TARGET: target, names.POSITION: position}


def target_of(outputs: Sequence[contract.Tensor], samples: str) -> Target | None:
    """What can be explained of outputs: the first one's logits or vectors, or the first two's. `samples` names the axis of
    independent samples. None where the head gives none of these.
    """
    first, shape = outputs[0], outputs[0].shape
    fixed = isinstance(shape[-1], int)
    if not samples or samples not in shape[:2] or first.dtype != "float32" or len(shape) > 3:
        return None
    if [output.name for output in outputs[:2]] == ["start_logits", "end_logits"] and shape[0] == samples:
        return Span(samples, str(shape[1]))
    if first.name == "last_hidden_state" and len(shape) == 3 and shape[0] == samples and fixed:
        return Direction(samples, int(shape[2]), decoder=shape[1] == names.DECODER_SEQUENCE)
    if first.name == names.LOGITS and len(shape) == 2 and shape[0] == samples:
        return Classes(samples, shape[1])
    (tokens,) = (axis for axis in shape[:2] if axis != samples)
    if first.name == names.LOGITS and len(shape) == 3 and fixed and isinstance(tokens, str):
        return TokenClasses(shape, samples, tokens)
    return None
