"""Weights in blocks of 4 bits, and everything else in half precision: the smallest graphs, for WebGPU.

    before  MatMul(x, W)                             Gather(V, ids)
    after   MatMulNBits(x, W4, scales), all float16  GatherBlockQuantized(V4, ids, scales), all float16

`edgexf.passes.quantize.blockwise` stores the weights, then `edgexf.passes.quantize.half` converts the graph. Inputs and
outputs stay float32. transformers.js asks for these files by the dtype q4f16. WebGPU prefers them to fp16: a browser
downloads a third of the bytes, and the same rules judge the answers. A GPU takes them by name alone.

The scales become numbers of float16 before the conversion, where the weights are packed. The conversion then changes
none of them, so `edgexf.passes.quantize.layer_check` compares with the numbers that the files hold.

A scale is rounded away from 0, and the codes are computed anew. Every weight of a block then still lies within eight
steps of 0, and the bound of `Blockwise.nearest`, one step, holds as it is. Two alternatives were weighed. Rounding the
scales to the nearest number and keeping the codes adds up to 8 * 2**-11 of a step to the bound, and it has no bound for
scales below 2**-14, of which float16 keeps fewer bits. Leaving the scales to the conversion would check numbers that no
file holds.

No layer has an accuracy_level. With level 4, ONNX Runtime may multiply by inputs in 8 bits. Its WebGPU kernels then take
one scale for 128 inputs, which neither the trial nor the check of layers shows. Without a level, its CPU kernels
multiply in float32 on x86 and in float16 on ARM, and its WebGPU kernels multiply in float16. This was read in ONNX
Runtime's source, and not run on a GPU.

MatMulNBits may also round each unpacked weight to float16. The trial does not show this rounding: it is 2**-11 of a
weight, where 4 bits leave up to 1/16 of the largest weight of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgexf.passes.quantize.blockwise import BITS, Blocks, Blockwise, in_blocks
from edgexf.passes.quantize.half import as_on_a_device, to_half
from edgexf.passes.quantize.modes import Mode
from edgexf.passes.quantize.walk import Floats
from edgexf.passes.quantize.weights import Weight

LOWEST, HIGHEST = -8, 7  # of the codes, in steps


@dataclass
class BlockwiseInHalf(Blockwise):
    """The scheme for weights in blocks of 4 bits whose scales float16 holds."""

    in_bytes: bool = False

    def packed_anew(self, weight: Weight, axis: int) -> Blocks | str:
        found = super().packed_anew(weight, axis)
        return found if isinstance(found, str) else with_scales(found, away_from_zero(found.scales), weight.array)


def away_from_zero(scales: Floats) -> Floats:
    """The nearest numbers of float16 that are at least as far from 0, as float32."""
    nearest = scales.astype(np.float16)
    beyond = np.nextafter(nearest, np.copysign(np.float16(np.inf), nearest))
    return np.where(np.abs(nearest) < np.abs(scales), beyond, nearest).astype(np.float32)


def with_scales(packed: Blocks, scales: Floats, array: Floats) -> Blocks:
    """The weight `array` in the blocks of `packed` with other scales. Each number gets the code nearest to it."""
    steps = in_blocks(packed, array) / np.where(scales == 0, 1, scales)[:, :, None]
    codes = (np.clip(np.rint(steps), LOWEST, HIGHEST) - LOWEST).astype(np.uint8)
    return replace(packed, packed=codes[..., ::2] | np.left_shift(codes[..., 1::2], BITS), scales=scales)


Q4F16 = Mode("q4f16", tolerance=0.5, scheme=lambda _: BlockwiseInHalf(), convert=to_half, emulated=as_on_a_device)
