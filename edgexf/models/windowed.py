"""Sliding-window attention with a global first token.

In: hidden float32 [batch, sequence, width], mask bool [batch, sequence]. Out: float32 [batch, sequence, width].
Cost: sequence * window (Longformer, Beltagy et al. 2020, section 3.1):

    token i attends to i - window ... i + window and to token 0; token 0 attends to every token,
    through separate projections ("linear projections for global attention").

The sequence is cut into blocks of `window` tokens. The keys of a block come from the block and its two neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.models.full import join_heads, split_heads
from edgexf.spec import EncoderSpec, WindowedAttentionSpec


def neighbourhoods(tokens: Tensor, window: int) -> Tensor:
    """[batch, heads, sequence, head_width] -> [batch, heads, blocks, 3 * window, head_width], zeros outside."""
    padded = F.pad(tokens, (0, 0, window, window))
    return padded.unfold(2, 3 * window, window).transpose(-1, -2)


class WindowedAttention(nn.Module):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        assert isinstance(spec.attention, WindowedAttentionSpec)
        self.heads = spec.heads
        self.window = spec.attention.window
        self.query = nn.Linear(spec.width, spec.width)
        self.key = nn.Linear(spec.width, spec.width)
        self.value = nn.Linear(spec.width, spec.width)
        self.query_global = nn.Linear(spec.width, spec.width)
        self.key_global = nn.Linear(spec.width, spec.width)
        self.value_global = nn.Linear(spec.width, spec.width)
        self.output = nn.Linear(spec.width, spec.width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        local = self.attend_in_windows(hidden, mask)  # [batch, heads, sequence, head_width]
        first = self.attend_from_first(hidden, mask)  # [batch, heads, 1, head_width]
        joined: Tensor = self.output(join_heads(torch.cat((first, local[:, :, 1:]), dim=2)))
        return joined

    def attend_from_first(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query = split_heads(self.query_global(hidden[:, :1]), self.heads)
        key, value = (split_heads(project(hidden), self.heads) for project in (self.key_global, self.value_global))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])

    def attend_in_windows(self, hidden: Tensor, mask: Tensor) -> Tensor:
        sequence, window = hidden.shape[1], self.window
        rest = -sequence % window  # zeros that fill the last block
        query, key, value = (
            split_heads(F.pad(project(hidden), (0, 0, 0, rest)), self.heads)
            for project in (self.query, self.key, self.value)
        )
        blocks = query.unflatten(2, (-1, window))  # [batch, heads, blocks, window, head_width]
        keys, values = (
            neighbourhoods(key, window),
            neighbourhoods(value, window),
        )  # [batch, heads, blocks, 3 * window, head_width]
        first_key, first_value = (
            token[:, :, None, :1].expand(-1, -1, blocks.shape[2], -1, -1) for token in (key, value)
        )  # [batch, heads, blocks, 1, head_width]
        mixed = F.scaled_dot_product_attention(
            blocks,
            torch.cat((first_key, keys), dim=3),
            torch.cat((first_value, values), dim=3),
            attn_mask=self.visible(F.pad(mask, (0, rest))),
        )
        return mixed.flatten(2, 3)[:, :, :sequence]

    def visible(self, mask: Tensor) -> Tensor:
        """The mask, bool [batch, 1, blocks, window, 1 + 3 * window]: token 0, then the other real neighbours."""
        window = self.window
        neighbour = mask.clone()
        neighbour[:, 0] = False  # token 0 has a separate column
        neighbour = F.pad(neighbour, (window, window)).unfold(1, 3 * window, window)  # [batch, blocks, 3 * window]
        query = torch.arange(window, device=mask.device).unsqueeze(1)
        offset = torch.arange(3 * window, device=mask.device) - window - query  # [window, 3 * window], key minus query
        near = neighbour.unsqueeze(2) & (offset.abs() <= window)  # [batch, blocks, window, 3 * window]
        return F.pad(near, (1, 0), value=True).unsqueeze(1)
