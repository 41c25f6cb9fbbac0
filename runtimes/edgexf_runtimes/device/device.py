"""What this device offers: providers, instruction sets, limits, versions.

In: files of the operating system. Out: names and values as text, for `edgexf doctor` and latency reports.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgexf_runtimes.device.distributions import installed_packages, several
from edgexf_runtimes.device.providers import available
from edgexf_runtimes.device.session_options import available_threads, quota

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
# These decide how fast, and how exactly, int8 and fp32 kernels run.
INSTRUCTION_SETS = (
    "avx2",
    "fma",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
PACKAGES = ("edgexf", "numpy", "onnxruntime", "click", "rich", "torch", "onnx", "onnx-ir", "onnxscript", "safetensors")
RUNTIME = ("edgexf", "onnxruntime", "numpy")  # the packages that a session runs
LOADED = {"onnxruntime": ort.__version__}  # the package may have another name, such as onnxruntime-gpu
DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx_int8"}  # products of bytes, added in 32 bits
X86 = ("x86_64", "AMD64", "i386", "i686")
UNKNOWN = "unknown"


def cpu_info(*fields: str) -> str:
    """The first value that the kernel reports for a CPU under one of the names `fields`, or an empty string."""
    if not CPU_INFO.is_file():
        return ""
    for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in fields:
            return value.strip()
    return ""


def flags() -> set[str]:
    """The processor's features, by the kernel's names. Empty if the kernel reports none."""
    return set(cpu_info("flags", "Features").split())


def processor() -> dict[str, Any]:
    """The processor by its name and the instruction sets that its kernels are chosen by."""
    known = flags()
    return {
        "name": cpu_info("model name", "Model"),
        "instruction sets": [name for name in INSTRUCTION_SETS if name in known],
    }


def saturates() -> bool:
    """Whether sums of products of unsigned and signed bytes may overflow on this processor.

    They may on an x86 processor without VNNI or AMX: its AVX2 and AVX-512 instructions add pairs of products in 16
    bits. An x86 processor that does not report its features counts as one of these.
    """
    return platform.machine() in X86 and not flags() & DOT_PRODUCTS


def memory_limit() -> str:
    """The control group's memory limit in GiB, ``none`` without a limit, or ``unknown``."""
    for path in MEMORY_LIMITS:
        if path.is_file():
            text = path.read_text(encoding="ascii").strip()
            return f"{int(text) / 2**30:.1f} GiB" if text.isdigit() and int(text) < 1 << 60 else "none"
    return UNKNOWN


def installed(package: str) -> str:
    """The version of a package in this environment."""
    from importlib.metadata import PackageNotFoundError, version  # here, because it imports the package `email`

    try:
        return LOADED.get(package) or version(package)
    except PackageNotFoundError:
        return "not installed"


@cache
def machine() -> str:
    """The device in a line, for a report: its processor with its instruction sets, its system, and versions."""
    facts = describe()
    runtime = ", ".join(f"{package} {installed(package)}" for package in RUNTIME)
    return f"{facts['processor']} ({' '.join(facts['instruction sets'])}), {facts['system']}, {runtime}"


def now() -> str:
    """The date and time in UTC by ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe() -> dict[str, str | list[str]]:
    """The facts about this device by name: one line, or a list of several values."""
    known = flags()
    allowed = quota()
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor": cpu_info("model name", "Model") or platform.processor() or UNKNOWN,
        "instruction sets": [name for name in INSTRUCTION_SETS if name in known] or [UNKNOWN],
        "processors": str(os.cpu_count() or UNKNOWN),
        "cgroup CPU quota": "none" if allowed is None else f"{allowed:g}",
        "cgroup memory limit": memory_limit(),
        "threads used": str(available_threads()),
        "providers": available(),
        "onnxruntime packages": [several()] if several() else list(installed_packages()) or [UNKNOWN],
        "telemetry of onnxruntime": "off" if os.environ.get("ORT_DISABLE_TELEMETRY") == "1" else "on",
        "versions": [f"{package} {installed(package)}" for package in PACKAGES],
    }
