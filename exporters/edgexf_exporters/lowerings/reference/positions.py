"""Sinusoidal positions from two small tables instead of a table with one row for each position.

    before  table[: sequence]                                        [max_length, width]
    after   sin(a + b) = sin a cos b + cos a sin b,  a = 64 * (position // 64), b = position % 64

Two tables of about 64 rows each replace a table of thousands of rows (2.1 MB of 5.4 MB in the reference models), with
the same float32 accuracy. Multiplying positions by frequencies in the graph would need even less space, but near
position 4,096 the angle would have an error of 1e-4 in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.models.encoder import Positions, sinusoids

STEP = 64


class SplitPositions(nn.Module):
    coarse: Tensor
    fine: Tensor

    block = 1

    def __init__(self, original: Positions, _: Limits) -> None:
        super().__init__()
        length, width = original.table.shape
        rows = -(-length // STEP)
        self.register_buffer("coarse", sinusoids(rows * STEP, width)[::STEP].contiguous(), persistent=False)
        self.register_buffer("fine", sinusoids(STEP, width), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        position = torch.arange(hidden.shape[1], device=hidden.device)
        step = (position // STEP).clamp(max=len(self.coarse) - 1)  # only padding lies behind the last row
        coarse, fine = (
            self.coarse[step].unflatten(1, (-1, 2)),
            self.fine[position % STEP].unflatten(1, (-1, 2)),
        )
        sine = coarse[..., 0] * fine[..., 1] + coarse[..., 1] * fine[..., 0]  # [sequence, width / 2]
        cosine = coarse[..., 1] * fine[..., 1] - coarse[..., 0] * fine[..., 0]
        return torch.stack((sine, cosine), dim=-1).flatten(1)
