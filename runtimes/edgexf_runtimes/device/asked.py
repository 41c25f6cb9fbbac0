"""The execution providers by their short names, and what a caller asked for.

In: the argument `providers` of `edgexf.load`. Out: `Asked` values, each a record of the table with its options.

    "cuda"                                      one provider
    ("cuda", {"device_id": 1})                  with options of ONNX Runtime
    [("tensorrt", {...}), "cuda", "cpu"]        the first one that can runs a node

A provider is built into an onnxruntime package, or it is a plugin library in a package of its own. A further one is a
record in `TABLE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from edgexf.errors import UsageError, quoted
from edgexf.records import Record

Wanted = str | tuple[str, Mapping[str, Any]]


class Provider(Record):
    """An execution provider of ONNX Runtime.

    Attributes:
        name: the name that callers use.
        ort: the name in ONNX Runtime.
        package: the package that has it built in, or holds its plugin library.
        also: other names for callers.
        plugin: the Python module of the plugin library; empty for a provider that is only built in.
        device: whose preferred dtypes it takes, one of `edgexf.dtypes.DEVICES`; empty for fp32 alone.
        sizes_on_cpu: whether ONNX Runtime keeps the nodes that compute sizes on the CPU on purpose, because a provider with
            its own memory would wait for them.
        nvml: whether NVML counts the energy of its GPU, which the option ``device_id`` numbers.
        options, plugin_options: options that a caller may change, where ONNX Runtime's own default doesn't suit, for the
            provider that is built in and for the plugin library. ``{threads}`` stands for the number of threads.
        shapes: the options that take the least, usual and largest shapes of the inputs, with a place for ``min``, ``opt``
            and ``max``; empty for a provider that needs none.
    """

    name: str
    ort: str
    package: str
    also: tuple[str, ...] = ()
    plugin: str = ""
    device: str = ""
    sizes_on_cpu: bool = False
    nvml: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    plugin_options: Mapping[str, str] = field(default_factory=dict)
    shapes: str = ""


TABLE = (
    Provider("cpu", "CPUExecutionProvider", "onnxruntime", device="cpu"),
    Provider(
        "cuda", "CUDAExecutionProvider", "onnxruntime-gpu", device="gpu", sizes_on_cpu=True, nvml=True,
        # TF32 keeps 10 bits of a float32 in matrix products, a thousand times the error of the graphs. An exhaustive search
        # for a convolution runs all of them again at each new shape.
        options={"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    ),
    Provider(
        "tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu", device="gpu", sizes_on_cpu=True, nvml=True,
        shapes="trt_profile_{}_shapes",
    ),
    Provider(
        "nv-tensorrt-rtx", "NvTensorRTRTXExecutionProvider", "onnxruntime-ep-nv-tensorrt-rtx",
        plugin="onnxruntime_ep_nv_tensorrt_rtx", device="gpu", sizes_on_cpu=True, nvml=True, shapes="nv_profile_{}_shapes",
    ),
    Provider(
        "openvino", "OpenVINOExecutionProvider", "onnxruntime-openvino or onnxruntime-ep-openvino",
        plugin="onnxruntime_ep_openvino",
        # The plugin library computes in bfloat16 on processors that can (2e-2 of the outputs), a GPU in float16.
        options={"precision": "ACCURACY", "num_of_threads": "{threads}"},
        plugin_options={
            "load_config": '{"CPU": {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_NUM_THREADS": "{threads}"}, '
            '"GPU": {"EXECUTION_MODE_HINT": "ACCURACY"}}'
        },
    ),
    Provider("directml", "DmlExecutionProvider", "onnxruntime-directml", also=("dml",), device="gpu", sizes_on_cpu=True),
    Provider("coreml", "CoreMLExecutionProvider", "onnxruntime"),
    Provider(
        "webgpu", "WebGpuExecutionProvider", "onnxruntime-ep-webgpu", plugin="onnxruntime_ep_webgpu", device="webgpu",
        sizes_on_cpu=True,
    ),
    Provider("qnn", "QNNExecutionProvider", "onnxruntime-qnn", plugin="onnxruntime_qnn"),
    Provider("migraphx", "MIGraphXExecutionProvider", "onnxruntime-migraphx", device="gpu", sizes_on_cpu=True),
    Provider("rocm", "ROCMExecutionProvider", "onnxruntime-rocm", device="gpu", sizes_on_cpu=True),
    Provider("xnnpack", "XnnpackExecutionProvider", "an onnxruntime that was built with it"),
)  # fmt: skip
CPU = TABLE[0]
BY_NAME = {name: provider for provider in TABLE for name in (provider.name, provider.ort, *provider.also)}


class Asked(Record):
    """A provider that a caller named, with options for ONNX Runtime, of text as it takes them."""

    provider: Provider
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.provider.name} ({said})" if said else self.provider.name


def short(ort: str) -> str:
    """The short name of a provider that ONNX Runtime names; its own name if the table does not hold it."""
    return BY_NAME[ort].name if ort in BY_NAME else ort


def asked(providers: Wanted | Sequence[Wanted]) -> tuple[Asked, ...]:
    """What a caller asked for, in order. Raises UsageError for anything but known names with options."""
    single = isinstance(providers, str) or (
        isinstance(providers, tuple) and len(providers) == 2 and isinstance(providers[1], Mapping)
    )
    if not single and (not isinstance(providers, list | tuple) or not providers):
        raise wrong(providers)
    found = tuple(one(wanted) for wanted in ([providers] if single else providers))
    names = [each.provider.name for each in found]
    if len(set(names)) < len(names):
        raise UsageError(f"providers must name each one once, got {', '.join(names)}; leave the repeated one out.")
    return found


def one(wanted: Any) -> Asked:
    name, options = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (wanted, {})
    if not isinstance(name, str) or name not in BY_NAME or not isinstance(options, Mapping):
        raise wrong(wanted)
    if not all(isinstance(key, str) and is_plain(key) and is_plain(value) for key, value in options.items()):
        raise UsageError(
            f"options of a provider must be texts and numbers by name, got {quoted(dict(options))} for {name}; see ONNX Runtime's documentation of the provider."
        )
    provider = BY_NAME[name]
    return Asked(provider, {key: str(value) for key, value in options.items()})


def is_plain(value: Any) -> bool:
    """Whether ONNX Runtime can be given a value as text."""
    try:
        str(value).encode()
    except Exception:  # noqa: BLE001 (lone surrogates, a number of 5,000 digits, an object of a caller)
        return False
    return isinstance(value, str | int | float)


def wrong(got: Any) -> UsageError:
    return UsageError(
        f"providers must be among {', '.join(each.name for each in TABLE)}, alone or as (name, options), got {quoted(got)}; "
        "name one of them, or several in a list."
    )
