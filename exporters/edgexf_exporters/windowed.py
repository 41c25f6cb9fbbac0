"""Sliding-window attention with a global first token, in whole blocks.

    before  unfold over strides, padding to whole blocks, an in-place mask
    after   block j attends to blocks j-1, j, j+1 (shifted copies) and token 0, one MatMul and one
            Softmax; token 0 attends to everything

The length is a multiple of the window; the graph's edge pads. Keys are transposed before they are
copied to their neighbours, since a transpose of the three-fold copy costs more than the products
(measured). The global query needs no key or value of every token: (q W_k) x^T and (a x) W_v are the
same numbers for one query; the key's bias shifts all its scores alike and cancels in the softmax.
Source: Longformer, Beltagy et al. 2020, section 3.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.models.full import join_heads
from edgexf.models.windowed import WindowedAttention
from edgexf_exporters.full import HIDDEN, attend


def with_neighbours(blocks: Tensor, axis: int, join: int) -> Tensor:
    """Every block beside the one before and the one after it, zeros at the ends.

    `axis` (negative) counts the blocks; the three are joined along `join` (negative).
    """
    padding = [0, 0] * (-axis - 1) + [1, 1]
    padded, count = F.pad(blocks, padding), blocks.shape[axis]
    return torch.cat([padded.narrow(axis, 0, count), blocks, padded.narrow(axis, 2, count)], dim=join)


class Windowed(nn.Module):
    band: Tensor

    def __init__(self, original: WindowedAttention) -> None:
        super().__init__()
        self.original = original
        self.block = window = original.window
        offset = torch.arange(3 * window) - window - torch.arange(window).unsqueeze(1)  # key minus query
        self.register_buffer("band", offset.abs() <= window, persistent=False)  # [window, 3 * window]

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
        query, value = self.split(own.query(hidden)), self.split(own.value(hidden))
        key = self.split(own.key(hidden)).transpose(-1, -2)  # [batch, heads, blocks, head_width, window]
        first_key, first_value = key[:, :, :1, :, :1], value[:, :, :1, :1]
        blocks = query.shape[2]
        keys = torch.cat((first_key.expand(-1, -1, blocks, -1, -1), with_neighbours(key, -3, -1)), dim=-1)
        values = torch.cat((first_value.expand(-1, -1, blocks, -1, -1), with_neighbours(value, -3, -2)), dim=-2)
        mixed = attend(query, keys, values, self.visible(mask))
        return join_heads(mixed.flatten(2, 3))

    def visible(self, mask: Tensor) -> Tensor:
        """bool [batch, 1, blocks, window, 1 + 3 * window]: token 0 always, then real neighbours but token 0."""
        later = torch.cat((torch.zeros_like(mask[:, :1]), mask[:, 1:]), dim=1).to(
            torch.float32
        )  # token 0 has a column of its own
        neighbours = with_neighbours(later.unflatten(1, (-1, self.block)), -2, -1) > 0  # [batch, blocks, 3 * window]
        near = neighbours.unsqueeze(2) & self.band  # [batch, blocks, window, 3 * window]
        return torch.cat((torch.ones_like(near[..., :1]), near), dim=-1).unsqueeze(1)

    def first(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What token 0 gathers from every real token, [batch, 1, width]."""
        own = self.original
        width, heads = hidden.shape[-1], own.heads
        query = (
            own.query_global(hidden[:, :1]).unflatten(2, (heads, -1)).transpose(1, 2)
        )  # [batch, heads, 1, head_width]
        query = query / math.sqrt(width // heads)
        key_weight = own.key_global.weight.unflatten(0, (heads, -1))  # [heads, head_width, width]
        value_weight = own.value_global.weight.unflatten(0, (heads, -1)).transpose(-1, -2)  # [heads, width, head_width]
        scores = (query @ key_weight).squeeze(2) @ hidden.transpose(1, 2)  # [batch, heads, sequence]
        weights = torch.where(mask.unsqueeze(1), scores, HIDDEN).softmax(dim=-1)
        gathered = (weights @ hidden).unsqueeze(2) @ value_weight  # [batch, heads, 1, head_width]
        return join_heads(gathered) + own.value_global.bias
