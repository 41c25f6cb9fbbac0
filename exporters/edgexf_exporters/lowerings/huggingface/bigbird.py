"""Hugging Face's BigBird: block-sparse attention, or full attention where the model attends fully.

    before  a plan of random blocks drawn in numpy for each length, fifteen gathers and slices, and a
            matrix of all probabilities; on a short input the model object turns dense for good
    after   middle block j attends to the first block, to the last block and to j-1, j, j+1: rows of keys and
            values by one index, then `edgexf_exporters.trace.windowed` a block at a time; the first and the last
            block attend to everything

In eval mode the library's plan names block 0 in each of its `num_random_blocks` places (transformers 5.23). So the keys
of block 0 count once more for each place: a bias of log(1 + num_random_blocks). A hidden token mixes nothing where
attention is sparse, as in the library: a head may read its output. Where attention is full, a row without real tokens
attends to all of its tokens alike. So padding is hidden by twice as much as these.

Up to (5 + 2 * num_random_blocks) * block_size tokens the model itself attends fully. Tokens come as [batch, blocks,
block], and both sizes are dynamic. A short input is *two blocks of half its length*, the first and the last, with no
block between them: the same graph is then full attention. (A loop has at least one step. So each head has one query whose
answer nobody reads: `edgexf_exporters.trace.blocks.middle`.) Two alternatives were weighed: a branch in the graph, and
refusing short inputs. As for a branch, `torch.cond` does not trace with dynamic lengths, and two whole graphs under an
If would hold each weight twice once ONNX Runtime has packed it.
Source: Zaheer et al. 2020, section 2 and appendix D; `BigBirdModel` of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BigBirdForQuestionAnswering, BigBirdModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention

from edgexf.bundle.manifest import Limits, Segments
from edgexf.errors import ExportError
from edgexf.models.full import join_heads
from edgexf_exporters.lowerings.neighbours import Places
from edgexf_exporters.lowerings.reference.full import HIDDEN, attend
from edgexf_exporters.source import Family
from edgexf_exporters.trace.blocks import middle

PADDING_MARK = -1  # in the mask behind the end of an input; 0 marks a hidden token of the input
Frame = tuple[int, int]  # the number of blocks, and the tokens of a block


@dataclass(frozen=True)
class TokenMasks:
    """Which keys the tokens of a run see, the same for every layer.

    Attributes:
        at: the rows of the middle blocks' queries and keys: the first block, the last block, the neighbours.
        inner: added to the scores of the middle blocks, float32 [batch, blocks - 2, 1, 1, 5 * block]; of the single query of
            a short input, float32 [batch, 1, 1, 1, 2 * block + 3].
        ends: added to the scores of the first and the last block, float32 [batch, 1, 1, tokens].
        answers: whether a token mixes anything, bool [batch, tokens, 1].
    """

    at: Places
    inner: Tensor
    ends: Tensor
    answers: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, hidden: Tensor, config: Any, frame: Frame) -> TokenMasks:
        """From attention_mask int64 [batch, tokens], hidden float32 [batch, tokens, width] and the config of the model.

        A previous block that is the first block, and a next block that is the last block, are hidden: their keys are there
        already.
        """
        blocks, block = frame
        tokens = hidden.shape[1]
        real = attention_mask > 0
        hides = torch.where(real, 0.0, torch.where(attention_mask > PADDING_MARK, HIDDEN, 2 * HIDDEN)).to(hidden.dtype)
        place = middle(torch.arange(tokens).unflatten(0, frame))
        at = Places.of(place, hidden, config.num_attention_heads, 2 * block, 1, tokens - 2 * block)
        counted = (torch.arange(2 * block) < block).to(hidden.dtype) * math.log(1 + config.num_random_blocks)
        shared = at_ends(hides, frame) + counted
        twice = (at.near < block) | (at.near >= tokens - block)
        near = torch.where(twice, HIDDEN, hides[:, at.near.clamp(max=tokens - 1)])
        inner = torch.cat((shared[:, None].expand(-1, place.shape[0], -1), near), dim=-1)[:, :, None, None]
        full = torch.arange(blocks).amax(dim=0) < 2  # two blocks, which attend fully
        return cls(at, inner, hides[:, None, None], (real | full).unsqueeze(-1))


def at_ends(tokens: Tensor, frame: Frame) -> Tensor:
    """The first and the last block of [batch, tokens, ...], [batch, 2 * block, ...]."""
    blocks = tokens.unflatten(1, frame)
    return torch.cat((blocks[:, 0], blocks[:, -1]), dim=1)


class BlockSparseAttention(nn.Module):
    """In: hidden float32 [batch, blocks * block, width]. Out: the same shape, before the output projection."""

    def __init__(self, original: BigBirdBlockSparseAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, seen: TokenMasks, frame: Frame) -> Tensor:
        own, block = self.original, frame[1]
        query, key, value = (
            project(hidden).unflatten(2, (own.num_attention_heads, -1)) for project in (own.query, own.key, own.value)
        )  # [batch, tokens, heads, head_width]
        query = query / math.sqrt(own.attention_head_size)
        queries, *shared = (at_ends(tokens, frame) for tokens in (query, key, value))
        keys, values = map(seen.at.with_shared, (key, value), shared)
        mixed = seen.at.attend(query, keys, values, seen.inner, None, stepwise=True).flatten(2)
        ends = attend(queries.transpose(1, 2), key.permute(0, 2, 3, 1), value.transpose(1, 2), seen.ends)
        first, last = join_heads(ends).unflatten(1, (2, block)).unbind(1)
        return torch.where(seen.answers, torch.cat((first, mixed, last), dim=1), 0.0)


class BigBird(nn.Module):
    """`BigBirdModel` with lowered attention; the caller sets `frame` before each call."""

    frame: Frame = (0, 0)
    padding_mark = PADDING_MARK

    def __init__(self, original: BigBirdModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block = original.config.block_size
        layers: Any = original.encoder.layer
        self.layers = layers
        self.attentions = nn.ModuleList([BlockSparseAttention(layer.attention.self) for layer in layers])

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        own = self.original
        types = torch.zeros_like(attention_mask) if token_type_ids is None else token_type_ids
        reach = own.config.max_position_embeddings
        positions = torch.arange(types.shape[1]).clamp(max=reach - 1).unsqueeze(0)  # only padding lies beyond
        hidden = own.embeddings(input_ids, types, positions, inputs_embeds)
        states = [hidden]
        seen = TokenMasks.of(attention_mask, hidden, own.config, self.frame)
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            mixed = attention(hidden, seen, self.frame)
            hidden = layer.feed_forward_chunk(layer.attention.output(mixed, hidden))
            states.append(hidden)
        pooled = None if own.pooler is None else own.activation(own.pooler(hidden[:, 0]))
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=hidden,
            pooler_output=pooled,
            hidden_states=tuple(states) if output_hidden_states else None,
        )


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a BigBird.

    Raises ExportError for a model that attends fully at every length, and for a question answering model whose config
    has no sep_token_id.
    """
    config: Any = model.config
    block, reach, switch = config.block_size, config.max_position_embeddings, switch_of(config)
    (base,) = (module for module in model.modules() if isinstance(module, BigBirdModel))
    check_sparse(base.attention_type, "BigBird")
    longest = reach if reach <= switch else reach // block * block  # the library pads to whole blocks
    asks = isinstance(model, BigBirdForQuestionAnswering)  # it separates question and context by itself
    if asks and config.sep_token_id is None:
        raise ExportError(
            "a model that finds the context by itself needs sep_token_id, got none in its config; set it."
        )
    segments = Segments("context", config.sep_token_id) if asks else Segments("zeros", -1)
    padding = f"to_multiple({block})"
    return Family(longest, padding, min(switch, longest), segments, call_context=as_it_was)


def switch_of(config: Any) -> int:
    """The largest number of tokens at which the library attends fully."""
    switch: int = (5 + 2 * config.num_random_blocks) * config.block_size
    return switch


def check_sparse(kind: str, family: str) -> None:
    """Raises ExportError for a model that attends fully at every length."""
    if kind != "block_sparse":
        raise ExportError(
            f"a {family} must attend block-sparsely, got attention_type {kind}, which a short input also leaves "
            "behind in a model object; load it afresh, or set its attention_type."
        )


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores what a call may replace in the model: a short input switches the model to full attention for good.

    A trace calls the lowered model, which replaces nothing. It would see and put back what torch shows for the modules.
    """
    if torch.compiler.is_exporting():
        yield
        return
    holders: list[Any] = [module for module in model.modules() if hasattr(module, "set_attention_type")]
    types = [(holder, holder.attention_type) for holder in holders]
    cores = [(holder, holder.self) for holder in holders if hasattr(holder, "self")]
    try:
        yield
    finally:
        for holder, kind in types:
            holder.attention_type = kind
        for attention, core in cores:
            attention.self = core
