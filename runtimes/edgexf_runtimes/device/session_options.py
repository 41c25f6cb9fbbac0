"""The settings of an ONNX Runtime session and of its runs: threads, spinning, memory.

In: the settings of a session, and the limits of this process; the size of a run. Out: `onnxruntime.SessionOptions` and
`onnxruntime.RunOptions`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import onnxruntime as ort

from edgexf.checks import is_count
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.device.asked import CPU
from edgexf_runtimes.device.messages import severity
from edgexf_runtimes.device.profiles import Settings

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")

CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

LONG = 2048  # tokens of a row, from which on a run gives its memory back


def quota() -> float | None:
    """The number of CPUs that the control group allows, or None without a limit."""
    if CGROUP_V2.is_file():
        limit, period = CGROUP_V2.read_text(encoding="ascii").split()[:2]
        return None if limit == "max" else int(limit) / int(period)
    if all(path.is_file() for path in CGROUP_V1):
        limit, period = (path.read_text(encoding="ascii").strip() for path in CGROUP_V1)
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


def threads_of(settings: Settings) -> int:
    """The number of threads that work at a time. Raises UsageError for a number that this machine can't use."""
    threads, processors = settings.threads, os.cpu_count() or 1
    most = 4 * processors
    if threads is not None and not (is_count(threads, 1) and threads <= most):
        raise UsageError(
            f"threads must be 1 to {most}, at most 4 for each of this machine's {processors} processors, got {quoted(threads)}; leave it out to use the {available_threads()} that this process may use."
        )
    return threads or available_threads()


def session_options(settings: Settings) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1 if settings.profile.side_by_side else threads_of(settings)
    options.log_severity_level = severity(settings.log_level)
    options.enable_mem_pattern = False  # a pattern keeps a second block of a run's whole memory, for each shape
    spins = "1" if settings.profile.spins else "0"  # spinning threads drain the battery
    options.add_session_config_entry("session.intra_op.allow_spinning", spins)
    return options


def run_options(tokens: int, provider: str) -> ort.RunOptions:
    """The options of a run of rows of so many tokens, on a provider by ONNX Runtime's name.

    After a long run on the CPU its memory is given back. Without that the arena of ONNX Runtime keeps the memory of the
    largest run, and a second long run adds to it, since the parts of the first one do not join. A run of fewer tokens keeps
    its memory: the next one would wait for new pages.
    """
    options = ort.RunOptions()
    if tokens >= LONG and provider == CPU.ort:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
