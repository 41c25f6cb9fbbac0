"""Sliding-window attention with a global first token, in whole blocks.

    before  unfold over strides, padding to whole blocks, an in-place mask
    after   block j attends to blocks j-1, j, j+1 (shifted copies) and token 0: MatMul, Add of the
            constant band, Softmax, MatMul; token 0 attends to everything

The length is a multiple of the window; the graph pads at its edge. Keys are transposed before they are copied to their
neighbours, because a transpose of the three-fold copy costs more than the products (measured). The global query does
not need the key and the value of every token: for a single query, (q W_k) x^T and (a x) W_v give the same numbers. The
bias of the key shifts all scores of the query equally, so it cancels in the softmax.
Source: Longformer, Beltagy et al. 2020, section 3.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf.models.windowed import WindowedAttention
from edgexf_exporters.lowerings.reference.full import HIDDEN, attend, hide
from edgexf_exporters.trace.marks import are_marked


def with_neighbours(blocks: Tensor, edge: Tensor, axis: int, join: int) -> Tensor:
    """Joins every block with the previous and the next block; `edge` (one block) stands in at both ends.

    `axis` (negative) is the axis of blocks; the three blocks are joined along `join` (negative).
    """
    padded, count = torch.cat((edge, blocks, edge), dim=axis), blocks.shape[axis]
    return torch.cat([padded.narrow(axis, 0, count), blocks, padded.narrow(axis, 2, count)], dim=join)


class Windowed(nn.Module):
    band: Tensor

    def __init__(self, original: WindowedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.block = window = original.window
        offset = torch.arange(3 * window) - window - torch.arange(window).unsqueeze(1)  # key minus query
        band = torch.where(offset.abs() <= window, 0.0, HIDDEN)
        self.register_buffer("band", F.pad(band, (1, 0)), persistent=False)  # [window, 1 + 3 * window], token 0 first

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        local = self.local(hidden, mask)  # [batch, sequence, width]
        mixed = torch.cat((self.first(hidden, mask), local[:, 1:]), dim=1)
        joined: Tensor = self.original.output(mixed)
        return joined

    def split(self, projected: Tensor) -> Tensor:
        """[batch, sequence, width] -> [batch, heads, blocks, window, head_width]."""
        blocks: Tensor = projected.unflatten(2, (self.original.heads, -1)).unflatten(1, (-1, self.block))
        return blocks.permute(0, 3, 1, 2, 4)

    def local(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own = self.original
        query, key, value = (self.split(project(hidden)) for project in (own.query, own.key, own.value))
        first_key = F.pad(key[:, :, :1, :1], (0, 1)).transpose(-1, -2)  # [batch, heads, 1, head_width + 1, 1]
        first_value = value[:, :, :1, :1]
        # Token 0 has a separate column, so among the neighbours it is not real.
        later = torch.cat((torch.zeros_like(mask[:, :1]), mask[:, 1:]), dim=1).unflatten(1, (-1, self.block))
        query, key = hide(query / math.sqrt(query.shape[-1]), key, later.unsqueeze(1))
        key = key.transpose(-1, -2)  # [batch, heads, blocks, head_width + 1, window]
        no_key = F.pad(torch.zeros_like(key[:, :, :1, :-1]), (0, 0, 0, 1), value=HIDDEN)
        no_value = torch.zeros_like(value[:, :, :1])
        every_block = (-1, -1, query.shape[2], -1, -1)
        keys = torch.cat((first_key.expand(every_block), with_neighbours(key, no_key, -3, -1)), dim=-1)
        values = torch.cat((first_value.expand(every_block), with_neighbours(value, no_value, -3, -2)), dim=-2)
        scores = query @ keys + self.band  # [batch, heads, blocks, window, 1 + 3 * window]
        return join_heads((scores.softmax(dim=-1) @ values).flatten(2, 3))

    def first(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The mixed values of token 0, which attends to every real token, [batch, 1, width]."""
        own = self.original
        width, heads = hidden.shape[-1], own.heads
        query = (
            own.query_global(hidden[:, :1]).unflatten(2, (heads, -1)).transpose(1, 2)
        )  # [batch, heads, 1, head_width]
        query = query / math.sqrt(width // heads)
        if are_marked():
            key, value = (split_heads(project(hidden), heads) for project in (own.key_global, own.value_global))
            query, key = hide(query, key, mask.unsqueeze(1))
            return join_heads(attend(query, key.transpose(-1, -2), value))
        key_weight = own.key_global.weight.unflatten(0, (heads, -1))  # [heads, head_width, width]
        value_weight = own.value_global.weight.unflatten(0, (heads, -1)).transpose(-1, -2)  # [heads, width, head_width]
        scores = (query @ key_weight).squeeze(2) @ hidden.transpose(1, 2)  # [batch, heads, sequence]
        weights = torch.where(mask.unsqueeze(1), scores, HIDDEN).softmax(dim=-1)
        gathered = (weights @ hidden).unsqueeze(2) @ value_weight  # [batch, heads, 1, head_width]
        return join_heads(gathered) + own.value_global.bias
