"""The PyPI package linformer: projected keys and values at any length.

    before  einsum("bnd,nk->bkd", keys, projection), sliced where the input is shorter than `seq_len`; a reversible
            stack is a custom autograd function
    after   (keys^T projection[:sequence])^T for every length; the stack is two sums in each layer

Keys are transposed, so that the projection is the right operand: quantizers leave a left operand in float32. The
package has no padding mask: padding counts as tokens, so all rows of a batch must have the same length.
Source: Wang et al. 2020, eq. 7; `LinformerSelfAttention` of linformer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads
from edgexf_exporters.lowerings.reference.full import attend


class Attention(nn.Module):
    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, x: Tensor, context: Tensor | None = None, **_: object) -> Tensor:
        own = self.original
        tokens = x if context is None else context
        keys = own.to_k(tokens)
        values = keys if own.share_kv else own.to_v(tokens)
        projections = own.proj_k, own.proj_k if own.share_kv else own.proj_v
        key, value = (
            self.heads((one.transpose(1, 2) @ projection[: tokens.shape[1]]).transpose(1, 2))
            for one, projection in zip((keys, values), projections, strict=True)
        )
        query = self.heads(own.to_q(x) * own.dim_head**-0.5)
        answer: Tensor = own.to_out(join_heads(attend(query, key.transpose(-1, -2), value)))
        return answer

    def heads(self, tokens: Tensor) -> Tensor:
        """[batch, tokens, any] -> [batch, heads or 1, tokens, head_width]."""
        split: Tensor = tokens.unflatten(2, (-1, self.original.dim_head))
        return split.transpose(1, 2)


class Reversible(nn.Module):
    """Two streams, y1 = x1 + f(x2), y2 = x2 + g(y1) (Gomez et al. 2017, eq. 6), and their sum."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.blocks = original.blocks

    def forward(self, x: Tensor) -> Tensor:
        first = second = x
        for block in self.blocks:
            first = first + block.f.net(second)
            second = second + block.g.net(first)
        return torch.add(first, second)
