"""Attention over a sliding window: where the queries and keys of blocks come from, and where mixed values go.

    keys of block j    some tokens that every block sees, then blocks j-1, j and j+1
    index              rows of [batch, sequence, heads], for `edgexf_exporters.trace.windowed`

All layers of one window share these integers, so a graph computes them once. Keys are as many as a multiple of 16, if `shared`
is chosen so: a product with 769 columns takes 1.2 times as long as one with 768 or 784 (ONNX Runtime 1.32, AVX-512).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgexf_exporters.trace.marks import are_marked
from edgexf_exporters.trace.rows import rows
from edgexf_exporters.trace.windowed import windowed

COLUMNS = 16  # float32 numbers of a vector of AVX-512


def whole_columns(shared: int, window: int) -> int:
    """At least `shared` keys that every block sees, so that all keys of a block fill whole vectors."""
    return shared + -(shared + 3 * window) % COLUMNS


@dataclass(frozen=True)
class Places:
    """Rows are counted over all axes but the last; `edgexf_exporters.trace.rows` says what readers are.

    Attributes:
        near: the positions of each block's neighbours, [blocks, 3 * window]; outside of the input at both ends.
        queries: rows among [batch, sequence, heads], [batch, blocks, heads, window].
        asked: the readers of `queries`, [batch * sequence * heads, 1].
        keys: rows of `with_shared`, [batch, blocks, heads, shared + 3 * window].
        readers: the readers of `keys`, [batch * sequence * heads, 3].
        back: the row of each token that asks among mixed values [batch, blocks, heads, window], [batch, asking, heads].
        sources: the readers of `back`, [batch * blocks * heads * window, 1].
        shared: the keys that all blocks of a sample share.
    """

    near: Tensor
    queries: Tensor
    asked: Tensor
    keys: Tensor
    readers: Tensor
    back: Tensor
    sources: Tensor
    shared: int

    @classmethod
    def of(
        cls, place: Tensor, hidden: Tensor, heads: int, shared: int, first: int = 0, asking: int | None = None
    ) -> Places:
        """`place` holds the positions of blocks, int64 [blocks, window]; `hidden` is [batch, sequence, width].

        The first of these blocks is block `first` of the input. `asking`: so many tokens of these blocks are asked about, by
        default the whole sequence.
        """
        (batch, sequence, _), (blocks, window) = hidden.shape, place.shape
        near = place[:, :1] + (torch.arange(3 * window) - window)
        sample, head = torch.arange(batch), torch.arange(heads)

        def of_heads(position: Tensor) -> Tensor:
            """The rows among [batch, sequence, heads] of tokens [blocks, any], [batch, blocks, heads, any]."""
            tokens = sample[:, None, None] * sequence + position.clamp(0, sequence - 1)
            return tokens.unsqueeze(2) * heads + head[:, None]

        def of_blocks(block: Tensor, columns: int) -> Tensor:
            """The rows among [batch, blocks, heads, columns] of the first column of blocks [any, 1], [batch, any, heads]."""
            return ((sample[:, None, None] * blocks + block) * heads + head) * columns

        columns, many = shared + 3 * window, batch * sequence * heads
        each = sample[:, None] * heads + head  # [batch, heads]
        common = many + each.unsqueeze(-1) * shared + torch.arange(shared)  # [batch, heads, shared]
        keys = torch.cat((common.unsqueeze(1).expand(-1, blocks, -1, -1), of_heads(near)), dim=-1)

        def reader(block: Tensor, columns: int, column: Tensor) -> Tensor:
            """The row of a column of each token's block, [batch, sequence, heads]; if there is no such block, their number."""
            return torch.where(
                (block >= 0) & (block < blocks), of_blocks(block, columns) + column, batch * blocks * heads * columns
            )

        token = torch.arange(sequence).unsqueeze(1)  # beside heads
        block, offset = token // window - first, token % window
        readers = [reader(block + step, columns, shared + (1 - step) * window + offset) for step in (0, -1, 1)]
        asked = reader(block, window, offset).flatten().unsqueeze(-1)
        asking = sequence if asking is None else asking
        own = torch.arange(asking).unsqueeze(1)
        back = of_blocks(own // window, window) + own % window
        inside = place - first * window
        source = (sample[:, None, None] * asking + inside.clamp(max=asking - 1)).unsqueeze(2) * heads + head[:, None]
        source = torch.where((inside < asking).unsqueeze(1), source, batch * asking * heads).flatten().unsqueeze(-1)
        joined = torch.stack(readers, dim=-1).flatten(0, -2)
        return cls(near, of_heads(place), asked, keys, joined, back, source, shared)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, band: Tensor | None, stepwise: bool
    ) -> Tensor:
        """The mixed values of the tokens that ask, [batch, asking, heads, head_width].

        query, divided by sqrt(head_width), is float32 [batch, sequence, heads, head_width]; key and value are what `with_shared`
        gives. `hidden` [batch, blocks, 1, 1, shared + 3 * window] and `band` [window, shared + 3 * window] are added to the
        scores. `stepwise`: a graph computes one block at a time, which saves memory and costs a short input a loop.
        """
        if are_marked():  # the weights of a layer are asked for by its values alone
            query, key = query.detach(), key.detach()
        found = windowed(
            query.flatten(0, -2), key, value, self.queries, self.keys, hidden, band, self.asked, self.readers, self.shared, stepwise
        )  # fmt: skip
        mixed: Tensor = rows(found, self.back, self.sources)
        return mixed

    @staticmethod
    def with_shared(tokens: Tensor, shared: Tensor) -> Tensor:
        """The rows of `tokens`, and behind them those of `shared` for each head.

        tokens [batch, sequence, heads, head_width]; shared [batch, shared, heads, head_width].
        """
        return torch.cat((tokens.flatten(0, -2), shared.transpose(1, 2).flatten(0, -2)))
