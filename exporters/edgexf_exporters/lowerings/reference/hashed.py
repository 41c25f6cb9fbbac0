"""Hashed attention with all rounds in one tensor, in whole chunks.

    before  a loop over rounds, a stable argsort, padding to whole chunks
    after   one TopK over unique sort keys (bucket * sequence + position), its inverse by Scatter, then
            chunk j attends to chunks j-1 and j: MatMul, Softmax, MatMul, and a softmax over rounds

The length is a multiple of the chunk; the graph pads at its edge. ONNX has no stable sort, so the sort keys are unique.
The reverse pass takes buckets and orders as constants.
Source: Reformer, Kitaev et al. 2020, eq. 5-7.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf.models.hashed import ALONE, HIDDEN, HashedAttention


def with_previous(chunks: Tensor, fill: float = 0.0) -> Tensor:
    """[..., chunks, chunk, any] -> [..., chunks, 2 * chunk, any]: the previous chunk, then the chunk itself."""
    shifted = F.pad(chunks, (0, 0, 0, 0, 1, 0), value=fill).narrow(-3, 0, chunks.shape[-3])
    return torch.cat((shifted, chunks), dim=-2)


class Hashed(nn.Module):
    itself: Tensor

    def __init__(self, original: HashedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block = chunk = original.sizes.chunk
        own = torch.arange(2 * chunk) == chunk + torch.arange(chunk).unsqueeze(1)
        self.register_buffer("itself", own, persistent=False)  # [chunk, 2 * chunk]: query and key are one token

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own = self.original
        query = split_heads(own.query_key(hidden), own.heads)  # [batch, heads, sequence, head_width]
        value = split_heads(own.value(hidden), own.heads)
        bucket, order, back = self.sort(query, mask)  # [batch, heads, rounds, sequence]
        queries, values = (
            self.chunks(query, order),
            self.chunks(value, order),
        )  # [batch, heads, rounds, chunks, chunk, head_width]
        keys = with_previous(queries / queries.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-12))
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [..., chunk, 2 * chunk]
        scores = self.hide(scores, bucket.gather(-1, order))
        normaliser = scores.logsumexp(dim=-1, keepdim=True)
        mixed = torch.exp(scores - normaliser) @ with_previous(values)
        index = back.unsqueeze(-1)  # [batch, heads, rounds, sequence, 1]
        mixed = mixed.flatten(3, 4).gather(3, index.expand(-1, -1, -1, -1, mixed.shape[-1]))
        if own.sizes.rounds > 1:
            mixed = mixed * normaliser.flatten(3, 4).gather(3, index).softmax(dim=2)
        joined: Tensor = own.output(join_heads(mixed.sum(dim=2)))
        return joined

    def sort(self, query: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The bucket of each token, the tokens in sorted order, and the place of each token in that order.

        All three are int64 [batch, heads, rounds, sequence].
        """
        own, sequence = self.original, query.shape[2]
        rotated = query.detach().unsqueeze(2) @ own.rotations.transpose(
            0, 1
        )  # [batch, heads, rounds, sequence, buckets / 2]
        bucket = torch.cat((rotated, -rotated), dim=-1).argmax(dim=-1)
        bucket = torch.where(mask[:, None, None, :], bucket, own.sizes.buckets)
        position = torch.arange(sequence, device=query.device)
        order = (bucket * sequence + position).argsort(dim=-1)
        back = torch.zeros_like(order).scatter(-1, order, position.expand_as(order))
        return bucket, order, back

    def chunks(self, tokens: Tensor, order: Tensor) -> Tensor:
        """[batch, heads, sequence, head_width] -> [batch, heads, rounds, chunks, chunk, head_width], sorted."""
        index = order.flatten(2).unsqueeze(-1).expand(-1, -1, -1, tokens.shape[-1])
        chunked: Tensor = tokens.gather(2, index).unflatten(2, (self.original.sizes.rounds, -1, self.block))
        return chunked

    def hide(self, scores: Tensor, bucket: Tensor) -> Tensor:
        """Replaces the scores of keys in another bucket, and of the token itself. `bucket` is in sorted order."""
        bucket = bucket.to(torch.float32).unflatten(3, (-1, self.block)).unsqueeze(-1)
        scores = torch.where(bucket == with_previous(bucket, -1.0).transpose(-1, -2), scores, HIDDEN)
        return torch.where(self.itself, ALONE, scores)
