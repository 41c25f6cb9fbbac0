"""Full attention as MatMul and Softmax.

    before  scaled_dot_product_attention(Q, K, V, mask)
    after   Softmax([Q / sqrt(d), 1] [K, b]^T) V       b = 0 where the key is real, -1e30 elsewhere,
                                                       a slice of the queries at a time

No opset below 23 has the fused operator, and its reverse pass can't be traced. The mask is an additional column of
queries and keys, because a Where is one more pass over all scores, and so is the gradient of a Where.
Source: Vaswani et al. 2017, eq. 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.models.full import FullAttention, join_heads, split_heads
from edgexf_exporters.trace.sliced import sliced

HIDDEN = -1e30  # added to a score, so that its softmax weight is exactly 0; finite, so that no difference is NaN


def hide(query: Tensor, key: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Appends a column to queries and keys that adds `HIDDEN` to the scores of keys that are not real.

    query and key [..., tokens, head_width]; real bool, broadcast to the key's [..., tokens].
    """
    return biased(query, key, torch.where(real, 0.0, HIDDEN))


def biased(query: Tensor, key: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """As `hide`, with any bias of a key, broadcast to [..., tokens]."""
    column = bias.expand(key.shape[:-1]).unsqueeze(-1)
    return torch.cat((query, torch.ones_like(query[..., :1])), dim=-1), torch.cat((key, column), dim=-1)


def attend(query: Tensor, key_transposed: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mixed values [..., queries, head_width].

    query [..., queries, any], already divided by sqrt(head_width); key_transposed [..., any, keys];
    value [..., keys, head_width]; bias is added to the scores, broadcast to [..., queries, keys].
    """
    scores = query @ key_transposed
    return (scores if bias is None else scores + bias).softmax(dim=-1) @ value


class Full(nn.Module):
    block = 1
    sliced = True  # no tensor of queries x keys is ever whole

    def __init__(self, original: FullAttention, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own = self.original
        query, key, value = (split_heads(project(hidden), own.heads) for project in (own.query, own.key, own.value))
        query, key = hide(query / math.sqrt(query.shape[-1]), key, mask[:, None])
        joined: Tensor = own.output(join_heads(sliced(query, key, value, causal=False, masked=True)))
        return joined
