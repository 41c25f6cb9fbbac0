"""Store weights in fewer bits, and compute with them: one walk over a graph, and a `Scheme` for each way of storing.

    before  W float32 -> MatMul(x, W) -> ...            reverse pass: W -> Transpose -> MatMul(g, .)
    after   W stored  -> product of `Scheme` (x, W)     reverse pass: W stored -> float32 -> Transpose -> MatMul(g, .)

Two alternatives were weighed. `onnxruntime.quantization.quantize_dynamic` transposes the weight of a Gemm in place,
which corrupts a graph that reads the weight twice. It leaves the reverse pass and sliced projections in float32, so an
explain graph grows. Its tables have one range for all rows. To repair its graphs node by node would take as much code
as this walk. The other alternative was to rewrite the exporter's program before it is translated. That would quantize
in torch, which a device does not have. Therefore edgexf has this walk, and takes calibration, 4-bit codes and half
precision from onnxruntime.
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
from edgexf.passes.modules import place_of
from edgexf.passes.quantize.weights import Kind, Use, Weight, find
from edgexf.passes.rewriter import Rewriter

Floats = npt.NDArray[np.float32]
Range = tuple[float, float]


@dataclass
class Store:
    """What a scheme has packed. A weight that several graphs share is packed once, under one name.

    Attributes:
        packed: the stored forms by the digest of the weight.
        names: the digest of the weight that has each name.
        wants_calibration: see `Scheme`.
    """

    packed: dict[bytes, Any] = field(default_factory=dict)
    names: dict[str, bytes] = field(default_factory=dict)
    wants_calibration: bool = False

    @property
    def balanced(self) -> set[str]:
        return set()

    def calibrate(self, ranges: Mapping[bytes, Range]) -> None:
        """Raises ValueError: a scheme without calibration takes no ranges."""
        raise ValueError(f"{type(self).__name__} finds no ranges beforehand, got {len(ranges)}")

    def name(self, weight: Weight) -> str:
        """The name of a weight, with a part of its digest if another graph has another weight of this name."""
        free = self.names.setdefault(weight.name, weight.digest) == weight.digest
        return weight.name if free else f"{weight.name}_{weight.digest.hex()[:8]}"


class Scheme(Protocol):
    """A way to store weights. A method returns None if it cannot compute a use; the use then reads the whole weight.

    Attributes:
        packed: the stored forms by the digest of the weight.
        wants_calibration: the ranges of what layers multiply are fixed beforehand, by `calibrate`.
        balanced: the names of the weights whose inputs are balanced; see `edgexf.passes.quantize.balance`.
    """

    packed: dict[bytes, Any]
    wants_calibration: bool

    @property
    def balanced(self) -> set[str]: ...

    def calibrate(self, ranges: Mapping[bytes, Range]) -> None:
        """Takes the range of what each weight multiplies, by the digest of the weight."""

    def pack(self, weight: Weight, axis: int) -> Any:
        """The stored form with scales along `axis`, or a sentence that says why the weight has none."""

    def product(self, graph: Rewriter, packed: Any, use: Use) -> ir.Value | None:
        """x W [..., outputs], for a use whose scales lie along the outputs."""

    def rows(self, graph: Rewriter, packed: Any, node: ir.Node) -> ir.Value | None:
        """The rows that `node` picks from a table."""

    def read(self, graph: Rewriter, packed: Any) -> ir.Value:
        """The whole weight in float32."""

    def stored(self, packed: Any) -> Floats:
        """The values of the stored numbers in the weight's shape, computed from the format's definition."""

    def roundings(self, packed: Any, given: Floats, kernel: ir.Node | None) -> Sequence[Floats]:
        """The input as the product may round it, float32 of the same shape; several if the kernel may choose."""

    def apart(self, packed: Any, array: Floats) -> float:
        """The largest distance of a stored number from the weight's number, in steps of its scale."""

    @property
    def nearest(self) -> float:
        """The most that the format's rounding leaves, in steps."""


@dataclass(frozen=True)
class Entry:
    """What became of a weight in a graph.

    Attributes:
        name: the name of its initializer.
        digest: its `edgexf.passes.digest`; empty for an initializer that counts as no weight.
        shape: its shape.
        products: the number of products that compute with its stored numbers.
        rows: the number of lookups that pick from its stored rows.
        reads: the number of uses that read it whole, in float32.
        skipped: why it was not quantized; empty if it was.
    """

    name: str
    digest: bytes
    shape: tuple[int, ...]
    products: int = 0
    rows: int = 0
    reads: int = 0
    skipped: str = ""


@dataclass(frozen=True)
class Replaced:
    """A use of a weight after its replacement.

    Attributes:
        digest: the digest of the weight.
        array: the weight in float32.
        packed: its stored form.
        kind: what the use became.
        given: the input of a product, or the row numbers of a lookup; None for a use that can't be compared.
        turned: whether the product is by the transposed weight, or by the first rows of the transposed weight.
        answer: the value that holds the result now.
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
    """Quantizes every weight of a graph, except those in `keep`.

    Attributes:
        scheme: how weights are stored.
        keep: the weights that are not quantized by digest, with the reason.
        axes: by digest, the axis along which a weight has its scales. All graphs of a bundle that share the weight then
            store the same bytes.
        first: whether this is the predict graph, which decides the axes. A weight that only a later graph has may
            belong to a reverse pass, so it is only read.
        entries: the result: what became of each weight.
        replaced: the result: each use that was replaced, and by what.
        done: the uses that were replaced so far, with their weight, stored form, kind and new value.
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
            Entry(
                name,
                b"",
                tuple(model.graph.initializers[name].const_value.shape.numpy()),  # type: ignore[union-attr]
                skipped=reason,
            )
            for name, reason in skipped.items()
        ]
        for weight in weights:
            self.entries.append(self.replace(graph, weight))
        self.replaced = [  # only now: the inputs of a node are replaced too, and the node is still there
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
            graph.place = place_of(use.node)
            kind, answer = self.replace_use(graph, packed, use, axis if known else None)
            done[kind] += 1
            self.done.append((weight, packed, kind, use, answer))
        return Entry(
            weight.name, weight.digest, shape, products=done[Kind.PRODUCT], rows=done[Kind.ROWS], reads=done[Kind.READ]
        )

    def replace_use(self, graph: Rewriter, packed: Any, use: Use, axis: int | None) -> tuple[Kind, ir.Value]:
        """Replaces a use. Returns what the use became, and its new value.

        A product whose scales lie along the sum becomes a read, and so does every use if `axis` is None.
        """
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
    """What a use takes besides the weight: the input of a product, or the row numbers of a Gather; None for other uses.

    A product by a Slice counts only if the Slice takes the first rows.
    """
    if kind is Kind.PRODUCT and all(step.op_type != "Slice" or begins(step) for step in use.path):
        return use.node.inputs[0]
    return use.node.inputs[1] if kind is Kind.ROWS and use.node.op_type == "Gather" else None


def begins(node: ir.Node) -> bool:
    """Whether a Slice begins at the first row."""
    start = node.inputs[1]
    return start is not None and start.const_value is not None and start.const_value.numpy().tolist() == [0]


def moved_rows(use: Use) -> bool:
    """Whether a product takes the weight sliced or repeated. No integer kernel with a fixed range does."""
    return any(not swapped(step) for step in use.path)


def turned(use: Use) -> bool:
    return sum(map(swapped, use.path)) % 2 == 1


def tidy(model: ir.Model) -> None:
    """Removes nodes that are no longer read, and sorts the others, in place."""
    ir.passes.Sequential(common.RemoveUnusedNodesPass(), common.TopologicalSortPass())(model)
