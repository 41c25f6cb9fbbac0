"""Hashed attention: a token attends to tokens in the same bucket of a random hash.

In: hidden float32 [batch, sequence, width], mask bool [batch, sequence]. Out: float32 [batch, sequence, width].
Cost: rounds * sequence * chunk (Reformer, Kitaev et al. 2020, section 2):

    bucket(x) = argmax([x R; -x R])                                   hash of shared queries and keys
    sort by (bucket, position), cut into chunks, attend to the same and the previous chunk     (eq. 5)
    sum the rounds, each weighted by its softmax normaliser                                (eq. 6, 7)

Keys are the queries scaled to unit length. A token attends to itself only if it has no other token to attend to. The
rotations R are drawn once, from a seed, and belong to the weights, so that a model has one answer. The sort puts
padding behind every bucket, so padding moves no real token to another chunk. The first chunk has no previous chunk. In
the code of the paper, the first chunk also attends to the last chunk, which would hold the padding here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.models.full import join_heads, split_heads
from edgexf.spec import EncoderSpec, HashedAttentionSpec

ALONE = -1e4  # the score of a token for itself: below every other score, above `HIDDEN`
HIDDEN = -1e9  # the score of a token in another bucket


def with_previous(chunks: Tensor, fill: float) -> Tensor:
    """[..., chunks, chunk, any] -> [..., chunks, 2 * chunk, any]: the previous chunk, then the chunk itself."""
    previous = F.pad(chunks[..., :-1, :, :], (0, 0, 0, 0, 1, 0), value=fill)
    return torch.cat((previous, chunks), dim=-2)


class HashedAttention(nn.Module):
    rotations: Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        assert isinstance(spec.attention, HashedAttentionSpec)
        self.heads = spec.heads
        self.sizes = spec.attention
        self.query_key = nn.Linear(spec.width, spec.width)
        self.value = nn.Linear(spec.width, spec.width)
        self.output = nn.Linear(spec.width, spec.width)
        shape = (self.sizes.rounds, spec.heads, spec.head_width, self.sizes.buckets // 2)
        self.register_buffer("rotations", torch.randn(shape))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        sequence = hidden.shape[1]
        rest = -sequence % self.sizes.chunk  # padding that fills the last chunk
        hidden, mask = F.pad(hidden, (0, 0, 0, rest)), F.pad(mask, (0, rest))
        query = split_heads(self.query_key(hidden), self.heads)  # [batch, heads, sequence, head_width]
        value = split_heads(self.value(hidden), self.heads)
        rounds = [self.attend(query, value, bucket) for bucket in self.buckets(query, mask)]
        mixed, normaliser = (torch.stack(part) for part in zip(*rounds, strict=True))
        if len(rounds) == 1:  # no softmax weights: an explanation would give them a share of the relevance
            return self.joined(mixed[0], sequence)
        weight = torch.softmax(normaliser, dim=0)  # [rounds, batch, heads, sequence, 1]
        return self.joined((weight * mixed).sum(dim=0), sequence)

    def joined(self, mixed: Tensor, sequence: int) -> Tensor:
        answer: Tensor = self.output(join_heads(mixed[:, :, :sequence]))
        return answer

    @torch.no_grad()
    def buckets(self, query: Tensor, mask: Tensor) -> Tensor:
        """The bucket of each token, int64 [rounds, batch, heads, sequence]; padding is in the last one, `buckets`."""
        rotated = query @ self.rotations.unsqueeze(1)  # [rounds, batch, heads, sequence, buckets / 2]
        bucket = torch.cat((rotated, -rotated), dim=-1).argmax(dim=-1)
        return torch.where(mask[:, None, :], bucket, self.sizes.buckets)

    def attend(self, query: Tensor, value: Tensor, bucket: Tensor) -> tuple[Tensor, Tensor]:
        """One round: mixed values [batch, heads, sequence, head_width], log normaliser [batch, heads, sequence, 1]."""
        order = bucket.argsort(dim=-1, stable=True)  # [batch, heads, sequence]
        chunked = (-1, self.sizes.chunk)

        def sort(tokens: Tensor) -> Tensor:
            ordered = tokens.gather(2, order.unsqueeze(-1).expand(-1, -1, -1, tokens.shape[-1]))
            chunks: Tensor = ordered.unflatten(2, chunked)
            return chunks

        queries, values = sort(query), sort(value)  # [batch, heads, chunks, chunk, head_width]
        bucket, position = sort(bucket.unsqueeze(-1)), order.unsqueeze(-1).unflatten(2, chunked)  # [..., chunk, 1]
        keys = with_previous(F.normalize(queries, dim=-1), 0.0)  # [batch, heads, chunks, 2 * chunk, head_width]
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [..., chunk, 2 * chunk]
        scores = scores.masked_fill(bucket != with_previous(bucket, -1).transpose(-1, -2), HIDDEN)
        scores = scores.masked_fill(position == with_previous(position, -1).transpose(-1, -2), ALONE)
        normaliser = scores.logsumexp(dim=-1, keepdim=True)
        mixed = torch.exp(scores - normaliser) @ with_previous(values, 0.0)
        back = order.argsort(dim=-1).unsqueeze(-1)  # [batch, heads, sequence, 1]
        unsorted = mixed.flatten(2, 3).gather(2, back.expand(-1, -1, -1, query.shape[-1]))
        return unsorted, normaliser.flatten(2, 3).gather(2, back)
