"""The dtypes of the graphs in a bundle: a record for each, in the order of every listing. Standard library only.

A record says how the files of a dtype are named, which quantization mode makes them, and which devices prefer them. A
new mode needs a file in `edgexf/passes/quantize` that defines its `Mode`, and a record here. The command line, the
runtime, the report, the browser configuration and the tests read this list.

File suffixes follow the Hugging Face hub and transformers.js.
"""

from __future__ import annotations

from edgexf.records import Record


class Dtype(Record):
    """A dtype of graphs.

    Attributes:
        name: the name in the manifest and in `--dtype`.
        suffix: the part of a file name between the stem and the extension.
        mode: the quantization mode that makes the dtype; empty for the dtype that an export writes.
        recipe: ``module:NAME`` of the `Mode` (see `edgexf.passes.quantize.modes`) that makes the dtype.
        integer_products: whether matrix products use whole numbers. Sums of files of an older edgexf may saturate on a
            processor without dot products of bytes.
        batch_dependent: whether rows of a batch depend on each other, because one run rounds the activations of all its
            rows within one range.
        automatic: whether ``auto`` tries the mode.
        cpu, gpu, wasm, webgpu: the rank of the dtype on such a device, 1 = first choice; 0: taken only by name.
        measured_as: a sentence for the report, for a dtype that a CPU can't compute with: how its trial was measured.
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
IN_FLOAT16 = "each value was rounded to float16 as a GPU rounds it, with sums within an operator in float32; times are this CPU's"
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
        "fp16", suffix="_fp16", mode="fp16", recipe="edgexf.passes.quantize.half:FP16", gpu=1, webgpu=2,
        measured_as=IN_FLOAT16,
    ),
    Dtype(
        "q4f16", suffix="_q4f16", mode="q4f16", recipe="edgexf.passes.quantize.q4f16:Q4F16", webgpu=1,
        measured_as=IN_FLOAT16,
    ),
)  # fmt: skip
NAMES = tuple(dtype.name for dtype in DTYPES)
CALIBRATIONS = ("minmax", "percentile", "entropy")  # how static quantization finds the ranges of values
MODES = tuple(dtype.mode for dtype in DTYPES if dtype.mode)
DEVICES = ("cpu", "gpu", "wasm", "webgpu")


def dtype_named(name: str) -> Dtype:
    """The record of the dtype `name`. KeyError for an unknown name; a manifest refuses one."""
    return {dtype.name: dtype for dtype in DTYPES}[name]


def preferred(device: str) -> list[str]:
    """The names of the dtypes that a device (one of `DEVICES`) prefers to fp32, best first."""
    chosen = [(getattr(dtype, device), dtype.name) for dtype in DTYPES]
    return [name for place, name in sorted(chosen) if place > 0]


def in_dtype(path: str, dtype: str) -> str:
    """The path of a graph in `dtype`, made from the `path` of the same graph in fp32."""
    stem, _, kind = path.rpartition(".")
    return f"{stem}{dtype_named(dtype).suffix}.{kind}"
