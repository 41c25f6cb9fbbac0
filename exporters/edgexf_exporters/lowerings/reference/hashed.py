"""Hashed attention with all rounds in one tensor, in whole chunks.

    before  a loop over rounds, a stable argsort, padding to whole chunks
    after   one TopK over unique sort keys (bucket * sequence + position), whose values tell the buckets in sorted order;
            rows of queries, keys and values by one index each, where chunk j takes the keys of chunks j-1 and j;
            MatMul, weights, MatMul; rows back in the order of the tokens, and a softmax over rounds

The length is a multiple of the chunk; the graph pads at its edge. ONNX has no stable sort, so the sort keys are unique.
A Gather of rows of a head takes a fifth of the time of GatherElements with an expanded index (measured), and with an
index of (batch, position, head) it needs no transposition of heads. Keys are scaled before they are gathered: each is
gathered twice in each round. A key in another bucket is hidden by a difference, not by a Where, which passes twice over
all scores; so is the token itself, above all hidden keys. Both are right for a lonely token, which sees itself alone, and whose
rounds weigh alike, as long as no score is beyond 5,000; the model's own constant for a lonely token asks for the same. Padding
has buckets of its own. The reverse pass takes buckets and orders as constants.
Source: Reformer, Kitaev et al. 2020, eq. 5-7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.hashed import ALONE, HashedAttention
from edgexf_exporters.trace.attention_weights import attention_weights
from edgexf_exporters.trace.blocks import places
from edgexf_exporters.trace.rows import rows

APART = 200.0  # a key in the next bucket scores less by the square of this number: more than -ALONE, and a float16


def with_previous(chunks: Tensor, fill: float) -> Tensor:
    """[..., chunks, chunk] -> [..., chunks, 2 * chunk]: the previous chunk, then the chunk itself."""
    shifted = F.pad(chunks, (0, 0, 1, 0), value=fill).narrow(-2, 0, chunks.shape[-2])
    return torch.cat((shifted, chunks), dim=-1)


@dataclass(frozen=True)
class Places:
    """Where sorted tokens come from, and where they go; rows are counted over all axes but the last.

    Attributes:
        queries: the rows of the queries among [batch, sequence, heads], [batch, heads, rounds, chunks, chunk].
        keys: the rows of the keys, [batch, heads, rounds, chunks, 2 * chunk].
        back: the row of each token among the sorted tokens, [batch, sequence, heads, rounds].
        readers: the places of `keys` that hold a token, [batch, sequence, heads, 2 * rounds].
        sources: the place of `back` that holds a sorted token, [batch, heads, rounds, chunks, chunk, 1].
    """

    queries: Tensor
    keys: Tensor
    back: Tensor
    readers: Tensor
    sources: Tensor

    @classmethod
    def of(cls, order: Tensor, sequence: int, chunk: int) -> Places:
        """`order` holds the tokens in sorted order, int64 [batch, heads, rounds, sorted tokens]."""
        batch, heads, rounds, places = order.shape
        head = torch.arange(heads)[:, None, None]
        first = torch.arange(batch)[:, None, None, None] * sequence
        token = (first + order.clamp(max=sequence - 1)) * heads + head
        queries = token.unflatten(3, (-1, chunk))
        keys = with_previous(queries, 0)
        row = torch.arange(batch * heads * rounds).view(batch, heads, rounds, 1)  # of a head in a round
        place = torch.zeros_like(order).scatter(-1, order, torch.arange(places).expand_as(order))
        place = place.index_select(3, torch.arange(sequence))  # [batch, heads, rounds, sequence]
        own = row * (2 * places) + place // chunk * (2 * chunk) + place % chunk + chunk
        following = torch.where(place < places - chunk, own + chunk, keys.numel())
        readers = torch.cat((own, following), dim=2)
        sources = torch.where(
            order < sequence, token * rounds + torch.arange(rounds).unsqueeze(1), batch * sequence * heads * rounds
        )
        return cls(
            queries, keys, (row * places + place).permute(0, 3, 1, 2), readers.permute(0, 3, 1, 2),
            sources.unflatten(3, (-1, chunk)).unsqueeze(-1),
        )  # fmt: skip


class Hashed(nn.Module):
    both_ways: Tensor
    itself: Tensor

    block = 1

    def __init__(self, original: HashedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.chunk = self.inner_block = chunk = original.sizes.chunk
        rotations = torch.cat((original.rotations, -original.rotations), dim=-1)  # [rounds, heads, head_width, buckets]
        self.register_buffer("both_ways", rotations.permute(1, 2, 0, 3).flatten(2), persistent=False)
        own = torch.arange(2 * chunk) == chunk + torch.arange(chunk).unsqueeze(1)
        self.register_buffer("itself", own.float() * ALONE, persistent=False)  # [chunk, 2 * chunk]

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own, chunk = self.original, (-1, self.chunk)
        query, value = (
            project(hidden).unflatten(2, (own.heads, -1)) for project in (own.query_key, own.value)
        )  # [batch, sequence, heads, head_width]
        norm = torch.linalg.vector_norm(query, dim=-1, keepdim=True).clamp_min(1e-12)
        key = query / (norm * math.sqrt(query.shape[-1]))
        bucket, order = self.sort(query, mask)  # [batch, heads, rounds, sorted tokens]
        at = Places.of(order, query.shape[1], self.chunk)
        queries, keys = rows(query, at.queries, at.back), rows(key, at.keys, at.readers)
        scores = queries @ keys.transpose(-1, -2)  # [batch, heads, rounds, chunks, chunk, 2 * chunk]
        weights, normaliser = attention_weights(self.hide(scores, bucket.unflatten(3, chunk)))
        mixed = weights @ rows(value, at.keys, at.readers)  # [batch, heads, rounds, chunks, chunk, head_width]
        mixed = rows(mixed, at.back, at.sources)  # [batch, sequence, heads, rounds, head_width]
        if own.sizes.rounds > 1:
            mixed = mixed * rows(normaliser, at.back, at.sources).softmax(dim=-2)
        joined: Tensor = own.output(mixed.sum(dim=3).flatten(2))
        return joined

    def sort(self, query: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The buckets in sorted order, and the tokens in this order, int64 [batch, heads, rounds, sorted tokens].

        There are as many sorted tokens as fill whole chunks. Padding is behind all tokens, in buckets of its own.
        """
        buckets, sequence = self.original.sizes.buckets, query.shape[1]
        place = places(query, self.chunk, 0).flatten()
        token = place.clamp(max=sequence - 1)
        rotated = query.detach().transpose(1, 2) @ self.both_ways  # [batch, heads, sequence, rounds * buckets]
        bucket = rotated.unflatten(3, (-1, buckets)).argmax(dim=-1)[:, :, token].transpose(2, 3)
        real = mask[:, token] & (place < sequence)  # [batch, sorted tokens]
        behind = torch.where(real, bucket.new_zeros(()), buckets)
        keys, order = ((bucket + behind[:, None, None]) * place.numel() + place).sort(dim=-1)
        return keys // place.numel(), order

    def hide(self, scores: Tensor, bucket: Tensor) -> Tensor:
        """Lowers the scores of keys in another bucket, and of the token itself. `bucket` is in sorted order."""
        level = bucket.to(scores.dtype) * APART  # [batch, heads, rounds, chunks, chunk]
        apart = level.unsqueeze(-1) - with_previous(level, -APART).unsqueeze(-2)
        return scores - apart * apart + self.itself
