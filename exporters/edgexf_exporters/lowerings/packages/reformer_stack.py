"""The modules around the attention of the PyPI package reformer_pytorch: its stack, feed-forward layer and padding.

    before  a reversible stack as an autograd function, a feed-forward layer in chunks whose number depends on the
            length, padding that computes with floats and `is_integer`
    after   two sums in each layer, the feed-forward layer in a single call, and padding to whole pairs of buckets
            inside the graph

Source: Kitaev et al. 2020, section 3; `ReversibleSequence`, `Chunk` and `Autopadder` of reformer_pytorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits


class Reversible(nn.Module):
    """Two streams, y1 = x1 + f(x2), y2 = x2 + g(y1) (Gomez et al. 2017, eq. 6); only f takes the keyword arguments."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.blocks = original.blocks

    def forward(self, x: Tensor, arg_route: object = None, **given: Any) -> Tensor:
        del arg_route  # the package always uses the default, which gives the arguments to f
        first, second = x.chunk(2, dim=2)
        for block in self.blocks:
            first = first + block.f.net(second, **given)
            second = second + block.g.net(first)
        return torch.cat((first, second), dim=2)


class Whole(nn.Module):
    """Runs a feed-forward layer in a single call, where the library runs it in chunks; the numbers are the same."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.fn = original.fn

    def forward(self, x: Tensor, **given: Any) -> Tensor:
        answer: Tensor = self.fn(x, **given)
        return answer


class Autopadder(nn.Module):
    """Pads to whole pairs of buckets, with zeros that a mask hides, and crops the answer."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.net = original.net

    def forward(self, x: Tensor, input_mask: Tensor | None = None, **given: Any) -> Tensor:
        own, length = self.original, x.shape[1]
        answer: Tensor
        if length + own.num_mem_kv > own.full_attn_thres:
            pair = 2 * own.bucket_size
            rest = (length + own.num_mem_kv + pair - 1) // pair * pair - own.num_mem_kv - length
            real = (
                torch.ones_like(x[..., 0] if x.dim() == 3 else x, dtype=torch.bool)
                if input_mask is None
                else input_mask
            )
            given["input_mask"] = F.pad(real, (0, rest), value=False)
            x = F.pad(x, (0, 0, 0, rest) if x.dim() == 3 else (0, rest))
        elif input_mask is not None:
            given["input_mask"] = input_mask
        answer = self.net(x, **given)
        return answer[:, :length]
