"""Full softmax attention: every real token attends to every real token.

In: hidden float32 [batch, sequence, width], mask bool [batch, sequence]. Out: float32 [batch, sequence, width].
Cost: sequence^2 (Vaswani et al. 2017, eq. 1 and section 3.2.2).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.spec import EncoderSpec


def split_heads(hidden: Tensor, heads: int) -> Tensor:
    """[batch, sequence, heads * head_width] -> [batch, heads, sequence, head_width]."""
    batch, sequence, width = hidden.shape
    return hidden.reshape(batch, sequence, heads, width // heads).transpose(1, 2)


def join_heads(hidden: Tensor) -> Tensor:
    """[batch, heads, sequence, head_width] -> [batch, sequence, heads * head_width]."""
    return hidden.transpose(1, 2).flatten(2)


class FullAttention(nn.Module):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.query = nn.Linear(spec.width, spec.width)
        self.key = nn.Linear(spec.width, spec.width)
        self.value = nn.Linear(spec.width, spec.width)
        self.output = nn.Linear(spec.width, spec.width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (split_heads(project(hidden), self.heads) for project in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        joined: Tensor = self.output(join_heads(mixed))
        return joined
