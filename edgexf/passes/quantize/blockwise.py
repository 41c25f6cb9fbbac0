"""Weights in 4 bits with a scale for each block of 32. Layers and lookups unpack the weights while they run.

    before  MatMul(x, W)                    Gather(V, ids)
    after   MatMulNBits(x, W4, scales)      GatherBlockQuantized(V4, ids, scales)

Both operators belong to ONNX Runtime (domain com.microsoft). Its builds for the web and for phones have them too. Codes
are symmetric around 8 and come from onnxruntime's quantizer. Blocks lie along the inputs of a layer, or along a row of
a table, so both operators read the same bytes. The reverse pass of an explanation gathers all rows. W4 is therefore
stored once.

Wide layers may multiply by inputs in 8 bits. These inputs have a scale for each block of a row, so rows stay
independent. Measured on BERT of 4 layers x 768 at 128 and 512 tokens: 1.27 and 1.15 times fp32's speed instead of 1.02
and 0.96, and a worst error of 0.105 and 0.161 instead of 0.103 and 0.159. Layers below 384 get slower. The sum of two
products of 4 and 8 bits fits into 16 bits, so the products do not saturate on any processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

# onnxruntime.quantization.matmul_nbits_quantizer calls this function. To import that module would set up logging for
# the whole process.
from onnxruntime.capi._pybind_state import quantize_matmul_4bits

from edgexf.passes.linear import swapped
from edgexf.passes.quantize.modes import Mode
from edgexf.passes.quantize.walk import Floats, Store
from edgexf.passes.quantize.weights import Use, Weight
from edgexf.passes.rewriter import CONTRIB, Rewriter

BLOCK = 32
BITS = 4
WIDE = 384  # with as many inputs and outputs, integer products are faster than unpacking (measured, VNNI)
SMALLEST_SCALE = 1e-30  # below this scale any code will do: its value is negligible in a float32 sum
IN_BYTES = 4  # the operator's accuracy_level: inputs in 8 bits, a scale for each block


@dataclass(frozen=True)
class Blocks:
    """A weight as [rows, inputs] in 4 bits.

    Attributes:
        name: the first part of the names of its constants.
        packed: the codes, two in a byte, uint8 [rows, blocks, 16].
        scales: the scale of each block, float32 [rows, blocks].
        axis: the axis of the weight whose entries are the rows.
    """

    name: str
    packed: npt.NDArray[np.uint8]
    scales: npt.NDArray[np.float32]
    axis: int

    @property
    def inputs(self) -> int:
        return int(self.packed.shape[1]) * BLOCK


@dataclass
class Blockwise(Store):
    """The scheme for weights in blocks of 4 bits.

    Attributes:
        in_bytes: whether wide layers may multiply by inputs in 8 bits.
    """

    in_bytes: bool = True

    def pack(self, weight: Weight, axis: int) -> Blocks | str:
        if weight.digest not in self.packed:
            self.packed[weight.digest] = self.packed_anew(weight, axis)
        found: Blocks | str = self.packed[weight.digest]
        return found

    def packed_anew(self, weight: Weight, axis: int) -> Blocks | str:
        return blocks_of(self.name(weight), weight.array, axis)

    def product(self, graph: Rewriter, packed: Blocks, use: Use) -> ir.Value | None:
        left = use.node.inputs[0]
        if left is not None and use.path and use.path[0].op_type == "Slice" and packed.axis == 0:
            found = self.first_rows(graph, packed, use.path[0])
            for step in use.path[1:]:
                found = None if found is None else graph.again(step, found)
            return None if found is None else graph.node("MatMul", left, found)
        if left is None or packed.axis != use.axis or not all(map(swapped, use.path)):
            return None
        codes = graph.constant(f"{packed.name}_q4", packed.packed)
        scales = graph.constant(f"{packed.name}_q4_scales", packed.scales.reshape(-1))
        wide = self.in_bytes and min(packed.inputs, len(packed.packed)) >= WIDE
        level = {"accuracy_level": IN_BYTES} if wide else {}
        return unpacking(
            graph, "MatMulNBits", left, codes, scales,
            K=packed.inputs, N=len(packed.packed), bits=BITS, block_size=BLOCK, **level,
        )  # fmt: skip

    def rows(self, graph: Rewriter, packed: Blocks, node: ir.Node) -> ir.Value | None:
        chosen = node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type == "GatherND" and chosen is not None and chosen.producer() is not None:
            chosen = chosen.producer().inputs[0]  # type: ignore[union-attr]  # row numbers, see `weights.whole_rows`
        if packed.axis != 0 or chosen is None:
            return None
        return self.first_rows(graph, packed, node) if node.op_type == "Slice" else self.gathered(graph, packed, chosen)

    def first_rows(self, graph: Rewriter, packed: Blocks, node: ir.Node) -> ir.Value | None:
        """The rows that a Slice takes from the first row on; other rows are not unpacked.

        None for a Slice that begins at another row, or that has a constant end.
        """
        _, start, end = node.inputs[:3]
        begins = start is not None and start.const_value is not None and start.const_value.numpy().tolist() == [0]
        if not begins or end is None or end.const_value is not None:
            return None
        count = graph.node("Squeeze", end, graph.constant("axis_0", np.array([0])))
        rows = graph.constant(f"rows_{len(packed.packed)}", np.array(len(packed.packed)))
        none, one = (graph.constant(f"rows_{number}", np.array(number)) for number in (0, 1))
        behind = graph.node("Add", count, rows)  # a negative end counts back from the end
        most = graph.node("Min", graph.node("Where", graph.node("Less", count, none), behind, count), rows)
        return self.gathered(graph, packed, graph.node("Range", none, most, one))

    def read(self, graph: Rewriter, packed: Blocks) -> ir.Value:
        numbers = [graph.constant(f"rows_{number}", np.array(number)) for number in (0, len(packed.packed), 1)]
        found = self.gathered(graph, packed, graph.node("Range", *numbers))
        return found if packed.axis == 0 else graph.node("Transpose", found, perm=(1, 0))

    def gathered(self, graph: Rewriter, packed: Blocks, chosen: ir.Value) -> ir.Value:
        count = len(packed.packed)
        codes = graph.constant(f"{packed.name}_q4_rows", packed.packed.reshape(count, -1))
        scales = graph.constant(f"{packed.name}_q4_rows_scales", packed.scales)
        return unpacking(
            graph, "GatherBlockQuantized", codes, chosen, scales,
            gather_axis=0, quantize_axis=1, block_size=BLOCK, bits=BITS,
        )  # fmt: skip

    def stored(self, packed: Blocks) -> Floats:
        found = (in_steps(packed) * packed.scales[:, :, None]).reshape(len(packed.packed), -1)
        return found if packed.axis == 0 else found.T

    def roundings(self, packed: Blocks, given: Floats, kernel: ir.Node | None) -> list[Floats]:
        """The roundings that accuracy_level 4 of the operator allows, which lets a kernel round to 8 bits.

        They are: no rounding; symmetric rounding with a scale for each block of a row, as ONNX Runtime does on x86; and
        rounding with a range for each row, as ONNX Runtime does on ARM. A kernel without accuracy_level does not round.
        """
        del packed
        if kernel is None or "accuracy_level" not in kernel.attributes:
            return [given]
        tiny = np.finfo(np.float32).tiny
        blocks = given.reshape(*given.shape[:-1], -1, BLOCK)
        largest = np.maximum(np.abs(blocks).max(axis=-1, keepdims=True), tiny)
        by_block = np.rint(blocks * (127 / largest)) * (largest / 127)
        low, high = np.minimum(given.min(axis=-1, keepdims=True), 0), np.maximum(given.max(axis=-1, keepdims=True), 0)
        step = np.maximum((high - low) / 255, tiny)
        zero = np.rint(-low / step)
        by_row = (np.clip(np.rint(given / step) + zero, 0, 255) - zero) * step
        return [given, by_block.reshape(given.shape).astype(np.float32), by_row.astype(np.float32)]

    def apart(self, packed: Blocks, array: Floats) -> float:
        rows = in_blocks(packed, array)
        counts = np.abs(packed.scales) > SMALLEST_SCALE
        steps = np.where(counts, packed.scales, 1)[:, :, None]
        return float(np.abs(np.where(counts[:, :, None], rows / steps - in_steps(packed), 0)).max())

    @property
    def nearest(self) -> float:
        """One step: codes reach eight steps to one side of 0 and seven to the other.

        Rounding leaves a whole step if the lowest and the highest value of a block are of nearly the same size.
        """
        return 1.0


def unpacking(graph: Rewriter, kind: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
    """The output of an operator that unpacks codes, float32 as the scales are.

    The type is set here because onnx's shape inference does not know these operators.
    """
    found = graph.node(f"{CONTRIB}::{kind}", *inputs, **attributes)
    found.type = ir.TensorType(ir.DataType.FLOAT)
    return found


def in_blocks(packed: Blocks, array: Floats) -> Floats:
    """The numbers of a weight in the order of its codes, float32 [rows, blocks, 32]."""
    return (array if packed.axis == 0 else array.T).reshape(*packed.scales.shape, BLOCK)


def in_steps(packed: Blocks) -> Floats:
    """The codes as float32 [rows, blocks, 32], from -8 to 7. The lower half of a byte is the first of its two codes."""
    halves = np.stack((packed.packed & 15, packed.packed >> BITS), axis=-1)
    return np.asarray(halves.reshape(*packed.scales.shape, BLOCK).astype(np.float32) - 8, dtype=np.float32)


def blocks_of(name: str, array: npt.NDArray[np.float32], axis: int) -> Blocks | str:
    """Packs a weight in blocks along the axis that is not `axis`, or along `axis` if the other has no whole blocks.

    Returns the reason as a sentence for a weight that is no matrix, and if neither axis has whole blocks.
    """
    if array.ndim != 2:
        return f"has {array.ndim} axes, and blocks are for matrices"
    for rows in (axis, 1 - axis):
        if array.shape[1 - rows] % BLOCK == 0:
            return Blocks(name, *quantized(array.T if rows == 0 else array), rows)
    return f"has no axis of whole blocks of {BLOCK}"


def quantized(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The codes, uint8 [outputs, blocks, 16], and the scales, float32 [outputs, blocks], of a weight [inputs, outputs].

    The number of inputs must be a multiple of `BLOCK`.
    """
    inputs, outputs = weight.shape
    packed = np.zeros((outputs, inputs // BLOCK, BLOCK * BITS // 8), dtype=np.uint8)
    scales = np.zeros((outputs, inputs // BLOCK), dtype=np.float32)
    zeros = np.zeros((outputs, -(-inputs // BLOCK // 2)), dtype=np.uint8)
    quantize_matmul_4bits(packed, np.ascontiguousarray(weight), scales, zeros, BLOCK, outputs, inputs, True)
    return packed, scales


Q4 = Mode("q4", tolerance=0.5, scheme=lambda _: Blockwise())
