"""Where the queries and keys of blocks come from, in attention over a sliding window, and where mixed values go.

    keys of block j    some tokens that every block sees, then blocks j-1, j and j+1
    index              rows of [batch, sequence, heads], for `edgexf_exporters.trace.rows`

All layers of one window share these integers, so a graph computes them once. Keys are as many as a multiple of 16, if `shared`
is chosen so: a product with 769 columns takes 1.2 times as long as one with 768 or 784 (ONNX Runtime 1.32, AVX-512).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COLUMNS = 16  # float32 numbers of a vector of AVX-512


def whole_columns(shared: int, window: int) -> int:
    """At least `shared` keys that every block sees, so that all keys of a block fill whole vectors."""
    return shared + -(shared + 3 * window) % COLUMNS


@dataclass(frozen=True)
class Places:
    """Rows are counted over all axes but the last; `edgexf_exporters.trace.rows` says what readers are.

    Attributes:
        near: the positions of each block's neighbours, [blocks, 3 * window]; outside of the input at both ends.
        queries: rows among [batch, sequence, heads], [batch, heads, blocks, window].
        asked: the readers of `queries`, [batch, sequence, heads, 1].
        keys: rows of `with_shared`, [batch, heads, blocks, shared + 3 * window].
        readers: the readers of `keys`, [rows of with_shared, 3].
        back: the row of each token among mixed values [batch, heads, blocks, window], [batch, sequence, heads].
        sources: the readers of `back`, [batch * heads * blocks * window, 1].
    """

    near: Tensor
    queries: Tensor
    asked: Tensor
    keys: Tensor
    readers: Tensor
    back: Tensor
    sources: Tensor

    @classmethod
    def of(cls, place: Tensor, hidden: Tensor, heads: int, shared: int) -> Places:
        """`place` holds the positions of blocks, int64 [blocks, window]; `hidden` is [batch, sequence, width]."""
        (batch, sequence, _), (blocks, window) = hidden.shape, place.shape
        near = place[:, :1] + (torch.arange(3 * window) - window)
        row = torch.arange(batch * heads).view(batch, heads)  # of a head
        sample, head, block = torch.arange(batch)[:, None, None, None], torch.arange(heads), torch.arange(blocks)
        token = torch.arange(sequence).unsqueeze(1)  # beside heads

        def of_heads(position: Tensor) -> Tensor:
            """The rows among [batch, sequence, heads] of tokens, [batch, heads, ...]."""
            return (sample * sequence + position.clamp(0, sequence - 1)) * heads + head[:, None, None]

        columns, many = shared + 3 * window, batch * sequence * heads
        seen = (row[:, :, None] * blocks + block).unsqueeze(-1)  # [batch, heads, blocks, 1]
        common = torch.arange(shared)
        keys = torch.cat((many + seen * shared + common, of_heads(near).expand(-1, -1, blocks, -1)), dim=-1)
        none = batch * heads * blocks * columns
        here = (row[:, None] * blocks + token // window) * columns + shared + window + token % window
        before = torch.where(token >= window, here - columns + window, none)
        behind = torch.where(token // window < blocks - 1, here + columns - window, none)
        of_common = seen * columns + common
        missing = torch.full_like(of_common, none)
        readers = [
            torch.stack(kind, dim=-1).flatten(0, -2) for kind in ((here, before, behind), (of_common, missing, missing))
        ]
        back = row[:, None] * (blocks * window) + token
        sources = torch.where(place < sequence, of_heads(place), many).flatten().unsqueeze(-1)
        return cls(near, of_heads(place), back.unsqueeze(-1), keys, torch.cat(readers), back, sources)

    def with_shared(self, tokens: Tensor, shared: Tensor) -> Tensor:
        """The rows of `tokens`, and behind them those of `shared` for each head and block.

        tokens [batch, sequence, heads, head_width]; shared [batch, shared, heads, head_width].
        """
        common = shared.transpose(1, 2).unsqueeze(2).expand(-1, -1, self.keys.shape[2], -1, -1)
        return torch.cat((tokens.flatten(0, -2), common.flatten(0, -2)))
