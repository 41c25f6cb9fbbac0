"""Projected attention that projects the tokens to slots first, and the slots to keys and values.

    before  softmax(Q (E K)^T / sqrt(d)) (E V)         E sliced to [rank, sequence], K = X W_k + b_k, V = X W_v + b_v
    after   X~ = (X^T E^T)^T                           [rank, width]
            softmax(Q K~^T) V~                         K~ = (X~ W_k + s b_k) / sqrt(d), V~ = X~ W_v + s b_v

s are the row sums of E over the real tokens. Both orders are the same linear map. In this order the weights of keys and
values multiply `rank` rows instead of `sequence` rows, which saves two of the four products of a layer's width, and the
projection is applied once instead of twice. The weight quantizers of ONNX Runtime see a constant only when it is the right
operand, so X^T is the left one. Source: Linformer, Wang et al. 2020, eq. 7.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

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
        projection = own.projection.transpose(0, 1)[: hidden.shape[1]]  # [sequence, rank]
        slots, sums = (
            (one.transpose(1, 2) @ projection).transpose(1, 2) for one in (hidden * real, real)
        )  # [batch, rank, width] and [batch, rank, 1]
        query = split_heads(own.query(hidden), own.heads)  # [batch, heads, sequence, head_width]
        key, value = (
            split_heads(F.linear(slots, project.weight) + sums * project.bias, own.heads)
            for project in (own.key, own.value)
        )  # [batch, heads, rank, head_width]
        key = key / math.sqrt(query.shape[-1])
        joined: Tensor = own.output(join_heads(attend(query, key.transpose(-1, -2), value)))
        return joined
