"""Chooses the hardware and the number of threads that run a graph.

In: provider names that users type, and the limits of this process. Out: ONNX Runtime sessions. A session runs on the
provider that was asked for, or fails.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from edgexf.errors import BundleError, UsageError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def quota() -> float | None:
    """The number of CPUs that the control group allows, or None without a limit."""
    if CGROUP_V2.is_file():
        limit, period = CGROUP_V2.read_text().split()[:2]
        return None if limit == "max" else int(limit) / int(period)
    if all(path.is_file() for path in CGROUP_V1):
        limit, period = (path.read_text().strip() for path in CGROUP_V1)
        return None if int(limit) < 0 else int(limit) / int(period)
    return None


def available_threads() -> int:
    """The number of threads worth starting: the CPUs that this process may use, at most the control group's quota
    rounded up.

    ONNX Runtime itself counts the host's CPUs, which starts too many threads in a container.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota()
    return affinity if allowed is None else max(1, min(affinity, math.ceil(allowed)))


def session_options(threads: int | None) -> ort.SessionOptions:
    most = 4 * (os.cpu_count() or 1)
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
        raise UsageError(
            f"threads must be 1 to {most} on this machine, got {threads!r}; leave it out to use what this process may use."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_threads()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # a pattern keeps a second block of a run's whole memory, for each shape
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads drain the battery
    return options


def create(path: Path, providers: Sequence[str], threads: int | None) -> ort.InferenceSession:
    """Opens a session of the graph at `path` on the first of `providers`.

    Raises UsageError for an unknown or missing provider, and BundleError for a graph that ONNX Runtime refuses.
    """
    wanted = [PROVIDERS.get(name, name) for name in providers]
    missing = [name for name in wanted if name not in ort.get_available_providers()]
    if missing or not wanted:
        raise UsageError(
            f"providers must be among those of this onnxruntime ({', '.join(ort.get_available_providers())}), "
            f"got {', '.join(providers) or 'none'}; install the onnxruntime package that has it."
        )
    options = session_options(threads)
    if PROVIDERS["cpu"] not in wanted:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # run on that provider or fail
    try:
        session = ort.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # the binding raises its C++ status types, which share no base class
        raise BundleError(
            f"{path.name} must be a graph that this onnxruntime {ort.__version__} can load, got: {error}."
        ) from error
    if session.get_providers()[0] != wanted[0]:
        raise UsageError(
            f"a graph must run on the provider that was asked for, got {session.get_providers()[0]} for {wanted[0]}; "
            "check its driver, or ask for cpu."
        )
    return session
