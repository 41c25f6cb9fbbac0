"""Sinusoidal positions from two small tables instead of a table with one row for each position.

    before  table[: sequence]                                        [max_length, width]
    after   sin(a + b) = sin a cos b + cos a sin b      a = the angle of position 64 * i, b = of position j
            cos(a + b) = cos a cos b - sin a sin b
            coarse[i] * fine[j] + turned_coarse[i] * turned_fine[j], for all i and j at a time

Both factors of a position come from small tables: [sine, cosine] of a times cosine of b, and [cosine, -sine] of a
times sine of b. Two tables of about 64 rows each replace a table of thousands of rows (2.1 MB of 5.4 MB in the
reference models), with the same float32 accuracy. Multiplying positions by frequencies in the graph would need even
less space, but near position 4,096 the angle would have an error of 1e-4 in float32. The sums are over whole
rows: to pick the sines out of a row copies numbers one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.models.encoder import Positions, sinusoids
from edgexf_exporters.trace.blocks import places

STEP = 64


class SplitPositions(nn.Module):
    coarse: Tensor
    fine: Tensor

    block = 1

    def __init__(self, original: Positions, _: Limits) -> None:
        super().__init__()
        length, width = original.table.shape
        rows = -(-length // STEP)
        pairs = (-1, 2)  # a sine and a cosine
        fine = sinusoids(STEP, width).unflatten(1, pairs).flip(-1).permute(2, 0, 1).unsqueeze(-1).contiguous()
        self.register_buffer("coarse", sinusoids(rows * STEP, width)[::STEP].unflatten(1, pairs), persistent=False)
        self.register_buffer("fine", fine, persistent=False)  # [cosine or sine, STEP, width / 2, 1]

    def forward(self, hidden: Tensor) -> Tensor:
        # A runtime computes both tables once, when it loads the graph.
        same = self.coarse.unsqueeze(1).expand(-1, 2, -1, -1)  # [rows, plain or turned, width / 2, sine or cosine]
        plain = torch.tensor([1.0, 0.0])[:, None, None]
        turned = same.flip(-1) * torch.tensor([1.0, -1.0])
        coarse = (same * plain + turned * (1 - plain)).flatten(2).unsqueeze(2)
        fine = self.fine.expand(-1, -1, -1, 2).flatten(2)  # [2, STEP, width]
        first = places(hidden, STEP, 0)[:, 0]
        step = (first // STEP).clamp(max=len(self.coarse) - 1)  # only padding lies behind the last row
        table = (coarse[step] * fine).sum(dim=1).flatten(0, 1)  # [steps * STEP, width]
        found: Tensor = table[torch.arange(hidden.shape[1], device=hidden.device)]
        return found
