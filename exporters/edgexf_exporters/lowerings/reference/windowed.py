"""Sliding-window attention with a global first token, in blocks.

    before  unfold over strides, padding to whole blocks, an in-place mask
    after   block j attends to blocks j-1, j, j+1 and token 0: rows of keys and values by one index, MatMul, Add of the
            band and the mask, weights, MatMul; token 0 attends to everything

The index fills up the last block, so that only the attention pads: the linear layers see the tokens alone. The index and
what is added to the scores are the same in every layer, so the graph computes them once. A Gather of rows of a head replaces the
copies of shifted blocks, the transposition of heads and a column of the keys for the mask. The global query does not need the key and the value of every token: for a single query, (q W_k) x^T and (a x) W_v give the same numbers. The
bias of the key shifts all scores of the query equally, so it cancels in the softmax.
Source: Longformer, Beltagy et al. 2020, section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.full import split_heads
from edgexf.models.windowed import WindowedAttention
from edgexf_exporters.lowerings.reference.full import HIDDEN, attend, hide
from edgexf_exporters.trace.attention_weights import attention_weights
from edgexf_exporters.trace.blocks import places
from edgexf_exporters.trace.marks import are_marked
from edgexf_exporters.trace.rows import rows


def with_neighbours(blocks: Tensor, edge: Tensor, axis: int, join: int) -> Tensor:
    """Joins every block with the previous and the next block; `edge` (one block) stands in at both ends.

    `axis` (negative) is the axis of blocks; the three blocks are joined along `join` (negative).
    """
    padded, count = torch.cat((edge, blocks, edge), dim=axis), blocks.shape[axis]
    return torch.cat([padded.narrow(axis, 0, count), blocks, padded.narrow(axis, 2, count)], dim=join)


@dataclass(frozen=True)
class Places:
    """Where the queries and keys of blocks come from, and where mixed values go. All layers share them.

    Rows are counted over all axes but the last; `edgexf_exporters.trace.rows` says what readers are. A token is a key of
    its block, of the block before and of the block behind. Token 0 is a key of each block, as a row of its own.

    Attributes:
        near: the positions of each block's neighbours, [blocks, 3 * window]; outside of the input at both ends.
        queries: rows among [batch, sequence, heads], [batch, heads, blocks, window].
        asked: the readers of `queries`, [batch, sequence, heads, 1].
        keys: rows of `with_first`, [batch, heads, blocks, 1 + 3 * window].
        readers: the readers of `keys`, [rows of with_first, 3].
        back: rows of mixed values, those of blocks and then those of token 0, [batch, sequence, heads].
        sources: the readers of `back`, [rows of mixed values, 1].
    """

    near: Tensor
    queries: Tensor
    asked: Tensor
    keys: Tensor
    readers: Tensor
    back: Tensor
    sources: Tensor

    @classmethod
    def of(cls, hidden: Tensor, heads: int, window: int) -> Places:
        """`hidden` is [batch, sequence, width]."""
        (batch, sequence, _), place = hidden.shape, places(hidden, window, 0)
        blocks, width = place.shape[0], 1 + 3 * window
        near = place[:, :1] + (torch.arange(3 * window) - window)
        row = torch.arange(batch * heads).view(batch, heads)  # of a head
        sample, head, block = torch.arange(batch)[:, None, None], torch.arange(heads), torch.arange(blocks)
        token = torch.arange(sequence)[:, None]  # beside heads

        def of_heads(position: Tensor) -> Tensor:
            """The rows among [batch, sequence, heads] of tokens, [batch, heads, ...]."""
            found = (sample.unsqueeze(3) * sequence + position.clamp(0, sequence - 1)) * heads
            return found + head[:, None, None]

        first = batch * sequence * heads + (row[:, :, None] * blocks + block)  # [batch, heads, blocks]
        keys = torch.cat((first.unsqueeze(-1), of_heads(near)), dim=-1)
        here = (row[:, None] * blocks + token // window) * width + 1 + window + token % window
        none = batch * heads * blocks * width
        before = torch.where(token >= window, here - width + window, none)
        behind = torch.where(token // window < blocks - 1, here + width - window, none)
        of_first = row[:, :, None] * (blocks * width) + block * width
        missing = torch.full_like(of_first, none)
        readers = [
            torch.stack(kind, dim=-1).flatten(0, -2) for kind in ((here, before, behind), (of_first, missing, missing))
        ]
        many = batch * heads * blocks * window  # rows of blocks; then come those of token 0
        asked = row[:, None] * (blocks * window) + token  # [batch, sequence, heads]
        back = torch.where(token == 0, many + row[:, None], asked)
        kept = (place > 0) & (place < sequence)
        sources = torch.where(kept, of_heads(place), batch * sequence * heads).flatten()
        sources = torch.cat((sources, (sample[..., 0] * (sequence * heads) + head).flatten()))
        return cls(near, of_heads(place), asked.unsqueeze(-1), keys, torch.cat(readers), back, sources.unsqueeze(-1))

    def with_first(self, tokens: Tensor) -> Tensor:
        """[batch, sequence, heads, head_width] as rows, and behind them token 0 for each head and block."""
        first = tokens[:, 0].unsqueeze(2).expand(-1, -1, self.queries.shape[2], -1)
        return torch.cat((tokens.flatten(0, -2), first.flatten(0, -2)))


class Windowed(nn.Module):
    band: Tensor

    block = 1

    def __init__(self, original: WindowedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.window = self.inner_block = window = original.window
        offset = torch.arange(3 * window) - window - torch.arange(window).unsqueeze(1)  # key minus query
        band = torch.where(offset.abs() <= window, 0.0, HIDDEN)
        self.register_buffer("band", band, persistent=False)  # [window, 3 * window]

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        at = Places.of(hidden, self.original.heads, self.window)
        local, first = self.local(hidden, mask, at), self.first(hidden, mask)
        mixed = torch.cat((local.flatten(0, -2), first.flatten(0, -2)))  # rows of head_width
        joined: Tensor = self.original.output(rows(mixed, at.back, at.sources).flatten(2))
        return joined

    def local(self, hidden: Tensor, mask: Tensor, at: Places) -> Tensor:
        """The mixed values of all tokens, which attend to their window and to token 0.

        Out: [batch, heads, blocks, window, head_width].
        """
        own = self.original
        query, key, value = (
            project(hidden).unflatten(2, (own.heads, -1)) for project in (own.query, own.key, own.value)
        )  # [batch, sequence, heads, head_width]
        queries = rows(query, at.queries, at.asked) / math.sqrt(query.shape[-1])
        keys, values = (rows(at.with_first(tokens), at.keys, at.readers) for tokens in (key, value))
        weights, _ = attention_weights(queries @ keys.transpose(-1, -2) + self.hidden(mask, at))
        mixed: Tensor = weights @ values
        return mixed

    def hidden(self, mask: Tensor, at: Places) -> Tensor:
        """What hides keys in the scores, float32 [batch, 1, blocks, window, 1 + 3 * window]."""
        near, sequence = at.near, mask.shape[1]
        seen = mask[:, near.clamp(0, sequence - 1)] & (near > 0) & (near < sequence)  # token 0 has its own column
        return F.pad(torch.where(seen, 0.0, HIDDEN).unsqueeze(2) + self.band, (1, 0)).unsqueeze(1)

    def first(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The mixed values of token 0, which attends to every real token, [batch, heads, 1, head_width]."""
        own = self.original
        width, heads = hidden.shape[-1], own.heads
        query = (
            own.query_global(hidden[:, :1]).unflatten(2, (heads, -1)).transpose(1, 2)
        )  # [batch, heads, 1, head_width]
        query = query / math.sqrt(width // heads)
        if are_marked():
            key, value = (split_heads(project(hidden), heads) for project in (own.key_global, own.value_global))
            query, key = hide(query, key, mask.unsqueeze(1))
            return attend(query, key.transpose(-1, -2), value)
        key_weight = own.key_global.weight.unflatten(0, (heads, -1))  # [heads, head_width, width]
        value_weight = own.value_global.weight.unflatten(0, (heads, -1)).transpose(-1, -2)  # [heads, width, head_width]
        scores = (query @ key_weight).squeeze(2) @ hidden.transpose(1, 2)  # [batch, heads, sequence]
        weights = torch.where(mask.unsqueeze(1), scores, HIDDEN).softmax(dim=-1)
        gathered = (weights @ hidden).unsqueeze(2) @ value_weight  # [batch, heads, 1, head_width]
        found: Tensor = gathered + own.value_global.bias.unflatten(0, (heads, 1, -1))
        return found
