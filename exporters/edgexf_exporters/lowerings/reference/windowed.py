"""Sliding-window attention with a global first token, in blocks.

    before  unfold over strides, padding to whole blocks, an in-place mask
    after   block j attends to blocks j-1, j, j+1 and token 0: rows of keys and values by one index, then
            `edgexf_exporters.trace.windowed` over all blocks at once; token 0 attends to everything

The index fills up the last block, so that only the attention pads: the linear layers see the tokens alone. The index
and what is added to the scores are the same in every layer, so the graph computes them once. A Gather of rows of a
head replaces the copies of shifted blocks, the transposition of heads and a column of the keys for the mask. The
global query does not need the key and the value of every token: for a single query, (q W_k) x^T and (a x) W_v give the
same numbers. The bias of the key shifts all scores of the query equally, so it cancels in the softmax.
Source: Longformer, Beltagy et al. 2020, section 3.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads, split_heads
from edgexf.models.windowed import WindowedAttention
from edgexf_exporters.lowerings.neighbours import Places, whole_columns
from edgexf_exporters.lowerings.reference.full import HIDDEN, attend, hide
from edgexf_exporters.trace.blocks import places
from edgexf_exporters.trace.marks import are_marked


class Windowed(nn.Module):
    band: Tensor

    block = 1

    def __init__(self, original: WindowedAttention, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.window = self.inner_block = window = original.window
        offset = torch.arange(3 * window) - window - torch.arange(window).unsqueeze(1)  # key minus query
        self.shared = whole_columns(1, window)
        band = F.pad(torch.where(offset.abs() <= window, 0.0, HIDDEN), (self.shared, 0))
        self.register_buffer("band", band, persistent=False)  # [window, shared + 3 * window]

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        local = self.local(hidden, mask)
        first = self.first(hidden, mask)  # [batch, 1, width]
        joined: Tensor = self.original.output(local.scatter(1, torch.zeros_like(first, dtype=torch.int64), first))
        return joined

    def local(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The mixed values of all tokens, which attend to their window and to token 0, [batch, sequence, width]."""
        own = self.original
        at = Places.of(places(hidden, self.window, 0), hidden, own.heads, self.shared)
        query, key, value = (
            project(hidden).unflatten(2, (own.heads, -1)) for project in (own.query, own.key, own.value)
        )  # [batch, sequence, heads, head_width]
        query = query / math.sqrt(query.shape[-1])
        keys, values = (
            at.with_shared(tokens, tokens[:, :1].expand(-1, self.shared, -1, -1)) for tokens in (key, value)
        )
        mixed = at.attend(query, keys, values, self.hidden(mask, at.near), self.band, stepwise=False)
        return mixed.flatten(2)

    def hidden(self, mask: Tensor, near: Tensor) -> Tensor:
        """What hides keys in the scores, float32 [batch, blocks, 1, 1, shared + 3 * window].

        Among the neighbours token 0 is hidden. It is the first shared key; the others fill whole vectors, and are hidden.
        """
        sequence = mask.shape[1]
        seen = mask[:, near.clamp(0, sequence - 1)] & (near > 0) & (near < sequence)
        hidden = F.pad(torch.where(seen, 0.0, HIDDEN), (self.shared - 1, 0), value=HIDDEN)
        return F.pad(hidden, (1, 0))[:, :, None, None]

    def first(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The mixed values of token 0, which attends to every real token, [batch, 1, width]."""
        own = self.original
        width, heads = hidden.shape[-1], own.heads
        query = (
            own.query_global(hidden[:, :1]).unflatten(2, (heads, -1)).transpose(1, 2)
        )  # [batch, heads, 1, head_width]
        query = query / math.sqrt(width // heads)
        if are_marked():
            key, value = (split_heads(project(hidden), heads) for project in (own.key_global, own.value_global))
            query, key = hide(query, key, mask.unsqueeze(1))
            return join_heads(attend(query, key.transpose(-1, -2), value))
        key_weight = own.key_global.weight.unflatten(0, (heads, -1))  # [heads, head_width, width]
        value_weight = own.value_global.weight.unflatten(0, (heads, -1)).transpose(-1, -2)  # [heads, width, head_width]
        scores = (query @ key_weight).squeeze(2) @ hidden.transpose(1, 2)  # [batch, heads, sequence]
        weights = torch.where(mask.unsqueeze(1), scores, HIDDEN).softmax(dim=-1)
        gathered = (weights @ hidden).unsqueeze(2) @ value_weight  # [batch, heads, 1, head_width]
        found: Tensor = join_heads(gathered) + own.value_global.bias
        return found
