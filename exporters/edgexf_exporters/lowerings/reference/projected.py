"""Projected attention with the projection as the right operand.

    before  softmax(Q (E K)^T / sqrt(d)) (E V)         E sliced to [rank, sequence]
    after   Softmax(Q (K^T E^T) / sqrt(d)) (V^T E^T)^T

The scores need a transposed key anyway, and `K^T E^T` is that key. The weight quantizers of ONNX Runtime see a constant
only when it is the right operand. Source: Linformer, Wang et al. 2020, eq. 7.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf.models.projected import ProjectedAttention
from edgexf_exporters.lowerings.reference.full import attend


class Projected(nn.Module):
    block = 1

    def __init__(self, original: ProjectedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        own = self.original
        real = mask.unsqueeze(-1).to(hidden.dtype)  # [batch, sequence, 1]
        slots = own.projection.transpose(0, 1)[: hidden.shape[1]]  # [sequence, rank]
        query = split_heads(own.query(hidden), own.heads)  # [batch, heads, sequence, head_width]
        key, value = (
            ((project(hidden) * real).transpose(1, 2) @ slots).unflatten(1, (own.heads, -1))
            for project in (own.key, own.value)
        )  # [batch, heads, head_width, rank]
        query = query / math.sqrt(query.shape[-1])
        joined: Tensor = own.output(join_heads(attend(query, key, value.transpose(-1, -2))))
        return joined
