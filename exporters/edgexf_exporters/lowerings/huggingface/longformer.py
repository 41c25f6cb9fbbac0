"""Hugging Face's Longformer in whole blocks, with global tokens anywhere.

    before  as_strided chunks, `nonzero` of the global mask, `.any().item()`, in-place writes
    after   the global positions are gathered, at most `max_global` of them (TopK of the mask); block j
            attends to them and to blocks j-1, j, j+1: rows of keys and values by one index, then
            `edgexf_exporters.trace.windowed` a block at a time; global queries attend to everything and are
            scattered over the local answer

The length is a multiple of every layer's one-sided window and at least `max_global`; the graph pads at its edge. The
mask is in what is added to the scores, for all layers at once: a further column of the keys makes the product of
queries and keys take 1.3 times as long, since 65 numbers fill no whole vectors (measured). A hidden token mixes
nothing, as in the library: a head may read its output. The keys and values for the global queries alone are not
projected where that is cheaper: for few queries, (q W_k) x^T and (a x) W_v give the same numbers, and the bias of the
key cancels in the softmax.
Source: Beltagy et al. 2020, section 3.1; `LongformerSelfAttention` of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LongformerModel, PreTrainedModel
from transformers.models.longformer.modeling_longformer import (
    LongformerBaseModelOutputWithPooling,
    LongformerSelfAttention,
)

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.neighbours import Places, whole_columns
from edgexf_exporters.lowerings.reference.full import HIDDEN, hide
from edgexf_exporters.source import Family
from edgexf_exporters.trace.marks import are_marked


@dataclass(frozen=True)
class TokenMasks:
    """Which tokens are real, and where the global tokens are; the same for every layer of a run.

    Attributes:
        real: bool [batch, sequence].
        local: real and not global, bool [batch, sequence].
        place: positions, int64 [batch, max_global], all different.
        taken: whether the place holds a global token, bool [batch, max_global].
    """

    real: Tensor
    local: Tensor
    place: Tensor
    taken: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, global_attention_mask: Tensor, max_global: int) -> TokenMasks:
        real = attention_mask > 0
        chosen = real & (global_attention_mask > 0)
        chosen = chosen & (
            chosen.cumsum(dim=1) <= max_global
        )  # tokens beyond max_global stay local; a runtime refuses them
        rank = torch.arange(chosen.shape[1], 0, -1, device=chosen.device)  # the first tokens rank highest, without ties
        score, place = torch.where(chosen, rank + chosen.shape[1], rank).topk(max_global, dim=1)
        return cls(real, real & ~chosen, place, score > chosen.shape[1])


def at(tokens: Tensor, place: Tensor) -> Tensor:
    """[batch, sequence, width] at `place` [batch, places] -> [batch, places, width]."""
    return tokens.gather(1, place.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


class LongformerAttention(nn.Module):
    """In: hidden float32 [batch, sequence, width]. Out: the same shape, before the output projection."""

    band: Tensor

    def __init__(self, original: LongformerSelfAttention) -> None:
        super().__init__()
        self.original = original
        self.block = window = original.one_sided_attn_window_size
        offset = torch.arange(3 * window) - window - torch.arange(window).unsqueeze(1)  # key minus query
        self.register_buffer("band", torch.where(offset.abs() <= window, 0.0, HIDDEN).float(), persistent=False)

    def forward(self, hidden: Tensor, seen: TokenMasks) -> Tensor:
        local = self.local(hidden, seen)  # [batch, sequence, width]
        places = seen.place.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        kept = torch.where(seen.taken.unsqueeze(-1), self.everywhere(hidden, seen), local.gather(1, places))
        return torch.where(seen.real.unsqueeze(-1), local.scatter(1, places, kept), 0.0)

    def local(self, hidden: Tensor, seen: TokenMasks) -> Tensor:
        """The mixed values of all tokens, which attend to their window and to the global tokens, [batch, sequence, width]."""
        own, shared = self.original, whole_columns(seen.place.shape[1], self.block)
        place = F.pad(seen.place, (0, shared - seen.place.shape[1]))
        blocks = torch.arange(hidden.shape[1]).unflatten(0, (-1, self.block))
        at_blocks = Places.of(blocks, hidden, own.num_heads, shared)
        query = own.query(hidden).unflatten(2, (own.num_heads, -1)) / math.sqrt(own.head_dim)
        keys, values = (
            at_blocks.with_shared(*self.by_head(tokens, at(tokens, place)))
            for tokens in (own.key(hidden), own.value(hidden))
        )
        hides, band = self.hidden(seen, at_blocks.near, shared), F.pad(self.band, (shared, 0))
        return at_blocks.attend(query, keys, values, hides, band, stepwise=True).flatten(2)

    def by_head(self, *tokens: Tensor) -> Iterator[Tensor]:
        return (one.unflatten(2, (self.original.num_heads, -1)) for one in tokens)

    def hidden(self, seen: TokenMasks, near: Tensor, shared: int) -> Tensor:
        """What hides keys in the scores, float32 [batch, blocks, 1, 1, shared + 3 * window].

        The shared keys are the global tokens, and further ones that are hidden. Among the neighbours, global ones are hidden.
        """
        sequence = seen.real.shape[1]
        first = torch.where(seen.taken, 0.0, HIDDEN)
        first = F.pad(first, (0, shared - first.shape[1]), value=HIDDEN)[:, None].expand(-1, near.shape[0], -1)
        visible = seen.local[:, near.clamp(0, sequence - 1)] & (near >= 0) & (near < sequence)
        return torch.cat((first, torch.where(visible, 0.0, HIDDEN)), dim=-1)[:, :, None, None]

    def everywhere(self, hidden: Tensor, seen: TokenMasks) -> Tensor:
        """The mixed values of the tokens at `place`, which attend to every real token, [batch, max_global, width]."""
        own, heads = self.original, self.original.num_heads
        query = split_heads(own.query_global(at(hidden, seen.place)), heads) / math.sqrt(own.head_dim)
        if seen.place.shape[1] * heads >= hidden.shape[-1] or are_marked():
            key, value = (split_heads(project(hidden), heads) for project in (own.key_global, own.value_global))
            query, key = hide(query, key, seen.real.unsqueeze(1))
            return join_heads((query @ key.transpose(-1, -2)).softmax(dim=-1) @ value)
        key_weight = own.key_global.weight.unflatten(0, (heads, -1))  # [heads, head_width, width]
        value_weight = own.value_global.weight.unflatten(0, (heads, -1)).transpose(-1, -2)  # [heads, width, head_width]
        scores = (query @ key_weight) @ hidden.unsqueeze(1).transpose(-1, -2)  # [batch, heads, max_global, sequence]
        weights = torch.where(seen.real[:, None, None], scores, HIDDEN).softmax(dim=-1)
        gathered = (weights @ hidden.unsqueeze(1)) @ value_weight  # [batch, heads, max_global, head_width]
        answer: Tensor = join_heads(gathered) + own.value_global.bias
        return answer


def whole_windows(attentions: Sequence[LongformerAttention], max_global: int) -> int:
    """The number of tokens of a block: whole windows of every layer, and room for all global tokens."""
    windows = math.lcm(*(attention.block for attention in attentions))
    return -(-max_global // windows) * windows


class Longformer(nn.Module):
    """`LongformerModel` with lowered attention; takes the inputs that its heads pass on, padded to whole blocks."""

    def __init__(self, original: LongformerModel, limits: Limits) -> None:
        super().__init__()
        self.original = original
        self.max_global = limits.max_global
        layers: Any = original.encoder.layer
        self.layers = layers
        attentions = [LongformerAttention(layer.attention.self) for layer in layers]
        self.attentions = nn.ModuleList(attentions)
        self.block = whole_windows(attentions, self.max_global)

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        global_attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> LongformerBaseModelOutputWithPooling:
        own = self.original
        seen = TokenMasks.of(attention_mask, global_attention_mask, self.max_global)
        positions = None if inputs_embeds is None else self.positions(inputs_embeds.shape[1])
        hidden = own.embeddings(input_ids, token_type_ids, positions, inputs_embeds)
        states = [hidden]
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            hidden = layer.ff_chunk(layer.attention.output(attention(hidden, seen), hidden))
            states.append(hidden)
        pooled = None if own.pooler is None else own.pooler(hidden)
        return LongformerBaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=pooled,
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def positions(self, length: int) -> Tensor:
        """The rows of the position embeddings for vectors, int64 [1, length]: the library counts hidden ones too."""
        own: Any = self.original.embeddings
        last = own.position_embeddings.num_embeddings - 1  # only padding lies beyond
        found: Tensor = (torch.arange(length) + (own.padding_idx + 1)).clamp(max=last)
        return found.unsqueeze(0)


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a Longformer. Positions start behind the id of the padding token, as in RoBERTa."""
    config: Any = model.config
    return Family(config.max_position_embeddings - (config.pad_token_id or 0) - 1)
