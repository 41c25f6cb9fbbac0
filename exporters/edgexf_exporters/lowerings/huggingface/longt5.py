"""The encoder of LongT5: windows in blocks, and with transient-global attention the sums of fixed blocks as further keys.

    before  padding in every layer, `seq_len // global_block_size` keys that a trace takes for a number, one_hot, einsum
    after   block j attends to blocks j-1, j, j+1 and to every global key: MatMul, Add of the bias, Softmax, MatMul;
            the graph pads once, to whole windows and whole global blocks

The library hides by adding -1e10, which leaves a hidden token the mean of all its keys. A head may read such a token, so
the graph adds the same number to the same keys. Keys that the library does not have (behind the end of an input, where
``attention_mask`` is -1) are zeros in a window, as in the library, and among global keys they are hidden by a number that is
far smaller. Distances become buckets by tables that torch computed: a logarithm that another library rounds otherwise
would choose another bucket.

A decoder passes through as it is. Two alternatives were weighed. A lowering of each attention alone would pad in each
layer. The mask as a column of the keys saves a pass, but then a hidden token sees nothing.
Source: Guo et al. 2022, "LongT5", section 3; `LongT5Stack` of transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.longt5.modeling_longt5 import LongT5Stack

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.reference.full import HIDDEN
from edgexf_exporters.source import Family

LONGEST = 16_384  # tokens; positions are relative, and the paper's models read as many
BARRED = -1e10  # what the library adds to a score to hide a key


def with_neighbours(blocks: Tensor, edge: Tensor, axis: int, join: int) -> Tensor:
    """Joins every block with the previous and the next block; `edge` (one block) stands in at both ends.

    `axis` (negative) is the axis of blocks; the three blocks are joined along `join` (negative).
    """
    padded, count = torch.cat((edge, blocks, edge), dim=axis), blocks.shape[axis]
    return torch.cat([padded.narrow(axis, 0, count), blocks, padded.narrow(axis, 2, count)], dim=join)


@dataclass(frozen=True)
class TokenMasks:
    """What the tokens of a run are, the same for every layer.

    Attributes:
        inside: the token is one of the caller's, not behind the end, bool [batch, sequence].
        real: the caller's mask shows it, bool [batch, sequence].
    """

    inside: Tensor
    real: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor) -> TokenMasks:
        return cls(attention_mask >= 0, attention_mask > 0)


class Encoder(nn.Module):
    """`LongT5Stack`; takes the inputs of the encoder, padded to whole blocks. In a decoder it is the library's own."""

    near: Tensor
    buckets: Tensor
    distances: Tensor

    def __init__(self, original: LongT5Stack, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block, self.padding_mark = 1, 0
        if original.is_decoder:
            return
        first = attention_of(original.block[0])
        self.window: int = first.block_len
        self.side: int = getattr(first, "global_block_size", 0)
        self.block, self.padding_mark = math.lcm(self.window, self.side or 1), -1
        offset = torch.arange(3 * self.window) - self.window - torch.arange(self.window).unsqueeze(1)  # key minus query
        self.register_buffer("near", offset.abs() < self.window, persistent=False)
        self.register_buffer("buckets", buckets(first, offset), persistent=False)
        far = (LONGEST + self.block) // (self.side or LONGEST) + 1
        self.register_buffer("distances", buckets(first, torch.arange(-far, far + 1)), persistent=False)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, inputs_embeds: Tensor | None = None,
        **others: Any,
    ) -> Any:  # fmt: skip
        own: Any = self.original
        if own.is_decoder:
            return own(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **others)
        hidden = own.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        seen = TokenMasks.of(torch.ones(hidden.shape[:2]) if attention_mask is None else attention_mask)
        bias, states = self.local_bias(seen), [hidden]
        globals_ = Globals.of(seen, self) if self.side else None
        for layer in own.block:
            attention, outer = attention_of(layer), layer.layer[0]
            normed = outer.layer_norm(hidden)
            hidden = hidden + attention.o(self.mixed(attention, normed, seen, bias, globals_))
            hidden = layer.layer[-1](hidden)
            states.append(hidden)
        states[-1] = hidden = own.final_layer_norm(hidden)
        kept = tuple(states) if others.get("output_hidden_states") else None
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden, hidden_states=kept)

    def local_bias(self, seen: TokenMasks) -> Tensor:
        """What is added to the scores of a window, float32 [batch, heads, blocks, window, 3 * window]."""
        table = attention_of(self.original.block[0]).relative_attention_bias
        bias = table(self.buckets).permute(2, 0, 1)[None, :, None]  # [1, heads, 1, window, 3 * window]
        real = seen.real.unflatten(1, (-1, self.window))  # [batch, blocks, window]
        keys = with_neighbours(real, torch.zeros_like(real[:, :1]), -2, -1)
        shown = real.unsqueeze(-1) & keys.unsqueeze(-2) & self.near
        found: Tensor = bias + torch.where(shown, 0.0, BARRED).unsqueeze(1)
        return found

    def mixed(self, attention: Any, hidden: Tensor, seen: TokenMasks, bias: Tensor, side: Globals | None) -> Tensor:
        """Mixed values [batch, sequence, inner_width]."""
        heads, inside = attention.n_heads, seen.inside[:, None, :, None]
        query, key, value = (split_heads(project(hidden), heads) for project in (attention.q, attention.k, attention.v))
        key, value = torch.where(inside, key, 0.0), torch.where(inside, value, 0.0)
        local, key, value = (tokens.unflatten(2, (-1, self.window)) for tokens in (query, key, value))
        keys = with_neighbours(key.transpose(-1, -2), torch.zeros_like(key[:, :, :1].transpose(-1, -2)), -3, -1)
        values = with_neighbours(value, torch.zeros_like(value[:, :, :1]), -3, -2)
        scores = local @ keys + bias
        if side is None:
            return join_heads((scores.softmax(dim=-1) @ values).flatten(2, 3))
        sums = attention.global_input_layer_norm(side.sums(hidden))
        side_key, side_value = (split_heads(project(sums), heads) for project in (attention.k, attention.v))
        side_scores = query @ side_key.transpose(-1, -2) + side.bias
        weights = torch.cat((scores, side_scores.unflatten(2, (-1, self.window))), dim=-1).softmax(dim=-1)
        near, far = weights.split((3 * self.window, side_key.shape[2]), dim=-1)
        far = far.contiguous().flatten(2, 3)  # torch would compare the strides of a part, which depend on the length
        return join_heads((near @ values).flatten(2, 3) + far @ side_value)


@dataclass(frozen=True)
class Globals:
    """The global keys of a run, one for each whole block of real tokens.

    Attributes:
        member: whether a token is summed into a global block, bool [batch, globals, sequence].
        bias: what is added to the scores of global keys, float32 [batch, heads, sequence, globals].
    """

    member: Tensor
    bias: Tensor

    @classmethod
    def of(cls, seen: TokenMasks, encoder: Encoder) -> Globals:
        size, length = encoder.side, seen.real.shape[1]
        places = torch.arange(length)
        ids = torch.where(seen.real, places // size, -1)
        ends = seen.real & (places % size == size - 1)
        ids = torch.minimum(ids, ends.sum(dim=1, keepdim=True) - 1)  # tokens behind the last whole block belong to it
        globals_ = torch.arange(length // size)
        active = globals_ <= ids.amax(dim=1, keepdim=True)  # [batch, globals]
        present = globals_ < seen.inside.sum(dim=1, keepdim=True) // size
        hides = torch.where(seen.real.unsqueeze(-1) == active.unsqueeze(1), 0.0, BARRED)
        hides = torch.where(present.unsqueeze(1), hides, HIDDEN)
        distance = globals_ - ids.unsqueeze(-1) + encoder.distances.shape[0] // 2  # [batch, sequence, globals]
        table = attention_of(encoder.original.block[0]).global_relative_attention_bias
        bias = table(encoder.distances[distance]).permute(0, 3, 1, 2)
        return cls(ids.unsqueeze(1) == globals_.unsqueeze(-1), bias + hides.unsqueeze(1))

    def sums(self, hidden: Tensor) -> Tensor:
        """The sums of the tokens of each block, [batch, globals, width]."""
        return self.member.to(hidden.dtype) @ hidden


def attention_of(layer: Any) -> Any:
    """The attention of an encoder's layer, local or transient-global."""
    outer = layer.layer[0]
    return getattr(outer, "LocalSelfAttention", None) or outer.TransientGlobalSelfAttention


def buckets(attention: Any, offset: Tensor) -> Tensor:
    """The bucket of each distance, key minus query."""
    found: Tensor = attention._relative_position_bucket(
        offset,
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    return found


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a LongT5 encoder, which has its own embedding of the same weights as its model.

    Raises ExportError for a global block that the library does not cut exactly: it adds up 1 / size in float32.
    """
    config: Any = model.config
    size = config.global_block_size
    if config.encoder_attention_type != "local":
        share = torch.ones(LONGEST) / size
        whole = (1.0 + (share.cumsum(0) - share) - 1.0).floor().long()  # as the library adds
        if not torch.equal(whole, torch.arange(LONGEST) // size):
            raise ExportError(
                f"a LongT5 must have a global_block_size whose blocks it finds exactly, such as a power of two, got {size}, whose sum of "
                "1 / size rounds to other blocks; export a model with another one."
            )
    stacks: Any = (part for part in model.modules() if isinstance(part, LongT5Stack) and not part.is_decoder)
    encoder = next(stacks, None)  # a decoder alone has none
    return Family(LONGEST, embedding=None if encoder is None else encoder.embed_tokens)
