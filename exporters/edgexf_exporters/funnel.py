"""Hugging Face's Funnel Transformer: blocks of relative attention, each over half as many tokens as the one before.

    before  lists of positions in Python, tables of relative positions for each block, [batch, sequence, sequence] of
            token types, pooled together with the tokens; average pooling that rounds lengths up
    after   two strided slices and their mean; Softmax([Q, types, 1] [K, types, b]^T + shift(Q R^T)) V

Between query i and key j of a block lie `stride` * (`step` * i - j) tokens, `step` 2 where the queries are pooled and
the keys are not yet; R holds sines and cosines of every such distance, and `shift` moves row i of Q R^T to its own: a
slice between two reshapes. The library's `factorized` attention is the same sum by the addition theorem. The first
token is pooled alone and has neither position nor type. Of three token types two attend to their own and to the third,
so the types of a key are three columns of it, and the mask is a fourth.

A text alone and the same text with padding behind it are pooled in other pairs, and the library's answers differ by up
to their own size (measured): only rows of one length may share a batch. Up to 2^(blocks - 1) tokens the library skips
poolings, and its published models then fail in their position tables: shorter inputs are not taken.

Explanations start behind the embeddings' norm. Before it gradient x input is 0 for every model: a norm gives the same
for any multiple of a vector (Euler's theorem on homogeneous functions).

Lengths are multiples of 2^(blocks - 1), so that each half is whole, and the mask says where the input ends: a last token
without a mate is its own pair, where one with a masked mate is lost. Two alternatives were weighed. Slices that round up
leave halves of halves in the guards, which torch's solver takes for equations. Padding as if it were masked tokens is
what the library does not do.
Source: Dai et al. 2020, sections 2.2 and 2.3, appendix A.2; `FunnelEncoder`, `FunnelDecoder` of transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.funnel.modeling_funnel import FunnelDecoder, FunnelEncoder, FunnelLayer

from edgexf.errors import ExportError
from edgexf.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.full import hide
from edgexf_exporters.source import SHORTEST, Family

LONGEST = 512  # tokens, of the published models; newer configs say nothing, since there is no table of positions
ABSENT = -1  # in the mask behind an input's end, where 0 is a token that is there and hidden
# Which types (columns) a type (row) is one with; the third is that of the first token.
SAME = ((1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second of each pair, [batch, pairs, ...] of [batch, 2 * pairs, ...].

    The first token is a pair with itself, and so each later one moves up by one place; the last token is dropped.
    """
    first, second = torch.cat((tokens[:, :1], tokens[:, :-1]), dim=1).unflatten(1, (-1, 2)).unbind(2)
    return first, second


@dataclass(frozen=True)
class Seen:
    """What is known of a block's tokens: bool [batch, tokens] `real`, and `there` up to the input's end; `types` one-hot
    [batch, tokens, 3].
    """

    real: Tensor
    there: Tensor
    types: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, token_type_ids: Tensor, dtype: torch.dtype) -> Seen:
        types = token_type_ids.unsqueeze(-1) == torch.arange(len(SAME))
        return cls(attention_mask > 0, attention_mask > ABSENT, types.to(dtype))

    def mates(self) -> Tensor:
        """Whether a pair has a second token, bool [batch, pairs]; a last one may have none."""
        mates: Tensor = self.there.unflatten(1, (-1, 2))[..., 1]
        return mates

    def pooled(self) -> Seen:
        """A pair is real if all of its tokens are, and of the type of its first."""
        first, second = pairs(self.real)
        there = self.there.unflatten(1, (-1, 2))[..., 0]
        return Seen(there & first & (second | ~self.mates()), there, pairs(self.types)[0])


@dataclass(frozen=True)
class Distance:
    """Tokens between query i and key j: `stride` * (`step` * i - j), and `stride` less where queries are pooled."""

    stride: int
    step: int

    def table(self, queries: int, keys: int, width: int, dtype: torch.dtype) -> Tensor:
        """Sines and cosines [step * queries + keys, width] of every distance, the largest first (appendix A.2.1)."""
        most = self.step * queries - (self.step - 1)
        distance = (most - torch.arange(self.step * queries + keys)) * self.stride
        frequency = 1 / (10000 ** (torch.arange(width // 2).to(dtype) / (width // 2)))
        angle = distance.to(dtype).unsqueeze(1) * frequency
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def shift(self, scores: Tensor, keys: int) -> Tensor:
        """[..., queries, distances] -> [..., queries, keys]: row i begins at its distance to the first key."""
        queries, distances = scores.shape[-2:]
        rows = scores.flatten(-2)[..., self.step * queries :].unflatten(-1, (queries, distances - self.step))
        found: Tensor = rows[..., :keys]
        return found


def behind_the_first(tokens: int, dtype: torch.dtype) -> Tensor:
    """[tokens]: 0, and 1 for all others."""
    return (torch.arange(tokens) > 0).to(dtype)


def layer_answer(layer: FunnelLayer, query: Tensor, key: Tensor, seen: tuple[Seen, Seen], distance: Distance) -> Tensor:
    """What `layer` makes of query [batch, queries, width] that attends to key [batch, keys, width]; `seen` of both."""
    own: Any = layer.attention
    heads, scale = own.config.n_head, own.scale
    asked = split_heads(own.q_head(query) * scale, heads)  # [batch, heads, queries, head_width]
    keys, values = (split_heads(project(key), heads) for project in (own.k_head, own.v_head))
    content, position, segment = (
        asked + (bias * scale).unsqueeze(1) for bias in (own.r_w_bias, own.r_r_bias, own.r_s_bias)
    )
    others = tuple(behind_the_first(tokens.shape[1], query.dtype).unsqueeze(-1) for tokens in (query, key))
    other, same = (segment @ own.seg_embed.permute(1, 2, 0)).split(1, dim=-1)  # [batch, heads, queries, 1] each
    near = (seen[0].types @ torch.tensor(SAME, dtype=query.dtype)).unsqueeze(1)  # [batch, 1, queries, 3]
    asked_types = (other + (same - other) * near) * others[0]
    types = (seen[1].types * others[1]).unsqueeze(1).expand(-1, heads, -1, -1)
    left, right = hide(
        torch.cat((content, asked_types), dim=-1), torch.cat((keys, types), dim=-1), seen[1].real[:, None]
    )
    table = distance.table(query.shape[1], key.shape[1], query.shape[-1], query.dtype)
    directions = (table @ own.r_kernel.flatten(1)).unflatten(-1, (heads, -1)).permute(1, 2, 0)
    relative = distance.shift((position * others[0]) @ directions, key.shape[1]) * others[1].squeeze(-1)
    weights = (left @ right.transpose(-1, -2) + relative).softmax(dim=-1)
    hidden = own.layer_norm(query + own.post_proj(join_heads(weights @ values)))
    answer: Tensor = layer.ffn(hidden)
    return answer


class Encoder(nn.Module):
    """`FunnelEncoder`: [batch, sequence, width] -> [batch, sequence / 2^(blocks - 1), width]."""

    absent = ABSENT

    def __init__(self, original: FunnelEncoder, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block = 2 ** poolings(original.config)

    def layers(self) -> Iterator[tuple[FunnelLayer, int, bool]]:
        """Each call of a layer, with its block's index, and whether tokens are pooled before it."""
        own: Any = self.original
        for index, block in enumerate(own.blocks):
            calls = [layer for layer in block for _ in range(own.config.block_repeats[index])]
            for place, layer in enumerate(calls):
                yield layer, index, index > 0 and place == 0

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, token_type_ids: Tensor, **_: object
    ) -> BaseModelOutput:
        config: Any = self.original.config
        seen, hidden = Seen.of(attention_mask, token_type_ids, inputs_embeds.dtype), inputs_embeds
        states = [hidden]
        for layer, index, pools in self.layers():
            key, distance, known = hidden, Distance(2**index, 1), seen
            if pools:
                first, second = pairs(hidden)
                second = torch.where(seen.mates().unsqueeze(-1), second, first)
                hidden = (first + second) / 2 if config.pooling_type == "mean" else torch.maximum(first, second)
                seen = seen.pooled()
            if pools and config.pool_q_only:
                distance = Distance(2 ** (index - 1), 2)
            else:
                key, known = hidden, seen
            hidden = layer_answer(layer, hidden, key, (seen, known), distance)
            states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states))


def spread(tokens: Tensor, stride: int) -> Tensor:
    """Each token but the first `stride` times, and zeros for those that were dropped: [batch, stride * tokens, width]."""
    whole = tokens.unsqueeze(2).expand(-1, -1, stride, -1).flatten(1, 2)
    return torch.cat((whole[:, stride - 1 :], torch.zeros_like(whole[:, : stride - 1])), dim=1)


class Decoder(nn.Module):
    """`FunnelDecoder`: the last block's tokens, spread, and the first block's, in layers over all tokens."""

    block = 1  # the encoder's is a multiple
    absent = ABSENT

    def __init__(self, original: FunnelDecoder, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(
        self,
        final_hidden: Tensor,
        first_block_hidden: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        **_: object,
    ) -> BaseModelOutput:
        config: Any = self.original.config
        layers: Any = self.original.layers
        stride = 2 ** poolings(config)
        seen = Seen.of(attention_mask, token_type_ids, final_hidden.dtype)
        there = seen.there.unflatten(1, (-1, stride))[..., :1]  # of the last block, as its tokens are
        hidden = spread(torch.where(there, final_hidden, 0.0), stride) + first_block_hidden
        for layer in layers:
            hidden = layer_answer(layer, hidden, hidden, (seen, seen), Distance(1, 1))
        return BaseModelOutput(last_hidden_state=hidden)


def poolings(config: Any) -> int:
    """Between one block and the next."""
    return len(config.block_sizes) - 1


def describe(model: PreTrainedModel) -> Family:
    """ExportError for a model that pools its first token with the next one, or keeps its last one.

    Without separate_cls a short text in a long row leaves the last blocks nothing real to attend to, and the answer is
    what float32 keeps of scores of -1e6.
    """
    config: Any = model.config
    if not (config.separate_cls and config.truncate_seq):
        raise ExportError(
            "a Funnel model must pool its first token alone and drop its last one, as all published ones do, got "
            f"separate_cls {config.separate_cls} and truncate_seq {config.truncate_seq}; export a model that was trained with both."
        )
    shortest = max(2 ** poolings(config) + 1, SHORTEST)
    longest = getattr(config, "max_position_embeddings", LONGEST)
    embedding: Any = model.base_model.embeddings
    return Family(longest, "none", shortest=shortest, token_types=len(SAME), padding_id=0, embedding=embedding)
