"""The PyPI package nystrom_attention: landmarks at any length, without padding the tokens.

    before  zeros in front up to a multiple of the landmarks, an einops sum over segments of ceil(sequence / landmarks)
            tokens, a pseudo-inverse whose first guess divides by maxima over the whole batch
    after   landmarks = membership [landmarks, sequence] @ tokens; a single column log(zeros) in one softmax replaces
            the zeros in front; the first guess divides by the maxima of each sample

The zeros in front have score 0 and value 0, so they count in one softmax alone. An answer does not depend on batch
mates: it is the answer that the library gives to the sample alone. Therefore, where an export compares, the library
answers one sample at a time (`each_row`). Two alternatives were weighed. The library's maximum over the batch makes
every answer depend on its batch mates. Padded tokens cost a copy in each layer.
Source: Xiong et al. 2021, eq. 13-16; `NystromAttention` of nystrom_attention.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.fixed_random import changed
from edgexf_exporters.trace.marks import constant

INVERSE = "moore_penrose_iter_pinv"  # the library's function; explanations take its result as a constant
HIDDEN = torch.finfo(torch.float32).min


class Attention(nn.Module):
    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, x: Tensor, mask: Tensor | None = None, **asked: bool) -> Tensor:
        """Takes and returns what `NystromAttention` does.

        x and the answer are float32 [batch, sequence, width], mask is bool [batch, sequence]. Raises ExportError where
        the caller also asks for attention matrices.
        """
        if any(asked.values()):
            raise ExportError(f"Nystrom attention answers with values, got {', '.join(asked)} too; leave it out.")
        own, length, count = self.original, x.shape[1], self.original.num_landmarks
        query, key, value = (split_heads(tokens, own.heads) for tokens in own.to_qkv(x).chunk(3, dim=-1))
        if mask is not None:
            query, key, value = (tokens * mask[:, None, :, None] for tokens in (query, key, value))
        each = (length + count - 1) // count  # tokens of a segment
        zeros = each * count - length  # how many stand in front of the tokens
        member = ((torch.arange(length) + zeros) // each == torch.arange(count).unsqueeze(1)).to(x.dtype)
        query = query * own.scale
        real = None if mask is None else mask[:, None].to(x.dtype)  # [batch, 1, sequence]
        filled = None if real is None else real @ member.T  # [batch, 1, landmarks], how many tokens are real
        # onnxscript treats a summand of 1e-8 as 0, and 0 / 0 has no gradient, even where a mask hides the result.
        divisor = each if filled is None else torch.where(filled > 0, filled + own.eps, 1.0).unsqueeze(-1)
        landmark_query, landmark_key = member @ query / divisor, member @ key / divisor
        first = self.weights(query @ landmark_key.transpose(-1, -2), real, filled)
        second = self.weights(landmark_query @ landmark_key.transpose(-1, -2), filled, filled)
        third = self.gathered(landmark_query @ key.transpose(-1, -2), value, filled, real, zeros)
        mixed = first @ constant(inverse(second, own.pinv_iterations)) @ third
        if own.residual:
            mixed = mixed + own.res_conv(value)
        answer: Tensor = own.to_out(join_heads(mixed))
        return answer

    def weights(self, scores: Tensor, asks: Tensor | None, shown: Tensor | None) -> Tensor:
        """Softmax over the columns that are shown to each row.

        `asks` [batch, 1, rows] and `shown` [batch, 1, columns] are 0 where a row or a column is hidden.
        """
        return self.hide(scores, asks, shown).softmax(dim=-1)

    def hide(self, scores: Tensor, asks: Tensor | None, shown: Tensor | None) -> Tensor:
        if asks is None or shown is None:
            return scores
        return torch.where((asks.unsqueeze(-1) > 0) & (shown.unsqueeze(-2) > 0), scores, HIDDEN)

    def gathered(self, scores: Tensor, value: Tensor, filled: Tensor | None, real: Tensor | None, zeros: int) -> Tensor:
        """The mixed values of each landmark, over all tokens and the zeros in front, whose score and value are 0."""
        front = torch.log(torch.full((1,), zeros, dtype=scores.dtype)).clamp(min=HIDDEN)  # log 0 hides them
        if filled is not None:  # a mask hides the zeros too; a hidden landmark weighs all keys equally
            empty = filled.unsqueeze(-1) == 0
            scores = torch.where(empty, 0.0, self.hide(scores, filled, real))
            front = torch.where(empty, front, HIDDEN)
        column = front.expand(*scores.shape[:-1], 1)
        return torch.cat((scores, column), dim=-1).softmax(dim=-1)[..., :-1] @ value


def inverse(matrix: Tensor, iterations: int) -> Tensor:
    """The Moore-Penrose pseudo-inverse of [batch, heads, landmarks, landmarks], by iteration (eq. 16)."""
    size = matrix.abs()
    scale = size.sum(dim=-1).amax(dim=(1, 2), keepdim=True) * size.sum(dim=-2).amax(dim=(1, 2), keepdim=True)
    found = matrix.transpose(-1, -2) / scale.unsqueeze(-1)
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    for _ in range(iterations):
        product = matrix @ found
        found = 0.25 * found @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return found


@contextmanager
def each_row(model: nn.Module) -> Iterator[None]:
    """Makes the untouched attention answer one sample at a time, without batch mates, for the duration."""
    parts: list[Any] = [part for part in model.modules() if type(part).__name__ == "NystromAttention"]

    def alone(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def each(x: Tensor, mask: Tensor | None = None, **asked: bool) -> Tensor:
            masks = [None] * len(x) if mask is None else mask.split(1)
            return torch.cat([forward(one, mask=real, **asked) for one, real in zip(x.split(1), masks, strict=True)])

        return each

    library = sys.modules[type(parts[0]).__module__] if parts else None
    inverted = getattr(library, INVERSE, None)

    def marked(*given: Any) -> Tensor:
        found: Tensor = constant(inverted(*given))  # type: ignore[misc]
        return found

    changes = [(part, "forward", alone(part.forward)) for part in parts]
    with changed([*changes, (library, INVERSE, marked)] if parts else []):
        yield
