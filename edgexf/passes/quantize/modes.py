"""A quantization mode as a record. `edgexf.dtypes` lists where each mode is defined.

In: the records of `edgexf.dtypes`. Out: a `Mode` for each name, from the file of its scheme or conversion.
`edgexf.passes.quantize.builder` makes the files of a mode.
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
        inputs: by the digest of a weight, a sample of what its layers multiply.
        calibration: opens a stream of inputs of the model; None without calibration data.
        method: how ranges are found in this stream; see `edgexf.passes.quantize.calibrate`.
        precise: weights in 8 bits have the finest scale, at the price of time; see `edgexf.passes.quantize.int8`.
    """

    inputs: Mapping[bytes, ActivationSample] = field(default_factory=dict)
    calibration: Callable[[], Iterable[Feeds]] | None = None
    method: str = "minmax"
    precise: bool = False


@dataclass(frozen=True)
class Mode:
    """A way to quantize.

    Attributes:
        dtype: the name of the dtype that the mode makes; see `edgexf.dtypes`.
        tolerance: the largest relative difference from fp32, of any output at any token, at which a graph counts as the
            same model. The cost in answers is measured.
        scheme: creates the scheme that stores weights in fewer bits; None if the mode only converts whole graphs.
        convert: converts a whole graph after the scheme; None if the mode does not convert.
        emulated: converts a graph so that it gives a device's values on a CPU that does not have the dtype.
        needs_activations: the scheme needs a sample of what layers multiply.
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
