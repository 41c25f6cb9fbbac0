"""Hugging Face's Reformer: hashed and local attention in whole chunks, with rotations that are drawn once.

    before  rotations drawn in every call, a bucket count that the first length decides, slices of a ring of chunks,
            another algorithm for short inputs, reversible layers without a gradient in eval mode
    after   rotations as constants; one TopK over unique sort keys (bucket * length + position) and its inverse; each
            chunk attends to the chunks that an index of the ring names: MatMul, Min with the mask, weights, MatMul;
            sums as residuals

The length is a multiple of every chunk: the library itself pads to such a length with tokens that it hides, and the
graph does so at its edge. Up to the length of the shortest chunk, the library pads nothing and attends fully. In the
graph, such an input is padded: it lies in one chunk of each round, and all other tokens that this chunk sees are
hidden. Where a round is a single chunk, the copies of this chunk and the further rounds are hidden. So padding changes
no answer, and inputs of up to a whole multiple may share a batch.

A lonely token sees itself alone. It may meet itself several times: where hashed chunks are shorter than other chunks,
and there are several rounds or a chunk looks once around the ring. float32 then rounds its weights (see below). Such a
model is exported for inputs that are longer than its shortest chunk. Two alternatives were weighed. A branch on the
length does not trace. Blocks of half a length are not whole chunks.

The rotations are the rotations that the library draws from ``config.hash_seed``, or from `fixed_random.SEED` where
hash_seed is not set. So the library can repeat the answers of a bundle by itself. A config can't name a seed for each
layer. The weights have the library's rounding too: a lonely token that meets itself k times has the sum -1e5 + log k, which
float32 rounds. The rounding changes the weights of the token by up to 0.4 %, and those of a row that sees hidden keys alone by
the number of its keys.

In a causal model, the value of a later token enters no answer. But where a hashed layer has several chunks, later
tokens move the borders of chunks, and the borders decide which earlier keys a token meets. The library does so too.
Source: Kitaev et al. 2020, sections 2 and 3; `ReformerModel` of transformers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ReformerModel
from transformers.models.reformer.modeling_reformer import (
    AxialPositionEmbeddings,
    LocalSelfAttention,
    LSHSelfAttention,
    ReformerModelOutput,
)

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.huggingface.reformer_rotations import as_exported, factors, rotations, seed_of
from edgexf_exporters.lowerings.reference.full import HIDDEN
from edgexf_exporters.source import SHORTEST, Family
from edgexf_exporters.trace.attention_weights import attention_weights
from edgexf_exporters.trace.rows import rows

MASKED, ITSELF = -1e9, -1e5  # the library's scores of a hidden key, and of a token for itself


class Ring:
    """The chunks of all rounds in a ring: each chunk sees itself, some chunks before it and some chunks after it.

    The library slices the ring at each step, so a step that is longer than the ring leads to the chunk itself.
    """

    def __init__(self, attention: LocalSelfAttention | LSHSelfAttention, chunks: int, rounds: int = 1) -> None:
        place = torch.arange(chunks)
        count = place.amax(dim=0) + 1
        self.steps = range(-attention.num_chunks_before, attention.num_chunks_after + 1)
        self.single = count == rounds  # each round is one chunk, which is full attention
        self.sources = [
            torch.where(count > abs(step), (place + step) % count, place) if step else None for step in self.steps
        ]
        self.readers = [torch.where(count > abs(step), (place - step) % count, place) for step in self.steps]

    def seen(self, chunks: Tensor) -> list[Tensor]:
        """The chunks that each chunk sees, [batch, heads, chunks, ...] for each step."""
        return [chunks if source is None else chunks.index_select(2, source) for source in self.sources]

    def joined(self, chunks: Tensor) -> Tensor:
        """The tokens that each chunk sees, [batch, heads, chunks, steps * chunk, head_width]."""
        batch, heads, count, size, width = chunks.shape
        first = torch.arange(batch * heads).view(batch, heads, 1, 1)
        own = torch.arange(count)
        sources = torch.stack([own if source is None else source for source in self.sources], dim=-1)
        readers = torch.stack(self.readers, dim=-1) * len(self.steps) + torch.arange(len(self.steps))
        found: Tensor = rows(chunks.flatten(3), first * count + sources, first * (count * len(self.steps)) + readers)
        found = found.unflatten(4, (size, width))
        return found.flatten(3, 4)

    def places(self, place: Tensor) -> Tensor:
        """The positions of the keys, [batch, heads, chunks, 1, keys]; -1 for further copies of a single chunk."""
        parts = [part if part is place else torch.where(self.single, -1, part) for part in self.seen(place)]
        return torch.cat(parts, dim=-1).unsqueeze(-2)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, place: Tensor, real: Tensor, causal: bool, shared: bool
    ) -> tuple[Tensor, Tensor]:
        """Mixed values and the logarithm of the sum of their weights, [batch, heads, chunks, chunk, head_width and 1].

        query, key and value [batch, heads, chunks, chunk, head_width]; `place`, the position of a token, and `real`,
        bool, are [..., chunks, chunk]. `shared`: queries and keys come from one projection, so the score of a token
        for itself is set low.
        """
        key_place = self.places(place)
        scores = query @ self.joined(key).transpose(-1, -2)  # [batch, heads, chunks, chunk, keys]
        visible = torch.cat(self.seen(real), dim=-1).unsqueeze(-2) & (key_place >= 0)
        if causal:
            visible = visible & (place.unsqueeze(-1) >= key_place)
            scores = torch.where(visible, scores, MASKED)
        else:  # the same keys are hidden from all queries of a chunk, so a minimum passes once over the scores
            scores = torch.minimum(scores, torch.where(visible, -HIDDEN, MASKED).to(scores.dtype))
        if shared:
            scores = torch.where(place.unsqueeze(-1) == key_place, ITSELF, scores)
        weights, normaliser = attention_weights(scores)
        return weights @ self.joined(value) * rounding(scores, weights, normaliser), normaliser


def rounding(scores: Tensor, weights: Tensor, normaliser: Tensor) -> Tensor:
    """How much larger the library's weights are, [..., queries, 1]: it computes exp(s - normaliser) in float32.

    The factor is 1 but for the rounding of a normaliser near -1e5 or -1e9: up to 1.004 for a lonely token that meets itself, and
    the number of keys where all of them are hidden.
    """
    largest = scores.detach().amax(dim=-1, keepdim=True)
    log_sum = -weights.detach().amax(dim=-1, keepdim=True).log()
    return (largest - normaliser.detach() + log_sum).exp()


class LocalAttention(nn.Module):
    """In: hidden float32 [batch, sequence, width], real bool [batch, sequence].

    Out: [batch, sequence, heads * head_width].
    """

    def __init__(self, original: LocalSelfAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        own: Any = self.original
        query, key, value = (
            split_heads(project(hidden), own.num_attention_heads).unflatten(2, (-1, own.chunk_length))
            for project in (own.query, own.key, own.value)
        )
        place = torch.arange(hidden.shape[1]).unflatten(0, (-1, own.chunk_length))[None, None]
        real = real.unsqueeze(1).unflatten(2, (-1, own.chunk_length))
        ring = Ring(own, query.shape[2])
        key = key / math.sqrt(own.attention_head_size)
        mixed, _ = ring.attend(query, key, value, place, real, own.is_decoder, shared=False)
        return join_heads(mixed.flatten(2, 3))


class HashedAttention(nn.Module):
    """Takes and returns what `LocalAttention` does; attends over tokens that each round sorts by their hash buckets."""

    rotations: Tensor

    def __init__(self, original: LSHSelfAttention) -> None:
        super().__init__()
        self.original = original
        self.factors = factors(original)
        by_round = rotations(original).permute(0, 2, 1, 3).to(original.query_key.weight.dtype)
        self.register_buffer("rotations", by_round, persistent=False)  # [heads, rounds, head_width, sum of factors / 2]

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        own: Any = self.original
        query, value = (split_heads(project(hidden), own.num_attention_heads) for project in (own.query_key, own.value))
        order, back = self.sort(query, real)
        first = torch.arange(order[..., 0].numel()).view(*order.shape[:2], 1)  # of a head
        index, last = (first * size + places for size, places in ((hidden.shape[1], order), (order.shape[2], back)))
        readers = last.unflatten(2, (own.num_hashes, -1)).transpose(2, 3)
        sources = first * order.shape[2] + self.by_round(order)
        query, value, place = (
            self.chunks(tokens) for tokens in (rows(query, index, readers), rows(value, index, readers), order)
        )
        kept = torch.arange(hidden.shape[1]) < real.sum(dim=-1, keepdim=True)  # hidden tokens are sorted last
        kept = self.chunks(kept[:, None].expand(-1, own.num_hashes, -1).flatten(1).unsqueeze(1))
        ring = Ring(own, query.shape[2], own.num_hashes)
        key = (
            query * torch.rsqrt((query * query).mean(dim=-1, keepdim=True) + 1e-6) / math.sqrt(own.attention_head_size)
        )
        mixed, normaliser = ring.attend(query, key, value, place, kept, own.is_decoder, shared=True)
        unsorted = (rows(tokens, last, sources.unsqueeze(-1)) for tokens in (mixed, normaliser))
        mixed, weight = (
            tokens.unflatten(2, (own.num_hashes, -1)) for tokens in unsorted
        )  # [..., rounds, sequence, any]
        if own.num_hashes == 1:  # no weights of rounds, as in the library: they would take a share of relevance
            return join_heads(mixed.squeeze(2))
        further = ring.single & (torch.arange(own.num_hashes) > 0)
        weight = torch.where(further[:, None, None], HIDDEN, weight)
        weight = (weight - weight.logsumexp(dim=2, keepdim=True)).exp()
        return join_heads(torch.where(ring.single, mixed[:, :, 0], (mixed * weight).sum(dim=2)))

    def chunks(self, tokens: Tensor) -> Any:
        """[batch, heads, rounds * sequence, ...] -> [batch, heads, chunks, chunk, ...]."""
        return tokens.unflatten(2, (-1, self.original.chunk_length))

    def by_round(self, order: Tensor) -> Tensor:
        """Positions of each round counted over all rounds, int64 [batch, heads, rounds * sequence]."""
        by_round = order.unflatten(2, (self.original.num_hashes, -1))
        rounds, sequence = by_round.shape[2:]
        found: Tensor = by_round + torch.arange(rounds).unsqueeze(1) * sequence
        return found.flatten(2)

    def sort(self, query: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The positions in the sorted order of each round, and the place of each token in that order.

        Both are int64 [batch, heads, rounds * sequence].
        """
        rotated = query.detach().unsqueeze(2) @ self.rotations  # [batch, heads, rounds, sequence, sum of factors / 2]
        bucket, buckets = torch.zeros_like(rotated[..., 0], dtype=torch.int64), 1
        for part, factor in zip(rotated.split([factor // 2 for factor in self.factors], -1), self.factors, strict=True):
            bucket = bucket + buckets * torch.cat((part, -part), dim=-1).argmax(dim=-1)
            buckets *= factor
        bucket = torch.where(real[:, None, None], bucket, buckets)
        sequence = query.shape[2]
        order = (bucket * sequence + torch.arange(sequence)).argsort(dim=-1)
        place = torch.arange(bucket.shape[2] * sequence).unflatten(0, (-1, sequence))
        back = torch.zeros_like(order).scatter(-1, order, place.expand_as(order))
        return order.flatten(2), back.flatten(2)


class Reformer(nn.Module):
    """`ReformerModel` with lowered attention, over lengths that are multiples of `block`."""

    def __init__(self, original: ReformerModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        layers: Any = original.encoder.layers
        self.layers = layers
        attentions = [layer.attention.self_attention for layer in layers]
        self.block = math.lcm(*(attention.chunk_length for attention in attentions))
        kinds: Any = (HashedAttention if isinstance(own, LSHSelfAttention) else LocalAttention for own in attentions)
        self.attentions = nn.ModuleList([kind(own) for kind, own in zip(kinds, attentions, strict=True)])

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> ReformerModelOutput:
        own: Any = self.original
        vectors = own.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = mixed = vectors + self.positions(vectors.shape[1])
        states: Any = [hidden]  # of the stream that the library answers with
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            mixed = mixed + layer.attention.output(attention(layer.attention.layer_norm(hidden), attention_mask > 0))
            hidden = hidden + layer.feed_forward.forward_chunk(mixed)
            states.append(hidden)
        return ReformerModelOutput(
            last_hidden_state=own.encoder.layer_norm(torch.cat((mixed, hidden), dim=-1)),
            hidden_states=states if output_hidden_states else None,
        )

    def positions(self, length: int) -> Tensor:
        """The position embeddings [length, width]."""
        table: Any = self.original.embeddings.position_embeddings
        place = torch.arange(length).clamp(max=reach(self.original) - 1)  # only padding lies beyond
        if not isinstance(table, AxialPositionEmbeddings):
            return nn.functional.embedding(place, table.embedding.weight)
        of_rows, of_columns = (weight.flatten(0, 1) for weight in table.weights)
        return torch.cat((of_rows[place // len(of_columns)], of_columns[place % len(of_columns)]), dim=-1)


def reach(model: ReformerModel) -> int:
    """The longest input that has positions, padding included."""
    table: Any = model.embeddings.position_embeddings
    held = math.prod(table.axial_pos_shape) if isinstance(table, AxialPositionEmbeddings) else math.inf
    return int(min(held, model.embeddings.max_position_embeddings))


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a Reformer. Raises ExportError for chunks or buckets that no input can be cut into."""
    (base,) = (module for module in model.modules() if isinstance(module, ReformerModel))
    layers: Any = base.encoder.layers
    attentions = [layer.attention.self_attention for layer in layers]
    hashed = [attention for attention in attentions if isinstance(attention, LSHSelfAttention)]
    for attention in attentions:
        check(attention)
    lengths = [attention.chunk_length for attention in attentions]
    whole, least, longest = math.lcm(*lengths), min(lengths), reach(base)
    longest = longest // whole * whole if longest >= whole else min(longest, least)
    twice = any(meets_itself(one, whole // one.chunk_length) for one in hashed)
    return Family(
        longest,
        f"to_multiple({whole})",
        0 if twice else min(least, longest),
        call_context=as_exported,
        width=2 * model.config.hidden_size,
        shortest=least + 1 if twice else SHORTEST,
        has_argmax=bool(hashed),
        provenance={"rotations": [{"hash_seed": seed_of(a), "num_buckets": factors(a)} for a in hashed]},
    )


def meets_itself(attention: Any, chunks: int) -> bool:
    """Whether a lonely token of a short input that is padded to `chunks` chunks is seen more than once."""
    looks_round = max(attention.num_chunks_before, attention.num_chunks_after) >= chunks
    return chunks > 1 and (attention.num_hashes > 1 or looks_round)


def check(attention: Any) -> None:
    """Raises ExportError where the sizes of an attention are not valid."""
    least = {"chunk_length": 1, "num_chunks_before": 0, "num_chunks_after": 0, "num_hashes": 1}
    sizes = {name: getattr(attention, name, 1) for name in least}  # local attention has no hashes
    wrong = [f"{name} {size}" for name, size in sizes.items() if not isinstance(size, int) or size < least[name]]
    if not wrong and isinstance(attention, LSHSelfAttention) and any(one < 2 or one % 2 for one in factors(attention)):
        wrong = [f"num_buckets {attention.num_buckets}"]
    if wrong:
        raise ExportError(
            "a Reformer must have chunks of at least one token that look no less than 0 chunks around, and even numbers "
            f"of buckets, got {', '.join(wrong)}; mend its config."
        )
