"""Full attention as MatMul and Softmax.

    before  scaled_dot_product_attention(Q, K, V, mask)
    after   Softmax(Where(mask, Q K^T / sqrt(d), -1e30)) V

The fused operator exists in no opset below 23 and has no reverse pass that can be traced.
Source: Vaswani et al. 2017, eq. 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgexf.models.full import FullAttention, join_heads, split_heads

HIDDEN = -1e30  # a score that softmax turns into exactly 0; finite, so that no difference is NaN


def attend(query: Tensor, key_transposed: Tensor, value: Tensor, visible: Tensor | None = None) -> Tensor:
    """Mixed values [..., queries, head_width].

    query [..., queries, head_width], key_transposed [..., head_width, keys], value [..., keys, head_width];
    visible bool, broadcast to [..., queries, keys].
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key_transposed
    if visible is not None:
        scores = torch.where(visible, scores, HIDDEN)
    return scores.softmax(dim=-1) @ value


class Full(nn.Module):
    block = 1

    def __init__(self, original: FullAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own = self.original
        query, key, value = (split_heads(project(hidden), own.heads) for project in (own.query, own.key, own.value))
        mixed = attend(query, key.transpose(-1, -2), value, mask[:, None, None, :])
        joined: Tensor = own.output(join_heads(mixed))
        return joined
