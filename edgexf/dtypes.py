"""The dtypes of a bundle's graphs: one record for each, in the order in which they are listed. Standard library only.

A record says how files of a dtype are called, which quantization mode makes them, and which devices prefer them. A new
mode is a file in `edgexf/passes/quantize` that defines its `Mode`, and a record here; command line, runtime, report and
browser configuration read this list.

File suffixes are those of the Hugging Face hub and of transformers.js.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dtype:
    """A dtype of graphs.

    Attributes:
        name: what the manifest and `--dtype` call it.
        suffix: of the files, between the stem and the ending.
        mode: the quantization mode that makes it; empty for the dtype of an export.
        recipe: ``module:NAME`` of the `Mode` of `edgexf.passes.quantize.modes` that says how.
        integer_products: products are of whole numbers, which may saturate on a processor without dot products of bytes.
        batch_dependent: a run rounds activations within one range for all of its rows, so rows depend on each other.
        automatic: ``auto`` tries the mode.
        cpu, gpu, wasm, webgpu: the place in the order of preference on such a device, 1 first; 0: never taken unasked.
        measured_as: how the trial of a dtype was measured where a CPU has no such numbers; a sentence of the report.
    """

    name: str
    suffix: str
    mode: str = ""
    recipe: str = ""
    integer_products: bool = False
    batch_dependent: bool = False
    automatic: bool = False
    cpu: int = 0
    gpu: int = 0
    wasm: int = 0
    webgpu: int = 0
    measured_as: str = ""


FP32 = "fp32"
DTYPES = (
    Dtype(FP32, suffix=""),
    Dtype(
        "q8", suffix="_quantized", mode="int8", recipe="edgexf.passes.quantize.int8:DYNAMIC",
        integer_products=True, batch_dependent=True, automatic=True, cpu=1, wasm=1,
    ),
    Dtype(
        "int8", suffix="_int8", mode="int8-static", recipe="edgexf.passes.quantize.int8:STATIC",
        integer_products=True, automatic=True, cpu=2,
    ),
    Dtype("q4", suffix="_q4", mode="q4", recipe="edgexf.passes.quantize.blockwise:Q4", automatic=True, cpu=3),
    Dtype(
        "fp16", suffix="_fp16", mode="fp16", recipe="edgexf.passes.quantize.half:FP16", gpu=1, webgpu=1,
        measured_as="each value was rounded to float16 as a GPU rounds it, with sums within an operator in float32; times are this CPU's",
    ),
)  # fmt: skip
NAMES = tuple(dtype.name for dtype in DTYPES)
MODES = tuple(dtype.mode for dtype in DTYPES if dtype.mode)
DEVICES = ("cpu", "gpu", "wasm", "webgpu")


def dtype_named(name: str) -> Dtype:
    """The record of a name. KeyError for an unknown one, which a manifest does not hold."""
    return {dtype.name: dtype for dtype in DTYPES}[name]


def preferred(device: str) -> list[str]:
    """The names of the dtypes that a device of `DEVICES` takes before fp32, best first."""
    chosen = [(getattr(dtype, device), dtype.name) for dtype in DTYPES]
    return [name for place, name in sorted(chosen) if place > 0]


def in_dtype(path: str, dtype: str) -> str:
    """The path of a graph of fp32 in another dtype."""
    stem, _, kind = path.rpartition(".")
    return f"{stem}{dtype_named(dtype).suffix}.{kind}"
