"""Weights in 8 bits, with integer products where the graph multiplies by a weight.

    before  MatMul(x, W)
    dynamic DynamicQuantizeLinear(x) -> MatMulInteger(., W8) -> Cast -> * (x scale * W scales)
    static  QuantizeLinear(x, range) -> DequantizeLinear -> MatMul(., DequantizeLinear(W8))

ONNX Runtime fuses either chain into one kernel (its fusions MatMulIntegerToFloat, and of QDQ nodes). Weights are
symmetric and signed, with a scale for each output of a layer or each row of a table: W8 = round(W / scale), along the other
axis (Jacob et al. 2018, eq. 1, with zero point 0; Krishnamoorthi 2018, section 3.1). `edgexf.passes.quantize.scales` says why no
sum of products saturates. Where the coarser step of a layer costs too much, `Int8.precise` stores unsigned weights with the scale
of a table, whose kernel is slower with AVX2 alone: W = (W8 - 128) * scale. Activations have one range for a whole tensor, since the
kernels take no other. The range is found while the graph runs, or calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgexf.passes.quantize import scales
from edgexf.passes.quantize.balance import ActivationSample, Balance, find_balance
from edgexf.passes.quantize.modes import BuildInputs, Mode
from edgexf.passes.quantize.walk import Floats, Range, Store, moved_rows
from edgexf.passes.quantize.weights import Kind, Use, Weight
from edgexf.passes.rewriter import Rewriter

ZERO = 128  # the zero point of unsigned weights
SMALLEST_SCALE = 1e-30  # below this scale any code will do: its value is negligible in a float32 sum


@dataclass(frozen=True)
class Codes:
    """A weight in 8 bits with a scale for each entry of `axis`: W = (codes - zero) * scale.

    Attributes:
        name: the first part of the names of its constants.
        codes: int8, or uint8 with the zero point 128; in the shape of the weight.
        scale: float32 [entries of `axis`].
        axis: the axis along which the weight has its scales.
        multiplied: whether products may take the codes; else they are those of a table.
        range: the fixed range of the inputs; None if the range is found at run time, or unknown.
        balance: how the inputs are evened out; the codes then stand for W / factor. None without balancing.
        kept: the rows of W that the balance leaves in float32, [rows, outputs]; None without balancing.
    """

    name: str
    codes: npt.NDArray[np.int8 | np.uint8]
    scale: npt.NDArray[np.float32]
    axis: int
    multiplied: bool
    range: Range | None = None
    balance: Balance | None = None
    kept: npt.NDArray[np.float32] | None = None

    def stored(self, graph: Rewriter) -> ir.Value:
        return graph.constant(f"{self.name}_quantized", self.codes)

    def zero(self, graph: Rewriter) -> list[ir.Value]:
        """The code that stands for 0; empty for signed codes, where 0 stands for 0."""
        return [graph.constant("weight_zero", np.array(ZERO, np.uint8))] if self.codes.dtype == np.uint8 else []

    def zeros(self, graph: Rewriter) -> list[ir.Value]:
        """The code for 0, repeated for each scale as DequantizeLinear takes it; empty for signed codes."""
        if self.codes.dtype != np.uint8:
            return []
        return [graph.constant(f"weight_zeros_{len(self.scale)}", np.full(len(self.scale), ZERO, np.uint8))]

    @property
    def steps(self) -> Floats:
        """The codes minus their zero point."""
        return self.codes.astype(np.float32) - (ZERO if self.codes.dtype == np.uint8 else 0)


def quantized(
    array: npt.NDArray[np.float32], axis: int, multiplied: bool
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantizes a table, or the weight of a layer: the codes in the shape of the array, and the scales [entries of `axis`]."""
    scale = scales.of_layer(array, axis) if multiplied else scales.of_table(array, axis)
    codes = np.clip(np.rint(array / scale), -scales.LEVELS, scales.LEVELS)
    return codes.astype(np.int8), scale.reshape(-1)


@dataclass
class Int8(Store):
    """The scheme for weights in 8 bits.

    Attributes:
        inputs: by the digest of a weight, a sample of its layer's inputs; decides where inputs are balanced.
        ranges: by the digest of a weight, the range of all its layer's inputs; None if ranges are found at run time.
        wants_calibration: whether ranges are fixed beforehand.
        precise: whether the weights of layers have the scale of a table, and are unsigned so that no sum saturates.
    """

    inputs: Mapping[bytes, ActivationSample] = field(default_factory=dict)
    ranges: Mapping[bytes, Range] | None = None
    wants_calibration: bool = False
    precise: bool = False

    def pack(self, weight: Weight, axis: int) -> Codes:
        if weight.digest not in self.packed:
            self.packed[weight.digest] = self.packed_anew(weight, axis)
        found: Codes = self.packed[weight.digest]
        return found

    def packed_anew(self, weight: Weight, axis: int) -> Codes:
        array, seen = weight.array, self.inputs.get(weight.digest)
        alone = all(use.kind is not Kind.ROWS and use.whole for use in weight.uses)
        balance = find_balance(seen, array if axis == 1 else array.T) if seen is not None and alone else None
        kept = None
        if balance is not None:
            kept = (array if axis == 1 else array.T)[balance.rows]
            array = array * (balance.inverse[:, None] if axis == 1 else balance.inverse)
        multiplied = any(use.kind is Kind.PRODUCT and use.axis == axis for use in weight.uses)
        codes, scale = quantized(array, axis, multiplied and not self.precise)
        if self.precise and multiplied:
            codes = (codes + np.int16(ZERO)).astype(np.uint8)
        found = None if self.ranges is None else self.ranges.get(weight.digest)
        return Codes(self.name(weight), codes, scale, axis, multiplied, found, balance, kept)

    @property
    def balanced(self) -> set[str]:
        return {codes.name for codes in self.packed.values() if codes.balance is not None}

    def calibrate(self, ranges: Mapping[bytes, Range]) -> None:
        """Sets the ranges within which inputs are rounded from now on."""
        self.ranges = ranges
        self.packed = {digest: replace(codes, range=ranges.get(digest)) for digest, codes in self.packed.items()}

    def product(self, graph: Rewriter, packed: Codes, use: Use) -> ir.Value | None:
        left = use.node.inputs[0]
        if not packed.multiplied:  # a table of the first graph, and a layer of this one
            return None
        if left is None or (self.ranges is not None and (packed.range is None or moved_rows(use))):
            return None
        given = left
        if packed.balance is not None:
            given = graph.node("Mul", left, graph.constant(f"{packed.name}_factor", packed.balance.factor))
        if self.ranges is None:
            found = self.dynamic(graph, given, packed, use)
        else:
            found = self.static(graph, given, packed, use)
        if packed.balance is None or packed.kept is None:
            return found
        rows = graph.constant(f"{packed.name}_kept_rows", packed.balance.rows)
        alone = graph.node("Gather", left, rows, axis=-1)
        return graph.node("Add", found, graph.node("MatMul", alone, graph.constant(f"{packed.name}_kept", packed.kept)))

    def dynamic(self, graph: Rewriter, left: ir.Value, packed: Codes, use: Use) -> ir.Value:
        codes = packed.stored(graph)
        for step in use.path:
            codes = graph.again(step, codes)
        whole, scale, zero = graph.nodes("DynamicQuantizeLinear", [left], outputs=3)
        summed = graph.node("MatMulInteger", whole, codes, zero, *packed.zero(graph))
        scales = graph.node("Mul", scale, graph.constant(f"{packed.name}_scale", packed.scale))
        return graph.node("Mul", graph.node("Cast", summed, to=ir.DataType.FLOAT), scales)

    def static(self, graph: Rewriter, left: ir.Value, packed: Codes, use: Use) -> ir.Value:
        step, middle = fixed(packed.range or (0.0, 0.0))
        scale = graph.constant(f"{packed.name}_input_scale", np.array(step, np.float32))
        zero = graph.constant(f"{packed.name}_input_zero", np.array(middle, np.uint8))
        given = graph.node("DequantizeLinear", graph.node("QuantizeLinear", left, scale, zero), scale, zero)
        weight = self.plain(graph, packed)
        for move in use.path:
            weight = graph.again(move, weight)
        return graph.node("MatMul", given, weight)

    def rows(self, graph: Rewriter, packed: Codes, node: ir.Node) -> ir.Value:
        column = graph.constant(f"{packed.name}_rows_scale", packed.scale[:, None])
        codes = graph.node("Cast", graph.again(node, packed.stored(graph)), to=ir.DataType.FLOAT)
        if packed.codes.dtype == np.uint8:
            codes = graph.node("Sub", codes, graph.constant("weight_zero_float", np.array(ZERO, np.float32)))
        return graph.node("Mul", codes, graph.again(node, column))

    def plain(self, graph: Rewriter, packed: Codes) -> ir.Value:
        """The values of the codes in float32: the weight W, or W / factor if the weight has a balance."""
        scale = graph.constant(f"{packed.name}_scale", packed.scale)
        return graph.node("DequantizeLinear", packed.stored(graph), scale, *packed.zeros(graph), axis=packed.axis)

    def read(self, graph: Rewriter, packed: Codes) -> ir.Value:
        found = self.plain(graph, packed)
        if packed.balance is None or packed.kept is None:
            return found
        if packed.axis == 0:
            found = graph.node("Transpose", found, perm=(1, 0))
        factor = graph.constant(f"{packed.name}_column", packed.balance.factor[:, None])
        rows = graph.constant(f"{packed.name}_kept_places", packed.balance.rows[:, None])
        kept = graph.constant(f"{packed.name}_kept", packed.kept)
        found = graph.node("ScatterND", graph.node("Mul", found, factor), rows, kept)
        return graph.node("Transpose", found, perm=(1, 0)) if packed.axis == 0 else found

    def stored(self, packed: Codes) -> Floats:
        found = packed.steps * along(packed.scale, packed)
        if packed.balance is None or packed.kept is None:
            return np.asarray(found, dtype=np.float32)
        whole = (found if packed.axis == 1 else found.T) * packed.balance.factor[:, None]
        whole[packed.balance.rows] = packed.kept
        return np.asarray(whole if packed.axis == 1 else whole.T, dtype=np.float32)

    def roundings(self, packed: Codes, given: Floats, kernel: ir.Node | None) -> list[Floats]:
        """Rounds as ONNX's DynamicQuantizeLinear and QuantizeLinear: half to even, within a range that holds 0."""
        del kernel
        balance = packed.balance
        moved = given if balance is None else given * balance.factor
        if packed.range is None:
            low, high = np.float32(min(moved.min(), 0)), np.float32(max(moved.max(), 0))
            step = max(np.float32((high - low) / 255), np.finfo(np.float32).tiny)
            zero = np.clip(np.rint(-low / step), 0, 255)
        else:
            step, zero = fixed(packed.range)
        found = (np.clip(np.rint(moved / step) + zero, 0, 255) - zero) * step
        if balance is not None:
            found = found * balance.inverse
            found[..., balance.rows] = given[..., balance.rows]
        return [np.asarray(found, dtype=np.float32)]

    def apart(self, packed: Codes, array: Floats) -> float:
        if packed.balance is not None:
            rows = (array if packed.axis == 1 else array.T)[packed.balance.rows]
            if packed.kept is None or not np.array_equal(rows, packed.kept):
                return float("inf")  # rows in float32 must equal the weight's rows
            array = array * (packed.balance.inverse[:, None] if packed.axis == 1 else packed.balance.inverse)
        counts = along(packed.scale > SMALLEST_SCALE, packed)
        return float(np.abs(np.where(counts, array / along(packed.scale, packed) - packed.steps, 0)).max())

    @property
    def nearest(self) -> float:
        return 0.5


def fixed(span: Range) -> tuple[np.float32, int]:
    """The step and the zero point of a range that was found beforehand."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    step = max((high - low) / 255, float(np.finfo(np.float32).tiny))
    return np.float32(step), round(-low / step)


def along(scale: npt.NDArray[Any], packed: Codes) -> npt.NDArray[Any]:
    """`scale`, reshaped so that each scale multiplies the codes of its entry of the axis."""
    return scale.reshape([-1 if axis == packed.axis else 1 for axis in range(packed.codes.ndim)])


def scheme(given: BuildInputs, static: bool) -> Int8:
    return Int8(inputs=given.inputs, precise=given.precise, wants_calibration=static)


DYNAMIC = Mode("q8", tolerance=0.2, scheme=partial(scheme, static=False), needs_activations=True)
STATIC = Mode("int8", tolerance=0.3, scheme=partial(scheme, static=True), needs_activations=True)
