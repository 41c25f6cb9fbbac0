"""Hugging Face's Funnel Transformer: blocks of relative attention, each over half as many tokens as the previous block.

    before  lists of positions in Python, tables of relative positions for each block, [batch, sequence, sequence] of
            token types, pooled together with the tokens; average pooling that rounds lengths up
    after   the mean of each pair of tokens; Softmax([Q, 1] [K, b]^T + shift(Q R^T) + S types^T) V

The distance of query i and key j of a block is `stride` * (`step` * i - j) tokens. `step` is 2 where the queries are
pooled and the keys are not yet pooled; the distance is then `stride` less. R holds the sines and cosines of every such
distance. `shift` moves row i of Q R^T to the distances of query i: a slice between two reshapes. The library's
`factorized` attention is the same sum by the addition theorem.

The first token is pooled alone and has neither position nor type. There are three token types. Each of the first two
types matches itself and the third type. S holds the scores of a query for the three types, and `types` are three
one-hot columns for each key. The mask is a column b of the keys.

The library pools a text in other pairs when padding follows the text, and its answers then differ by up to the size of
the answers (measured). So only rows of one length may share a batch. Up to 2^(blocks - 1) tokens the library skips
poolings, and by default it then fails in its position tables. Such short inputs are not exported.

Explanations start behind the norm of the embeddings. Before this norm, gradient x input is 0 for every model, because a
norm gives the same output for any multiple of a vector (Euler's theorem on homogeneous functions).

Lengths are multiples of 2^(blocks - 1), so that each half is whole, and the mask says where the input ends. A last
token without a mate is a pair by itself; a token with a masked mate is lost. Two alternatives were weighed. Slices that
round up leave halves of halves in the guards, which torch's solver takes for equations. To treat padding as masked
tokens is not what the library does.
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

LONGEST = 512  # tokens, as in the paper's models; newer configs name no limit, because there is no table of positions
PADDING_MARK = -1  # in the mask behind the end of an input; 0 marks a hidden token of the input
# 1 where a type (row) matches a type (column); the third type is the type of the first token.
SAME = ((1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second token of each pair: [batch, 2 * pairs, ...] -> twice [batch, pairs, ...].

    The first token is a pair with itself, so each later token moves up by one place. The last token is dropped.
    """
    first, second = torch.cat((tokens[:, :1], tokens[:, :-1]), dim=1).unflatten(1, (-1, 2)).unbind(2)
    return first, second


@dataclass(frozen=True)
class TokenMasks:
    """The masks and the types of the tokens of a block.

    Attributes:
        real: bool [batch, tokens], false for hidden tokens and for padding.
        there: bool [batch, tokens], true up to the end of the input.
        types: one-hot [batch, tokens, 3].
    """

    real: Tensor
    there: Tensor
    types: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, token_type_ids: Tensor, dtype: torch.dtype) -> TokenMasks:
        types = token_type_ids.unsqueeze(-1) == torch.arange(len(SAME))
        return cls(attention_mask > 0, attention_mask > PADDING_MARK, types.to(dtype))

    def mates(self) -> Tensor:
        """Whether each pair has a second token, bool [batch, pairs]; the last pair may have none."""
        mates: Tensor = self.there.unflatten(1, (-1, 2))[..., 1]
        return mates

    def pooled(self) -> TokenMasks:
        """The masks of the pairs: a pair is real if all of its tokens are real, and has the type of its first token."""
        first, second = pairs(self.real)
        there = self.there.unflatten(1, (-1, 2))[..., 0]
        return TokenMasks(there & first & (second | ~self.mates()), there, pairs(self.types)[0])


@dataclass(frozen=True)
class Relation:
    """How queries and keys relate to each other, the same for all layers of a block.

    Attributes:
        keys: the number of keys.
        step: how many keys a query stands for.
        real: whether each key is real, bool [batch, 1, keys].
        table: `waves` of all distances [distances, width]; row `step` * queries is the distance of the first query and
            the first key.
        near: 1 for the types that match the type of the query, [batch, 1, queries, 3].
        types: the types of the keys [batch, 1, keys, 3], one-hot, 0 for the first key.
        later: 0 for the first query or key and 1 for all others, [queries, 1] and [1, keys].
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
        """The relation of queries that stand for `step` keys each to keys that stand for `stride` tokens each."""
        queries, keys, dtype = asked.real.shape[1], known.real.shape[1], asked.types.dtype
        rows, columns = ((torch.arange(tokens) > 0).to(dtype) for tokens in (queries, keys))
        distance = (step * queries - (step - 1) - torch.arange(step * queries + keys)) * stride
        near = (asked.types @ torch.tensor(SAME, dtype=dtype)).unsqueeze(1)
        types = (known.types * columns.unsqueeze(1)).unsqueeze(1)
        later = rows.unsqueeze(1), columns.unsqueeze(0)
        return cls(keys, step, known.real[:, None], waves(distance, width, dtype), near, types, later)

    def shift(self, scores: Tensor) -> Tensor:
        """[..., queries, distances] -> [..., queries, keys]: row i begins at query i's distance to the first key."""
        queries, distances = scores.shape[-2:]
        rows = scores.flatten(-2)[..., self.step * queries :].unflatten(-1, (queries, distances - self.step))
        found: Tensor = rows[..., : self.keys]
        return found


def waves(distance: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of distances, [distances, width] (appendix A.2.1)."""
    frequency = 1 / (10000 ** (torch.arange(width // 2).to(dtype) / (width // 2)))
    angle = distance.to(dtype).unsqueeze(1) * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def layer_answer(layer: FunnelLayer, query: Tensor, key: Tensor, relation: Relation) -> Tensor:
    """The output of `layer` for query [batch, queries, width], which attends to key [batch, keys, width]."""
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
    )  # a separate product: unlike keys, types do not depend on the hidden states
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
    """Repeats each token `stride` times, but the first token once; zeros stand for the tokens that pooling dropped.

    [batch, tokens, width] -> [batch, stride * tokens, width].
    """
    whole = tokens.unsqueeze(2).expand(-1, -1, stride, -1).flatten(1, 2)
    return torch.cat((whole[:, stride - 1 :], torch.zeros_like(whole[:, : stride - 1])), dim=1)


class Decoder(nn.Module):
    """`FunnelDecoder`: layers over all tokens, which read the sum of the spread last block and the first block."""

    block = 1  # the encoder asks for multiples
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
        there = seen.there.unflatten(1, (-1, stride))[..., :1]  # the last block's tokens that are there
        hidden = spread(torch.where(there, final_hidden, 0.0), stride) + first_block_hidden
        relation = Relation.of(seen, seen, 1, 1, hidden.shape[-1])
        states = [hidden]
        for layer in layers:
            hidden = layer_answer(layer, hidden, hidden, relation)
            states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states))


def strides(config: Any) -> tuple[int, ...]:
    """How many tokens a row of each hidden state stands for: those of the encoder, then those of the decoder."""
    calls = zip(config.block_sizes, config.block_repeats, strict=True)
    blocks = (2**index for index, (layers, repeats) in enumerate(calls) for _ in range(layers * repeats))
    return (1, *blocks, *[1] * (config.num_decoder_layers + 1))


def poolings(config: Any) -> int:
    """How many poolings lie between the first and the last block."""
    return len(config.block_sizes) - 1


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a Funnel Transformer.

    Raises ExportError for a model that answers for pooled tokens, that pools its first token with the next token, or
    that keeps its last token. Without separate_cls, a short text in a long row leaves the last blocks no real token to
    attend to, and the answer is what float32 keeps of scores of -1e6.
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
    return Family(
        longest,
        "none",
        shortest=shortest,
        token_types=len(SAME),
        padding_id=0,
        embedding=embedding,
        strides=strides(config),
        needs_real=True,
    )
