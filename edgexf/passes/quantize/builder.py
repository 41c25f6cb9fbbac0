"""Build the files of a quantization mode from the fp32 graphs of a bundle.

In: the fp32 graphs by their path, with the predict graph first; a `Mode`; `BuildInputs`; graphs of candidates. Out: `Built`, which holds the
files and what became of each weight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from edgexf import names
from edgexf.dtypes import in_dtype
from edgexf.passes.late_reads import ReadWeightsLate
from edgexf.passes.linear import GemmToMatMul
from edgexf.passes.modules import KeepModules, modules_of
from edgexf.passes.quantize.calibrate import calibrate
from edgexf.passes.quantize.flatten import FlattenWeights
from edgexf.passes.quantize.layer_check import Check, check
from edgexf.passes.quantize.modes import BuildInputs, Feeds, Mode
from edgexf.passes.quantize.walk import Entry, QuantizeWeights
from edgexf.passes.quantize.weights import Weight, find
from edgexf.passes.share import share_weights
from edgexf.passes.tidy import DropTraces

Models = Callable[[], dict[str, ir.Model]]


@dataclass(frozen=True)
class Built:
    """The files of a mode.

    Attributes:
        files: the bytes of each file by its path.
        entries: what became of each weight of the predict graph.
        kept: the reason for each weight that was not quantized, by digest.
        emulated: the files of the graphs that emulate a device, at the same paths; None if the mode has no such graphs.
        modules: the path of the module that each node comes from, by its name, by the path of its graph.
    """

    files: dict[str, bytes]
    entries: tuple[Entry, ...] = ()
    kept: Mapping[bytes, str] = field(default_factory=dict)
    emulated: dict[str, bytes] | None = None
    modules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def compared(self) -> dict[str, bytes]:
        """The files whose answers are compared with fp32: those that emulate a device, if the mode has such graphs."""
        return self.files if self.emulated is None else self.emulated


class Builder:
    """Builds one mode. Each build may leave other weights out; the stored form of a weight is computed once."""

    def __init__(self, mode: Mode, models: Models, given: BuildInputs, further: Models = dict) -> None:
        self.mode = mode
        self.models, self.further = models, further
        self.scheme = None if mode.scheme is None else mode.scheme(given)
        self.axes: dict[bytes, int] = {}
        if self.scheme is not None and self.scheme.wants_calibration and given.calibration is not None:
            model = predict_graph(models)
            for weight in find(model.graph)[0]:
                self.scheme.pack(weight, self.axes.setdefault(weight.digest, weight.axis))
            self.scheme.calibrate(calibrate(model, self.scheme.packed, given.calibration(), given.method))

    @property
    def takes_candidates(self) -> bool:
        """Whether there are graphs of candidates that the mode can quantize: a conversion of whole graphs knows no branches."""
        return self.mode.convert is None and self.mode.emulated is None and bool(self.further())

    def weights(self) -> list[Weight]:
        """The weights of the predict graph that can be quantized."""
        return find(predict_graph(self.models).graph)[0]

    def build(
        self, keep: Mapping[bytes, str] | None = None, only: Collection[str] | None = None, further: bool = False
    ) -> Built:
        """Builds the files.

        `keep` says by digest why a weight is not quantized. `only` limits the build to the graphs at these paths. With
        `further`, the graphs of candidates are built too.
        """
        every = {**self.models(), **(self.further() if further else {})}
        graphs = [(path, model) for path, model in every.items() if only is None or path in only]
        made, emulated, entries, modules = {}, {}, [], {}
        flat: set[bytes] = set()
        for path, model in graphs:
            if self.scheme is not None:
                GemmToMatMul()(model)
                FlattenWeights(flat, first=path == names.PREDICT_FILE)(model)
                walk = QuantizeWeights(self.scheme, keep or {}, self.axes, first=path == names.PREDICT_FILE)
                walk(model)
                entries.append(walk.entries)
            if self.mode.convert is not None:
                model = self.mode.convert(model)
            own = in_dtype(path, self.mode.dtype)
            if self.mode.emulated is not None:
                emulated[own] = self.mode.emulated(model.clone())
            ReadWeightsLate()(model)
            DropTraces()(KeepModules()(model).model)
            modules[own] = modules_of(model)
            model.metadata_props.update({"edgexf.mode": self.mode.name, "edgexf.dtype": self.mode.dtype})
            made[own] = model
        data = in_dtype(names.PREDICT_FILE, self.mode.dtype) + "_data"
        return Built(
            share_weights(made, data),
            tuple(entries[0]) if entries else (),
            keep or {},
            share_weights(emulated, data) if emulated else None,
            modules,
        )

    def checks(self, built: Built, inputs: Iterable[Feeds]) -> dict[bytes, Check]:
        """Compares what each layer of the predict graph computes with its stored numbers, by digest."""
        if self.scheme is None:
            return {}
        model = predict_graph(self.models)
        walk = QuantizeWeights(self.scheme, built.kept, self.axes)
        walk(model)
        DropTraces()(model)
        return check(model, walk.replaced, self.scheme, inputs)


def predict_graph(models: Models) -> ir.Model:
    """The predict graph with its linear layers as products, and its weights as matrices."""
    model = next(iter(models().values()))
    GemmToMatMul()(model)
    FlattenWeights()(model)
    return model
