"""A way to quantize a bundle, as a record; `edgexf.dtypes` lists where each of them is defined.

In: the name of a quantization mode. Out: its `Mode`, from the file of its scheme or conversion. `edgexf.passes.quantize.builder`
makes the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgexf.dtypes import DTYPES, dtype_named
from edgexf.passes.quantize.balance import ActivationSample
from edgexf.passes.quantize.walk import Scheme

Feeds = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class BuildInputs:
    """What a build may use.

    Attributes:
        inputs: by a weight's digest, a sample of what its layers multiply.
        calibration: opens a stream of inputs of the model; None where there is no data.
        method: how ranges are found in that stream; see `edgexf.passes.quantize.calibrate`.
        unsigned: products must not saturate on a processor without dot products of bytes.
    """

    inputs: Mapping[bytes, ActivationSample] = field(default_factory=dict)
    calibration: Callable[[], Iterable[Feeds]] | None = None
    method: str = "minmax"
    unsigned: bool = False


@dataclass(frozen=True)
class Mode:
    """A way to quantize.

    Attributes:
        dtype: the name of the dtype that it makes; see `edgexf.dtypes`.
        tolerance: the largest relative difference from fp32, of any output at any token, at which a graph counts as the
            same model. What that costs in answers is measured.
        scheme: makes what stores weights in fewer bits; None where no weight is treated by itself.
        convert: what is done to a whole graph afterwards.
        emulated: makes of a graph one that gives a device's values on a CPU that has no such numbers.
        needs_activations: the scheme looks at a sample of what layers multiply.
    """

    dtype: str
    tolerance: float
    scheme: Callable[[BuildInputs], Scheme] | None = None
    convert: Callable[[ir.Model], ir.Model] | None = None
    emulated: Callable[[ir.Model], ir.Model] | None = None
    needs_activations: bool = False

    @property
    def name(self) -> str:
        return dtype_named(self.dtype).mode

    @property
    def needs_calibration(self) -> bool:
        """Whether the scheme needs data to find its ranges beforehand."""
        return self.scheme is not None and self.scheme(BuildInputs()).wants_calibration


def modes() -> dict[str, Mode]:
    """All modes by name, in the order of `edgexf.dtypes`."""
    found = {}
    for dtype in DTYPES:
        if dtype.mode:
            module, _, name = dtype.recipe.partition(":")
            found[dtype.mode] = getattr(import_module(module), name)
    return found
