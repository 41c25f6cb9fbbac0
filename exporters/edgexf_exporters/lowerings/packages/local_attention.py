"""The PyPI package local_attention: each window of a fixed size attends to itself and to windows around it.

    before  unfold over windows, packing and padding by einops, in-place masks of every kind
    after   window j attends to windows j - backward ... j + forward, which are copies shifted by whole windows:
            MatMul, Where of the masks, Softmax, MatMul

Where the library pads to whole windows (`autopad`), the graph pads too, inside the layer. Without `autopad` the length
must be a multiple of the window.
Source: `LocalAttention` of local_attention; rotary positions Su et al. 2021, eq. 34.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError

ITSELF = -5e4  # the library's score of a token for itself, where queries and keys are shared
HIDDEN = torch.finfo(torch.float32).min


class Attention(nn.Module):
    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.backward, self.forward_windows = original.look_backward, original.look_forward
        window, seen = original.window_size, 1 + original.look_backward + original.look_forward
        offset = torch.arange(seen * window) - original.look_backward * window - torch.arange(window).unsqueeze(1)
        self.register_buffer("itself", offset == 0, persistent=False)  # [window, seen * window], key minus query
        hidden = offset > 0 if original.causal else torch.zeros_like(self.itself)
        if original.exact_windowsize:
            hidden = hidden | (offset < -window * original.look_backward) | (offset > window * original.look_forward)
        self.register_buffer("hidden", hidden, persistent=False)

    itself: Tensor
    hidden: Tensor

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        input_mask: Tensor | None = None,
        attn_bias: Tensor | None = None,
        window_size: int | None = None,
    ) -> Tensor:
        """Takes and returns what `local_attention.LocalAttention` does: float32 [..., sequence, head_width].

        Raises ExportError for another window size.
        """
        own, length = self.original, q.shape[-2]
        if window_size not in (None, own.window_size):
            raise ExportError(
                f"a window must be the one that the attention was made with, {own.window_size}, got {window_size}; leave it out."
            )
        real = input_mask if mask is None else mask
        windows = (length + own.window_size - 1) // own.window_size if own.autopad else length // own.window_size
        k = F.normalize(k, dim=-1) if own.shared_qk else k
        query, key, value = (self.windows(tokens.flatten(0, -3), windows) for tokens in (q, k, v))
        query = query * (q.shape[-1] ** -0.5 if own.scale is None else own.scale)
        key, value = self.around(key, -1.0), self.around(value, -1.0)
        if own.rel_pos is not None:
            query, key = rotated(query, key, *own.rel_pos(key))
        scores = query @ key.transpose(-1, -2)  # [rows, windows, window, seen * window]
        if attn_bias is not None:
            scores = (scores.unflatten(0, (-1, attn_bias.shape[0])) + attn_bias.unsqueeze(1)).flatten(0, 1)
        scores = torch.where(self.itself, ITSELF, scores) if own.shared_qk else scores
        scores = torch.where(self.hidden | self.outside(windows), HIDDEN, scores)
        if real is not None:
            scores = torch.where(self.seen(real, windows, scores), scores, HIDDEN)
        mixed = (scores.softmax(dim=-1) @ value).flatten(1, 2)[:, :length]
        answer: Tensor = mixed.unflatten(0, v.shape[:-2])
        return answer

    def windows(self, tokens: Tensor, windows: int) -> Tensor:
        """[rows, sequence, any] -> [rows, windows, window, any]."""
        whole = windows * self.original.window_size
        if self.original.autopad:
            tokens = F.pad(tokens, (0, 0, 0, whole - tokens.shape[1]))
        cut: Tensor = tokens[:, :whole].unflatten(1, (windows, self.original.window_size))
        return cut

    def around(self, windows: Tensor, fill: float) -> Tensor:
        """Joins each window with the windows that it attends to.

        [rows, windows, window, any] -> [rows, windows, seen * window, any].
        """
        count = windows.shape[1]
        padded = F.pad(windows, (0, 0, 0, 0, self.backward, self.forward_windows), value=fill)
        shifts = range(self.backward + self.forward_windows + 1)
        return torch.cat([padded.narrow(1, shift, count) for shift in shifts], dim=2)

    def outside(self, windows: int) -> Tensor:
        """bool [windows, 1, seen * window]: true for keys before the first window and behind the last window."""
        window, place = self.original.window_size, torch.arange(windows).unsqueeze(1)
        key = (place - self.backward) * window + torch.arange(self.itself.shape[1])
        outside: Tensor = (key < 0) | (key >= windows * window)
        return outside.unsqueeze(1)

    def seen(self, real: Tensor, windows: int, scores: Tensor) -> Tensor:
        """A mask [batch, sequence] as bool [rows, windows, 1, seen * window]; each sample has a row for every head."""
        keys = self.around(self.windows(real.float().unsqueeze(-1), windows), 0.0).squeeze(-1) > 0
        heads = scores.shape[0] // real.shape[0]
        return keys.unsqueeze(1).expand(-1, heads, -1, -1).flatten(0, 1).unsqueeze(2)


def rotated(query: Tensor, key: Tensor, angle: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Rotates queries and keys by their positions.

    `angle` [keys, head_width]; the angles of the queries are its last rows.
    """
    behind, shrink = angle[-query.shape[-2] :], scale**-1
    grow = scale[-query.shape[-2] :] if scale.dim() == 2 else scale
    return (
        query * behind.cos() * grow + turned(query) * behind.sin() * grow,
        key * angle.cos() * shrink + turned(key) * angle.sin() * shrink,
    )


def turned(tokens: Tensor) -> Tensor:
    first, second = tokens.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
