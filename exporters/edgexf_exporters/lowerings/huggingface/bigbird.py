"""Hugging Face's BigBird: block-sparse attention, or full attention where the model attends fully.

    before  a plan of random blocks drawn in numpy for each length, fifteen gathers and slices, and a
            matrix of all probabilities; on a short input the model object turns dense for good
    after   middle block j attends to the first block, to j-1, j, j+1 and to the last block: MatMul, Add of
            one bias for each block, Softmax, MatMul; the first and the last block attend to everything

In eval mode the library's plan names block 0 in each of its `num_random_blocks` places (transformers 5.23). So the keys
of block 0 count once more for each place: a bias of log(1 + num_random_blocks). A hidden token mixes nothing where
attention is sparse, as in the library: a head may read its output. Where attention is full, a row without real tokens
attends to all of its tokens alike. So padding is hidden by twice as much as these.

Up to (5 + 2 * num_random_blocks) * block_size tokens the model itself attends fully. Tokens come as [batch, blocks,
block], and both sizes are dynamic. A short input is *two blocks of half its length*, the first and the last, with no
block between them: the same graph is then full attention. Two alternatives were weighed: a branch in the graph, and
refusing short inputs. As for a branch, `torch.cond` does not trace with dynamic lengths, and two whole graphs under an
If would hold each weight twice once ONNX Runtime has packed it.
Source: Zaheer et al. 2020, section 2 and appendix D; `BigBirdModel` of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BigBirdForQuestionAnswering, BigBirdModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention

from edgexf.bundle.manifest import Limits, Segments
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.reference.full import HIDDEN, attend, biased
from edgexf_exporters.source import Family

PADDING_MARK = -1  # in the mask behind the end of an input; 0 marks a hidden token of the input
Frame = tuple[int, int]  # the number of blocks, and the tokens of a block


class BlockSparseAttention(nn.Module):
    """In: hidden float32 [batch, blocks * block, width]. Out: the same shape, before the output projection."""

    def __init__(self, original: BigBirdBlockSparseAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, attention_mask: Tensor, bias: Tensor, frame: Frame) -> Tensor:
        """`attention_mask` int64 [batch, tokens]; `bias` float32 [blocks - 2, 1, 5 * block], added to the scores."""
        own = self.original
        query, key, value = (
            split_heads(project(hidden), own.num_attention_heads) for project in (own.query, own.key, own.value)
        )
        real = attention_mask > 0
        hidden_keys = torch.where(attention_mask > PADDING_MARK, HIDDEN, 2 * HIDDEN)
        query, key = biased(
            query / math.sqrt(own.attention_head_size), key, torch.where(real, 0.0, hidden_keys)[:, None]
        )
        blocks = query.unflatten(2, frame)  # [batch, heads, blocks, block, head_width + 1]
        ends = torch.cat((blocks[:, :, 0], blocks[:, :, -1]), dim=2)
        first, last = attend(ends, key.transpose(-1, -2), value).unflatten(2, (2, -1)).unbind(2)
        keys = around(key.unflatten(2, frame).transpose(-1, -2), -1)
        values = around(value.unflatten(2, frame), -2)
        middle = (blocks[:, :, 1:-1] @ keys + bias).softmax(dim=-1) @ values
        mixed = join_heads(torch.cat((first, middle.flatten(2, 3), last), dim=2))
        full = torch.arange(frame[0]).amax(dim=0) < 2  # two blocks, which attend fully
        return torch.where((real | full).unsqueeze(-1), mixed, 0.0)


def around(blocks: Tensor, join: int) -> Tensor:
    """Joins the blocks that each middle block attends to along `join`.

    [batch, heads, blocks, ...] -> [batch, heads, blocks - 2, ...].
    """
    own = blocks[:, :, 1:-1]
    first, last = blocks[:, :, :1].expand_as(own), blocks[:, :, -1:].expand_as(own)
    return torch.cat((first, blocks[:, :, :-2], own, blocks[:, :, 2:], last), dim=join)


def biases(random_blocks: int, frame: Frame, dtype: torch.dtype) -> Tensor:
    """The bias [blocks - 2, 1, 5 * block] of the keys of the first, previous, own, next and last block.

    A previous block that is the first block, and a next block that is the last block, are hidden: their keys are there
    already.
    """
    blocks, block = frame
    place = torch.arange(blocks - 2)
    nothing = torch.zeros(blocks - 2, dtype=dtype)
    columns = (
        nothing + math.log(1 + random_blocks),
        torch.where(place == 0, HIDDEN, nothing),
        nothing,
        torch.where(place == blocks - 3, HIDDEN, nothing),
        nothing,
    )
    return torch.stack(columns, dim=-1).unsqueeze(-1).expand(-1, -1, block).flatten(1).unsqueeze(1)


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
        bias = biases(own.config.num_random_blocks, self.frame, hidden.dtype)
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            mixed = attention(hidden, attention_mask, bias, self.frame)
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
