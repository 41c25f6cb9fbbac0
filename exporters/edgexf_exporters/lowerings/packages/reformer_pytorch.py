"""The PyPI package reformer_pytorch: hashed attention with frozen rotations, all rounds in one tensor.

    before  `torch.randn` at every call, a cache, asserts on the length, a stable sort over all rounds, in-place masks
    after   rotations from a recorded seed; one TopK over unique sort keys (bucket * sequence + position) of each round;
            chunk j attends to itself and to chunk j - 1; as in the library, the first chunk of a round attends to the
            last chunk of the previous round

The number of buckets grows with the length. The rotations of a shorter input are the first rotations of a longer input.
Two alternatives were weighed for the rotations. Rotations of a single length would fix the length. A random operator in
the graph, as exporters write it, gives other answers in every run.

The library hides later tokens from a causal query. But the buckets of later tokens move the borders of chunks, and the
borders decide which earlier tokens the query meets. So hashed attention is not strictly causal, in eager mode and here.
The hash of a token is a product with one column for every two buckets. All hashes together take
rounds * sequence^2 / (2 * bucket) numbers, and this still grows with the square of the length.
Source: Kitaev et al. 2020, eq. 5-7; `LSHSelfAttention` of reformer_pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads
from edgexf_exporters.lowerings.fixed_random import SEED, Change, changed, drawing
from edgexf_exporters.lowerings.packages import local_attention
from edgexf_exporters.lowerings.packages.local_attention import HIDDEN, ITSELF


def rotations(heads: int, width: int, rounds: int, columns: int) -> Tensor:
    """float32 [heads, width, rounds, columns]; the first columns are the same for every number of columns."""
    drawn = np.random.default_rng(SEED).standard_normal((columns, heads, rounds, width))
    return torch.from_numpy(drawn.astype(np.float32)).permute(1, 3, 2, 0)


class Attention(nn.Module):
    rotations: Tensor
    block = 1

    def __init__(self, original: Any, limits: Limits) -> None:
        super().__init__()
        self.original = original
        hashing = original.lsh_attn
        if not hashing._rehash_each_round or hashing._return_attn or original.callback is not None:
            raise ExportError(
                "hashed attention must hash anew in each round and answer with values alone, got another setting of "
                "reformer_pytorch; leave rehash_each_round, return_attn and callbacks as they are."
            )
        self.bucket, self.rounds, self.causal = original.bucket_size, hashing.n_hashes, hashing.causal
        self.local = local_attention.Attention(original.local_attn, limits) if original.n_local_attn_heads else None
        most = -(-(limits.max_length + original.num_mem_kv) // (2 * self.bucket))
        heads = original.heads - original.n_local_attn_heads if hashing._random_rotations_per_head else 1
        drawn = rotations(heads, original.dim_head, self.rounds, most)
        self.register_buffer("rotations", drawn, persistent=False)

    def forward(
        self, x: Tensor, input_mask: Tensor | None = None, pos_emb: Tensor | None = None, **others: Any
    ) -> Tensor:
        """Takes and returns what `LSHSelfAttention` does, with the mask `input_mask` bool [batch, sequence].

        Raises ExportError for keys and for other masks.
        """
        own, queries = self.original, x.shape[1]
        unknown = [name for name, value in others.items() if isinstance(value, Tensor)]
        if unknown:
            raise ExportError(
                f"hashed attention takes tokens and input_mask, got {', '.join(unknown)} too; leave it out."
            )
        if own.mem_kv is not None:
            x = torch.cat((x, own.mem_kv.expand(x.shape[0], -1, -1)), dim=1)
        shared = own.toqk(x).unflatten(2, (own.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, head_width]
        value = own.tov(x).repeat(1, 1, own.v_head_repeats).unflatten(2, (own.heads, -1)).transpose(1, 2)
        real = None if input_mask is None else F.pad(input_mask, (0, own.num_mem_kv), value=True)
        near = own.n_local_attn_heads
        attend = self.full if own.use_full_attn or x.shape[1] <= own.full_attn_thres else self.hashed
        mixed = attend(shared[:, near:], value[:, near:], real, queries, pos_emb)
        if self.local is not None:
            tokens, values = (one[:, :near, :queries].flatten(0, 1) for one in (shared, value))
            local = self.local(tokens, tokens, values, input_mask=input_mask)
            mixed = torch.cat((local.unflatten(0, (-1, near)), mixed), dim=1)
        answer: Tensor = own.to_out(join_heads(mixed))
        return answer

    def full(self, shared: Tensor, value: Tensor, real: Tensor | None, queries: int, _: Tensor | None) -> Tensor:
        """Every query attends to every key, and to itself only where it sees no other key."""
        query, place = shared[:, :, :queries], torch.arange(shared.shape[2])
        scores = query @ F.normalize(shared, dim=-1).transpose(-1, -2) * shared.shape[-1] ** -0.5
        distance = place - place[:queries].unsqueeze(1)
        scores = torch.where(distance == 0, ITSELF, scores)
        if real is not None:
            scores = torch.where((real[:, :queries, None] & real[:, None])[:, None], scores, HIDDEN)
        if self.causal:
            scores = torch.where((distance > 0) & (place < queries), HIDDEN, scores)
        return scores.softmax(dim=-1) @ value

    def hashed(self, shared: Tensor, value: Tensor, real: Tensor | None, queries: int, angles: Tensor | None) -> Tensor:
        tokens = shared.shape[2] // self.bucket * self.bucket  # the library refuses a rest; here the residual fails
        shared, value = shared[:, :, :tokens], value[:, :, :tokens]
        bucket = self.buckets(shared, tokens // self.bucket)  # [batch, heads, rounds, tokens]
        place = torch.arange(tokens)
        order = (bucket * tokens + place).argsort(dim=-1)
        back = torch.zeros_like(order).scatter(-1, order, place.expand_as(order))
        shared = shared if angles is None else turned(shared, angles)
        query, values = self.chunks(shared, order), self.chunks(value, order)
        keys = self.with_previous(F.normalize(query, dim=-1))
        scores = query @ keys.transpose(-1, -2) * shared.shape[-1] ** -0.5  # [batch, heads, chunks, chunk, 2 * chunk]
        scores = self.hide(scores, order, real, queries)
        scores = scores if self.original.lsh_attn._attend_across_buckets else self.within(scores, bucket, order)
        scores = scores if self.original.lsh_attn._allow_duplicate_attention else self.once(scores, bucket, order, back)
        total = scores.logsumexp(dim=-1, keepdim=True)
        mixed = torch.exp(scores - total) @ self.with_previous(values)
        index = back.unsqueeze(-1)  # [batch, heads, rounds, tokens, 1]
        mixed = self.rows(mixed).gather(3, index.expand(-1, -1, -1, -1, mixed.shape[-1]))
        total = self.rows(total).gather(3, index)
        # No softmax: near -5e4, a token's score for itself, float32 has steps of 0.004. The library rounds its
        # sum to such a step, so this sum must be rounded too.
        weight = torch.exp(total - total.logsumexp(dim=2, keepdim=True))
        return (weight * mixed).sum(dim=2)[:, :, :queries]

    def buckets(self, shared: Tensor, buckets: int) -> Tensor:
        """The bucket of each token in each round, int64 [batch, heads, rounds, tokens]."""
        turns = self.rotations[..., : buckets // 2].flatten(2)  # [heads or 1, head_width, rounds * columns]
        turned = (shared.detach() @ turns).unflatten(-1, (self.rounds, buckets // 2)).transpose(2, 3)
        return torch.cat((turned, -turned), dim=-1).argmax(dim=-1)

    def chunks(self, tokens: Tensor, order: Tensor) -> Tensor:
        """[batch, heads, tokens, any] -> [batch, heads, rounds * chunks, chunk, any], sorted in each round."""
        index = order.flatten(2).unsqueeze(-1).expand(-1, -1, -1, tokens.shape[-1])
        return self.cut(tokens.gather(2, index), tokens.shape[2])

    def cut(self, tokens: Tensor, each: int) -> Tensor:
        """Cuts [batch, heads, rounds * tokens, any] into chunks; each round has `each` tokens."""
        cut: Tensor = tokens.unflatten(2, (self.rounds * (each // self.bucket), self.bucket))
        return cut

    def rows(self, chunks: Tensor) -> Tensor:
        """[batch, heads, rounds * chunks, chunk, any] -> [batch, heads, rounds, tokens, any]."""
        rows: Tensor = chunks.flatten(2, 3).unflatten(2, (self.rounds, chunks.shape[2] // self.rounds * self.bucket))
        return rows

    def with_previous(self, chunks: Tensor) -> Tensor:
        """Every chunk, then the previous chunk, across rounds; the last chunk is the previous one of the first."""
        return torch.cat((chunks, torch.cat((chunks[:, :, -1:], chunks[:, :, :-1]), dim=2)), dim=3)

    def sorted(self, values: Tensor, each: int) -> tuple[Tensor, Tensor]:
        """Values of queries, [..., chunk, 1], and of keys, [..., 1, 2 * chunk].

        `values` [batch, heads, rounds, tokens] are in sorted order; a round has `each` tokens.
        """
        chunks = self.cut(values.flatten(2).unsqueeze(-1), each)
        return chunks, self.with_previous(chunks).transpose(-1, -2)

    def hide(self, scores: Tensor, order: Tensor, real: Tensor | None, queries: int) -> Tensor:
        """Replaces the scores of padding, of later tokens, and of the token itself."""
        tokens = order.shape[-1]
        query, key = self.sorted(order, tokens)
        if real is not None:
            kept = real[:, None, None, :tokens].expand(order.shape).gather(-1, order)
            asks, shown = self.sorted(kept.to(scores.dtype), tokens)
            scores = torch.where((asks > 0) & (shown > 0), scores, HIDDEN)
        if self.causal:
            scores = torch.where((query < key) & (key < queries), HIDDEN, scores)
        return torch.where(query == key, ITSELF, scores)

    def within(self, scores: Tensor, bucket: Tensor, order: Tensor) -> Tensor:
        """Hides the scores of keys in other buckets; buckets of different rounds are different buckets."""
        query, key = self.sorted(self.numbered(bucket).gather(-1, order), order.shape[-1])
        return torch.where(query == key, scores, HIDDEN)

    def numbered(self, bucket: Tensor) -> Tensor:
        """Buckets, numbered so that no two rounds share a number."""
        buckets = bucket.shape[-1] // self.bucket
        offset: Tensor = (torch.arange(self.rounds) * buckets).unsqueeze(-1)
        return bucket + offset

    def once(self, scores: Tensor, bucket: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """Subtracts from each score the logarithm of the number of rounds in which the query meets the key."""
        tokens = order.shape[-1]
        count = self.rounds * (tokens // self.bucket)
        first = torch.arange(self.rounds).unsqueeze(-1) * (tokens // self.bucket) + back // self.bucket
        second = (first + 1) % count
        if not self.original.lsh_attn._attend_across_buckets:
            numbered = self.numbered(bucket) * count
            first, second = numbered + first, numbered + second
        met = torch.zeros(())
        for one in range(self.rounds):  # the chunk of each token in this round, in the order of every round
            own, next_ = (chunk[:, :, one : one + 1].expand_as(order).gather(-1, order) for chunk in (first, second))
            query, key = self.sorted(own, tokens)
            _, later = self.sorted(next_, tokens)
            met = met + (query == key).to(scores.dtype) + (query == later).to(scores.dtype)
        return scores - torch.log(met + 1e-9)


def turned(shared: Tensor, angles: Tensor) -> Tensor:
    """Rotates the first tokens by their positions, in pairs of neighbouring entries.

    `angles` [1, tokens, head_width] holds the sines of all pairs, then the cosines.
    """
    sine, cosine = (half.squeeze(0).repeat_interleave(2, dim=-1) for half in angles.chunk(2, dim=-1))
    tokens, rest = shared[:, :, : angles.shape[1]], shared[:, :, angles.shape[1] :]
    even, odd = tokens.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.cat((tokens * cosine + torch.stack((-odd, even), dim=-1).flatten(-2) * sine, rest), dim=2)


@contextmanager
def same_rotations(model: nn.Module) -> Iterator[None]:
    """Makes the untouched model draw the graph's rotations, and keep activations instead of computing them again."""
    changes: list[Change] = []
    for part in model.modules():
        if type(part).__name__ == "LSHSelfAttention":
            own: Any = part
            heads = own.heads - own.n_local_attn_heads
            changes.append(drawing(own.lsh_attn, "hash_vectors", partial(drawn, heads)))
        if hasattr(part, "irrev_blocks"):
            changes.append((part, "reverse_thres", math.inf))
    with changed(changes):
        yield


def drawn(heads: int, shape: tuple[int, ...]) -> Tensor:
    """The rotations in the library's shape: one rotation for all rows, or one for each head of each sample."""
    rows, width, rounds, columns = shape
    each = min(heads, rows)
    return rotations(each, width, rounds, columns).repeat(rows // each, 1, 1, 1)
