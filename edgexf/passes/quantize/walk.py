"""Store weights in fewer bits, and compute with them: one walk over a graph, and a `Scheme` for each way of storing.

    before  W float32 -> MatMul(x, W) -> ...            reverse pass: W -> Transpose -> MatMul(g, .)
    after   W stored  -> product of `Scheme` (x, W)     reverse pass: W stored -> float32 -> Transpose -> MatMul(g, .)

Two alternatives were weighed. `onnxruntime.quantization.quantize_dynamic` transposes a Gemm's weight in place, which
corrupts a graph that reads it twice; it leaves the reverse pass and sliced projections in float32, so a graph that
explains grows; and its tables have one range for all rows. Repairing its answers node by node would have been as long as
this walk. Rewriting the exporter's program before it is translated would quantize in torch, which a device has not.
So the walk is ours; calibration, 4-bit codes and half precision are onnxruntime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgexf.passes.linear import swapped
from edgexf.passes.quantize.weights import Kind, Use, Weight, find
from edgexf.passes.rewriter import Rewriter

Floats = npt.NDArray[np.float32]
Range = tuple[float, float]


@dataclass
class Store:
    """What a scheme has packed, by digest: a weight that several graphs share is packed once, under one name."""

    packed: dict[bytes, Any] = field(default_factory=dict)
    names: dict[str, bytes] = field(default_factory=dict)
    unsigned: bool = False
    wants_calibration: bool = False

    @property
    def balanced(self) -> set[str]:
        return set()

    def calibrate(self, ranges: Mapping[bytes, Range]) -> None:
        """ValueError: a scheme that wants no calibration takes no ranges."""
        raise ValueError(f"{type(self).__name__} finds no ranges beforehand, got {len(ranges)}")

    def name(self, weight: Weight) -> str:
        """The weight's name, or one of its own where another graph calls another weight so."""
        free = self.names.setdefault(weight.name, weight.digest) == weight.digest
        return weight.name if free else f"{weight.name}_{weight.digest.hex()[:8]}"


class Scheme(Protocol):
    """A way to store weights. A method gives None where it has no way to compute that; the weight is then read.

    Attributes:
        packed: the stored forms by the digest of the weight.
        unsigned: products are those that can't saturate on a processor without dot products of bytes.
        wants_calibration: the ranges of what layers multiply are fixed beforehand, by `calibrate`.
        balanced: the names of the weights whose inputs are balanced; see `edgexf.passes.quantize.balance`.
    """

    packed: dict[bytes, Any]
    unsigned: bool
    wants_calibration: bool

    @property
    def balanced(self) -> set[str]: ...

    def calibrate(self, ranges: Mapping[bytes, Range]) -> None:
        """Takes the range of what each weight multiplies, by the digest of the weight."""

    def pack(self, weight: Weight, axis: int) -> Any:
        """The stored form, with scales along `axis`; a sentence that says why there is none."""

    def product(self, graph: Rewriter, packed: Any, use: Use) -> ir.Value | None:
        """x W [..., outputs], for a use whose scales lie along the outputs."""

    def rows(self, graph: Rewriter, packed: Any, node: ir.Node) -> ir.Value | None:
        """What `node` picks of a table."""

    def read(self, graph: Rewriter, packed: Any) -> ir.Value:
        """The weight in float32, in its own shape."""

    def stored(self, packed: Any) -> Floats:
        """What the stored numbers stand for, in the weight's shape; computed from the format's definition."""

    def roundings(self, packed: Any, given: Floats, kernel: ir.Node | None) -> Sequence[Floats]:
        """What a product may take of its input, float32 of the same shape; several where that is the kernel's own affair."""

    def apart(self, packed: Any, array: Floats) -> float:
        """The largest distance of a stored number from the weight's, in steps of its scale."""

    @property
    def nearest(self) -> float:
        """The most that the format's rounding leaves, in steps."""


@dataclass(frozen=True)
class Entry:
    """What became of a weight in a graph: how many products compute with stored numbers, how many uses read them."""

    name: str
    digest: bytes
    shape: tuple[int, ...]
    products: int = 0
    rows: int = 0
    reads: int = 0
    skipped: str = ""


@dataclass(frozen=True)
class Replaced:
    """A use of the weight `array`: what the graph multiplies or which rows it picks, `given`, and the value that is the
    `answer` now. A product is by the weight as it stands or `turned`, or by the first rows of that. `given` is None for uses
    of other kinds.
    """

    digest: bytes
    array: Floats
    packed: Any
    kind: Kind
    given: ir.Value | None
    turned: bool
    answer: ir.Value


@dataclass
class QuantizeWeights(ir.passes.InPlacePass):
    """Quantizes every weight of a graph but those to `keep`, by digest, each with the reason.

    `axes` remembers by digest along which axis a weight has its scales, so that all graphs of a bundle that share it
    store the same bytes. The predict graph, which comes `first`, decides; a weight that only a later graph has may be
    one of a reverse pass, so it is read and nothing else. `entries` says what was done, `replaced` by what.
    """

    scheme: Scheme
    keep: Mapping[bytes, str] = field(default_factory=dict)
    axes: dict[bytes, int] = field(default_factory=dict)
    first: bool = True
    entries: list[Entry] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    done: list[tuple[Weight, Any, Kind, Use, ir.Value]] = field(default_factory=list)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = Rewriter(model)
        weights, skipped = find(model.graph)
        self.entries = [
            Entry(name, b"", tuple(model.graph.initializers[name].const_value.shape.numpy()), skipped=reason)  # type: ignore[union-attr]
            for name, reason in skipped.items()
        ]
        for weight in weights:
            self.entries.append(self.replace(graph, weight))
        self.replaced = [  # now, when what a node takes has been replaced too, and the node is still there
            Replaced(weight.digest, weight.array, packed, kind, taken(kind, use), turned(use), answer)
            for weight, packed, kind, use, answer in self.done
        ]
        tidy(model)
        return ir.passes.PassResult(model, modified=bool(weights))

    def replace(self, graph: Rewriter, weight: Weight) -> Entry:
        shape = tuple(weight.array.shape)
        known = self.first or weight.digest in self.axes
        axis = self.axes.setdefault(weight.digest, weight.axis) if known else weight.axis
        reason = self.keep.get(weight.digest, "")
        packed = reason or self.scheme.pack(weight, axis)
        if isinstance(packed, str):
            return Entry(weight.name, weight.digest, shape, skipped=packed)
        done = dict.fromkeys(Kind, 0)
        for use in weight.uses:
            kind, answer = self.replace_use(graph, packed, use, axis if known else None)
            done[kind] += 1
            self.done.append((weight, packed, kind, use, answer))
        return Entry(
            weight.name, weight.digest, shape, products=done[Kind.PRODUCT], rows=done[Kind.ROWS], reads=done[Kind.READ]
        )

    def replace_use(self, graph: Rewriter, packed: Any, use: Use, axis: int | None) -> tuple[Kind, ir.Value]:
        """What was done in the end: a product whose scales lie along the sum is a read, and so is all without an `axis`."""
        value = None
        if axis is not None and use.kind is Kind.PRODUCT and use.axis == axis:
            value = self.scheme.product(graph, packed, use)
        elif axis is not None and use.kind is Kind.ROWS and use.axis == axis:
            value = self.scheme.rows(graph, packed, use.node)
        if value is not None:
            graph.instead(use.node, value)
            return use.kind, value
        first, index = (use.path[0], 0) if use.path else (use.node, use.index)
        value = self.scheme.read(graph, packed)
        first.replace_input_with(index, value)
        return Kind.READ, value


def taken(kind: Kind, use: Use) -> ir.Value | None:
    """What a use takes besides the weight: the input of a product, the numbers of the rows that a Gather picks."""
    if kind is Kind.PRODUCT and all(step.op_type != "Slice" or begins(step) for step in use.path):
        return use.node.inputs[0]
    return use.node.inputs[1] if kind is Kind.ROWS and use.node.op_type == "Gather" else None


def begins(node: ir.Node) -> bool:
    """Whether a Slice takes the first rows."""
    start = node.inputs[1]
    return start is not None and start.const_value is not None and start.const_value.numpy().tolist() == [0]


def moved_rows(use: Use) -> bool:
    """Whether only some rows of the weight are multiplied: no kernel takes those in whole numbers with a fixed range."""
    return any(not swapped(step) for step in use.path)


def turned(use: Use) -> bool:
    return sum(map(swapped, use.path)) % 2 == 1


def tidy(model: ir.Model) -> None:
    """In place: what is read no more goes, and nodes stand in order again."""
    ir.passes.Sequential(common.RemoveUnusedNodesPass(), common.TopologicalSortPass())(model)
