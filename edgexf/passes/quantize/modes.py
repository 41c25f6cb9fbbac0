"""The ways to quantize a bundle: one record each, from fp32 graphs to the files of a dtype.

In: the fp32 graphs of a bundle by their path, the predict graph first. Out: `Built`: the files, and what became of each
weight. A new way is a `Scheme` or a conversion, and a line in `MODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from edgexf import names
from edgexf.passes.linear import GemmToMatMul
from edgexf.passes.quantize.balance import ActivationSample
from edgexf.passes.quantize.blockwise import Blockwise
from edgexf.passes.quantize.calibrate import Feeds, calibrate
from edgexf.passes.quantize.half import as_on_a_device, to_half
from edgexf.passes.quantize.int8 import Int8
from edgexf.passes.quantize.layer_check import Check, check
from edgexf.passes.quantize.walk import Entry, QuantizeWeights, Scheme
from edgexf.passes.quantize.weights import Weight, find
from edgexf.passes.share import share_weights
from edgexf.passes.tidy import DropTraces

Models = Callable[[], dict[str, ir.Model]]


@dataclass(frozen=True)
class BuildInputs:
    """What a build may use: `inputs` are what layers were seen to multiply, `calibration` opens a stream of inputs, `unsigned`
    avoids products that saturate on this processor.
    """

    inputs: Mapping[bytes, ActivationSample] = field(default_factory=dict)
    calibration: Callable[[], Iterable[Feeds]] | None = None
    method: str = "minmax"
    unsigned: bool = False


@dataclass(frozen=True)
class Mode:
    """A way to quantize. `tolerance` is the largest relative difference from fp32 of any output at any token, at which a graph
    counts as the same model; what that costs in answers is measured. `watches`: it looks at what layers multiply;
    `calibrated`: it needs data. `emulated` makes of a graph one that gives a device's values on a CPU that has no such numbers.
    """

    name: str
    dtype: str
    tolerance: float
    scheme: Callable[[BuildInputs], Scheme] | None
    needs_activations: bool = False
    calibrated: bool = False
    emulated: Callable[[ir.Model], ir.Model] | None = None


MODES = (
    Mode("int8", "q8", 0.2, lambda given: Int8(unsigned=given.unsigned, inputs=given.inputs), needs_activations=True),
    Mode("int8-static", "int8", 0.3, lambda given: Int8(unsigned=given.unsigned, inputs=given.inputs), needs_activations=True, calibrated=True),
    Mode("q4", "q4", 0.5, lambda _: Blockwise()),
    Mode("fp16", "fp16", 0.1, None, emulated=as_on_a_device),
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """`files` by path; `entries` of the predict graph's weights; `emulated` at the same paths, where a mode has such graphs;
    the weights that were `kept` in float32 by digest, with the reason.
    """

    files: dict[str, bytes]
    entries: tuple[Entry, ...] = ()
    kept: Mapping[bytes, str] = field(default_factory=dict)
    emulated: dict[str, bytes] | None = None


class Builder:
    """Builds one mode, again and again with other weights kept in float32: what is stored is computed once."""

    def __init__(self, mode: Mode, models: Models, given: BuildInputs) -> None:
        self.mode = mode
        self.models = models
        self.scheme = None if mode.scheme is None else mode.scheme(given)
        self.axes: dict[bytes, int] = {}
        if mode.calibrated and given.calibration is not None and isinstance(self.scheme, Int8):
            model = predict_graph(models)
            for weight in find(model.graph)[0]:
                self.scheme.pack(weight, self.axes.setdefault(weight.digest, weight.axis))
            ranges = calibrate(model, self.scheme.packed, given.calibration(), given.method)
            self.scheme.calibrated(ranges)

    def weights(self) -> list[Weight]:
        """The weights of the predict graph that can be quantized."""
        return find(predict_graph(self.models).graph)[0]

    def build(self, keep: Mapping[bytes, str] | None = None, only: Collection[str] | None = None) -> Built:
        """The files, `keep` in float32 with the reason; of the graphs at the paths `only`, where that is given."""
        graphs = [(path, model) for path, model in self.models().items() if only is None or path in only]
        made, emulated, entries = {}, {}, []
        for path, model in graphs:
            if self.scheme is None:
                model = to_half(model)
            else:
                GemmToMatMul()(model)
                walk = QuantizeWeights(self.scheme, keep or {}, self.axes, first=path == names.PREDICT_FILE)
                walk(model)
                entries.append(walk.entries)
            own = names.in_dtype(path, self.mode.dtype)
            if self.mode.emulated is not None:
                emulated[own] = self.mode.emulated(model.clone())
            DropTraces()(model)
            model.metadata_props.update({"edgexf.mode": self.mode.name, "edgexf.dtype": self.mode.dtype})
            made[own] = model
        data = names.in_dtype(names.PREDICT_FILE, self.mode.dtype) + "_data"
        return Built(
            share_weights(made, data),
            tuple(entries[0]) if entries else (),
            keep or {},
            share_weights(emulated, data) if emulated else None,
        )

    def checks(self, built: Built, inputs: Iterable[Feeds]) -> dict[bytes, Check]:
        """What each layer of the predict graph computes against its stored numbers, by digest."""
        if self.scheme is None:
            return {}
        model = predict_graph(self.models)
        walk = QuantizeWeights(self.scheme, built.kept, self.axes)
        walk(model)
        DropTraces()(model)
        return check(model, walk.replaced, self.scheme, inputs)


def predict_graph(models: Models) -> ir.Model:
    """The predict graph, its linear layers as products."""
    model = next(iter(models().values()))
    GemmToMatMul()(model)
    return model
