"""Projected attention: full attention to a few slots, into which keys and values are projected from the sequence.

In: hidden float32 [batch, sequence, width], mask bool [batch, sequence]. Out: float32 [batch, sequence, width].
Cost: sequence * rank (Linformer, Wang et al. 2020, eq. 7):

    softmax(Q (E K)^T / sqrt(d)) (F V),   E and F: [rank, sequence]

E and F are one matrix here, which keys, values and heads share (section 4, "key-value sharing"). A shorter input uses
the first `sequence` columns. The paper has no mask. Padding would leak into every slot, so the keys and values of
padding are zeroed *before* the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.models.full import join_heads, split_heads
from edgexf.spec import EncoderSpec, ProjectedAttentionSpec


def segment_means(rank: int, length: int) -> Tensor:
    """The projection before training, [rank, length]: slot r is the mean of segment r of `rank` equal segments."""
    segment = -(-length // rank)
    slot = torch.arange(length) // segment  # [length]
    return F.one_hot(slot, rank).T.float() / segment


class ProjectedAttention(nn.Module):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        assert isinstance(spec.attention, ProjectedAttentionSpec)
        self.heads = spec.heads
        self.query = nn.Linear(spec.width, spec.width)
        self.key = nn.Linear(spec.width, spec.width)
        self.value = nn.Linear(spec.width, spec.width)
        self.output = nn.Linear(spec.width, spec.width)
        self.projection = nn.Parameter(segment_means(spec.attention.rank, spec.max_length))  # [rank, max_length]

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        real = mask.unsqueeze(-1).to(hidden.dtype)  # [batch, sequence, 1]
        slots = self.projection[:, : hidden.shape[1]]  # [rank, sequence]
        query = split_heads(self.query(hidden), self.heads)  # [batch, heads, sequence, head_width]
        key = split_heads(slots @ (self.key(hidden) * real), self.heads)  # [batch, heads, rank, head_width]
        value = split_heads(slots @ (self.value(hidden) * real), self.heads)
        joined: Tensor = self.output(join_heads(F.scaled_dot_product_attention(query, key, value)))
        return joined
