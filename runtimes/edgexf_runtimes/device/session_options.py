"""The settings of an ONNX Runtime session: threads, spinning, memory.

In: a number of threads, or none, and the limits of this process. Out: `onnxruntime.SessionOptions`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import onnxruntime as ort

from edgexf.errors import UsageError

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
    processors = os.cpu_count() or 1
    most = 4 * processors
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
        raise UsageError(
            f"threads must be 1 to {most}, at most 4 for each of this machine's {processors} processors, got {threads!r}; leave it out to use the {available_threads()} that this process may use."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_threads()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # a pattern keeps a second block of a run's whole memory, for each shape
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads drain the battery
    return options
