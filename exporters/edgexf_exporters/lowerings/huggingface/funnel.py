"""Hugging Face's Funnel Transformer: blocks of relative attention, each over half as many tokens as the one before.

    before  lists of positions in Python, tables of relative positions for each block, [batch, sequence, sequence] of
            token types, pooled together with the tokens; average pooling that rounds lengths up
    after   the mean of each pair of tokens; Softmax([Q, types, 1] [K, types, b]^T + shift(Q R^T)) V

Between query i and key j of a block lie `stride` * (`step` * i - j) tokens, `step` 2 where the queries are pooled and
the keys are not yet (and then `stride` less); R holds sines and cosines of every such distance, and `shift` moves row i of Q R^T to its own: a
slice between two reshapes. The library's `factorized` attention is the same sum by the addition theorem. The first
token is pooled alone and has neither position nor type. Of three token types two attend to their own and to the third,
so the types of a key are three columns of it, and the mask is a fourth.

A text alone and the same text with padding behind it are pooled in other pairs, and the library's answers differ by up
to their own size (measured): only rows of one length may share a batch. Up to 2^(blocks - 1) tokens the library skips
poolings, and by default then fails in its position tables: shorter inputs are not taken.

Explanations start behind the embeddings' norm. Before it gradient x input is 0 for every model: a norm gives the same
for any multiple of a vector (Euler's theorem on homogeneous functions).

Lengths are multiples of 2^(blocks - 1), so that each half is whole, and the mask says where the input ends: a last token
without a mate is its own pair, where one with a masked mate is lost. Two alternatives were weighed. Slices that round up
leave halves of halves in the guards, which torch's solver takes for equations. Padding as if it were masked tokens is
what the library does not do.
Source: Dai et al. 2020, sections 2.2 and 2.3, appendix A.2; `FunnelEncoder`, `FunnelDecoder` of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import FunnelBaseModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.funnel.modeling_funnel import FunnelDecoder, FunnelEncoder, FunnelLayer

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.reference.full import hide
from edgexf_exporters.source import SHORTEST, Family

LONGEST = 512  # tokens, of the paper's models; newer configs say nothing, since there is no table of positions
PADDING_MARK = -1  # in the mask behind an input's end, where 0 is a token that is there and hidden
# Which types (columns) a type (row) is one with; the third is that of the first token.
SAME = ((1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second of each pair, [batch, pairs, ...] of [batch, 2 * pairs, ...].

    The first token is a pair with itself, and so each later one moves up by one place; the last token is dropped.
    """
    first, second = torch.cat((tokens[:, :1], tokens[:, :-1]), dim=1).unflatten(1, (-1, 2)).unbind(2)
    return first, second


@dataclass(frozen=True)
class TokenMasks:
    """What is known of a block's tokens: bool [batch, tokens] `real`, and `there` up to the input's end; `types` one-hot
    [batch, tokens, 3].
    """

    real: Tensor
    there: Tensor
    types: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, token_type_ids: Tensor, dtype: torch.dtype) -> TokenMasks:
        types = token_type_ids.unsqueeze(-1) == torch.arange(len(SAME))
        return cls(attention_mask > 0, attention_mask > PADDING_MARK, types.to(dtype))

    def mates(self) -> Tensor:
        """Whether a pair has a second token, bool [batch, pairs]; a last one may have none."""
        mates: Tensor = self.there.unflatten(1, (-1, 2))[..., 1]
        return mates

    def pooled(self) -> TokenMasks:
        """A pair is real if all of its tokens are, and of the type of its first."""
        first, second = pairs(self.real)
        there = self.there.unflatten(1, (-1, 2))[..., 0]
        return TokenMasks(there & first & (second | ~self.mates()), there, pairs(self.types)[0])


@dataclass(frozen=True)
class Relation:
    """What queries and keys are to each other, the same for all layers of a block.

    The keys' number and `real` bool [batch, 1, keys]; `table` [distances, width], where row `step` * queries is the distance
    of the first two; `near` [batch, 1, queries, 3]: the types that a query is one with; `types` [batch, 1, keys, 3]
    one-hot, 0 for the first key; `later` [queries, 1] and [1, keys]: 0 for the first, 1 for all others.
    """

    keys: int
    step: int
    real: Tensor
    table: Tensor
    near: Tensor
    types: Tensor
    later: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, asked: TokenMasks, known: TokenMasks, stride: int, step: int, width: int) -> Relation:
        """`step` keys of `stride` tokens stand for a query."""
        queries, keys, dtype = asked.real.shape[1], known.real.shape[1], asked.types.dtype
        rows, columns = ((torch.arange(tokens) > 0).to(dtype) for tokens in (queries, keys))
        distance = (step * queries - (step - 1) - torch.arange(step * queries + keys)) * stride
        near = (asked.types @ torch.tensor(SAME, dtype=dtype)).unsqueeze(1)
        types = (known.types * columns.unsqueeze(1)).unsqueeze(1)
        later = rows.unsqueeze(1), columns.unsqueeze(0)
        return cls(keys, step, known.real[:, None], waves(distance, width, dtype), near, types, later)

    def shift(self, scores: Tensor) -> Tensor:
        """[..., queries, distances] -> [..., queries, keys]: row i begins at its distance to the first key."""
        queries, distances = scores.shape[-2:]
        rows = scores.flatten(-2)[..., self.step * queries :].unflatten(-1, (queries, distances - self.step))
        found: Tensor = rows[..., : self.keys]
        return found


def waves(distance: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Sines and cosines [distances, width] (appendix A.2.1)."""
    frequency = 1 / (10000 ** (torch.arange(width // 2).to(dtype) / (width // 2)))
    angle = distance.to(dtype).unsqueeze(1) * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def layer_answer(layer: FunnelLayer, query: Tensor, key: Tensor, relation: Relation) -> Tensor:
    """What `layer` makes of query [batch, queries, width] that attends to key [batch, keys, width]."""
    own: Any = layer.attention
    heads = own.config.n_head
    asked = split_heads(own.q_head(query), heads)  # [batch, heads, queries, head_width]
    keys, values = (split_heads(project(key), heads) for project in (own.k_head, own.v_head))
    content, position, segment = (
        (asked + bias.unsqueeze(1)) * own.scale for bias in (own.r_w_bias, own.r_r_bias, own.r_s_bias)
    )
    other, same = (segment @ own.seg_embed.permute(1, 2, 0)).split(1, dim=-1)  # [batch, heads, queries, 1] each
    asked_types = (other + (same - other) * relation.near) * relation.later[0]
    left, right = hide(content, keys, relation.real)
    directions = (relation.table @ own.r_kernel.flatten(1)).unflatten(-1, (heads, -1)).permute(1, 2, 0)
    relative = relation.shift((position * relation.later[0]) @ directions) * relation.later[1]
    typed = asked_types @ relation.types.transpose(
        -1, -2
    )  # apart from the keys, which types, unlike them, do not depend on
    weights = (left @ right.transpose(-1, -2) + relative + typed).softmax(dim=-1)
    hidden = own.layer_norm(query + own.post_proj(join_heads(weights @ values)))
    answer: Tensor = layer.ffn(hidden)
    return answer


class Encoder(nn.Module):
    """`FunnelEncoder`: [batch, sequence, width] -> [batch, sequence / 2^(blocks - 1), width]."""

    padding_mark = PADDING_MARK

    def __init__(self, original: FunnelEncoder, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block = 2 ** poolings(original.config)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, token_type_ids: Tensor, **_: object
    ) -> BaseModelOutput:
        own: Any = self.original
        width, hidden = inputs_embeds.shape[-1], inputs_embeds
        seen, states = TokenMasks.of(attention_mask, token_type_ids, hidden.dtype), [hidden]
        for index, block in enumerate(own.blocks):
            calls = [layer for layer in block for _ in range(own.config.block_repeats[index])]
            if index > 0:
                key, known = hidden, seen
                hidden, seen = pooled(hidden, seen, own.config.pooling_type), seen.pooled()
                if own.config.pool_q_only:
                    wider = Relation.of(seen, known, 2 ** (index - 1), 2, width)
                    hidden = layer_answer(calls.pop(0), hidden, key, wider)
                    states.append(hidden)
            relation = Relation.of(seen, seen, 2**index, 1, width)
            for layer in calls:
                hidden = layer_answer(layer, hidden, hidden, relation)
                states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states))


def pooled(hidden: Tensor, seen: TokenMasks, kind: str) -> Tensor:
    """[batch, 2 * pairs, width] -> [batch, pairs, width], by `kind` ``mean`` or ``max``."""
    first, second = pairs(hidden)
    second = torch.where(seen.mates().unsqueeze(-1), second, first)
    return (first + second) / 2 if kind == "mean" else torch.maximum(first, second)


def spread(tokens: Tensor, stride: int) -> Tensor:
    """Each token but the first `stride` times, and zeros for those that were dropped: [batch, stride * tokens, width]."""
    whole = tokens.unsqueeze(2).expand(-1, -1, stride, -1).flatten(1, 2)
    return torch.cat((whole[:, stride - 1 :], torch.zeros_like(whole[:, : stride - 1])), dim=1)


class Decoder(nn.Module):
    """`FunnelDecoder`: the last block's tokens, spread, and the first block's, in layers over all tokens."""

    block = 1  # the encoder's is a multiple
    padding_mark = PADDING_MARK

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
        seen = TokenMasks.of(attention_mask, token_type_ids, final_hidden.dtype)
        there = seen.there.unflatten(1, (-1, stride))[..., :1]  # of the last block, as its tokens are
        hidden = spread(torch.where(there, final_hidden, 0.0), stride) + first_block_hidden
        relation = Relation.of(seen, seen, 1, 1, hidden.shape[-1])
        for layer in layers:
            hidden = layer_answer(layer, hidden, hidden, relation)
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
    if isinstance(model, FunnelBaseModel):
        raise ExportError(
            "a Funnel model must answer for each token, got FunnelBaseModel, which ends at the pooled ones; export FunnelModel."
        )
    if not (config.separate_cls and config.truncate_seq):
        raise ExportError(
            "a Funnel model must pool its first token alone and drop its last one, as they do by default, got "
            f"separate_cls {config.separate_cls} and truncate_seq {config.truncate_seq}; export a model that was trained with both."
        )
    shortest = max(2 ** poolings(config) + 1, SHORTEST)
    longest = getattr(config, "max_position_embeddings", LONGEST)
    embedding: Any = model.base_model.embeddings
    return Family(longest, "none", shortest=shortest, token_types=len(SAME), padding_id=0, embedding=embedding)
