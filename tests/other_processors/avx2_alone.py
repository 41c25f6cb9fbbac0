"""Runs a command as on a processor with AVX2 alone, without AVX-512, VNNI and AMX.

    python tests/other_processors/avx2_alone.py python -m pytest tests/passes/quantize tests/operators

onnxruntime and torch choose their kernels by the instruction CPUID, and edgexf reads ``/proc/cpuinfo``. In the command both
lack these instruction sets: a preloaded library answers CPUID, and another file lies over ``/proc/cpuinfo`` in a mount
namespace of the command. Its kernels are those of AVX2, at the speed of this processor. Processes that the command starts
are changed too, where they keep the variable LD_PRELOAD.

Needs Linux on an x86-64 processor that can refuse CPUID (``cpuid_fault`` in ``/proc/cpuinfo``, as Intel's can since Ivy
Bridge), a C compiler, and ``unshare``, as root or where users may have namespaces. Two alternatives were weighed. An emulator
such as QEMU runs everywhere, but translates every instruction. The libraries themselves have no setting for this: MLAS has none,
and ATEN_CPU_CAPABILITY changes torch's own kernels alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
CPU_INFO = Path("/proc/cpuinfo")
HIDDEN = re.compile(r" (avx512\w*|avx_vnni\w*|avx_ifma|avx_ne_convert|avx10\w*|amx_\w+)")
PROBE = """
import os
hidden = not {"avx512f", "avx_vnni"} & set(open("/proc/cpuinfo").read().split())
print("changed" if hidden and os.environ.get("EDGEXF_AVX2_ALONE") else "", end="")
"""
MOUNT = 'mount --bind "$0" /proc/cpuinfo && exec env LD_PRELOAD="$1" "${@:2}"'


@contextmanager
def changer() -> Iterator[list[str]]:
    """What stands before a command that is to be changed. Raises RuntimeError where it would not be changed."""
    if sys.platform != "linux" or "cpuid_fault" not in CPU_INFO.read_text(encoding="utf-8"):
        raise RuntimeError("the processor must be able to refuse CPUID (cpuid_fault), got one without; take another.")
    lacking = [name for name in ("cc", "unshare", "bash") if shutil.which(name) is None]
    if lacking:
        raise RuntimeError(f"a C compiler, unshare and bash must be installed, got no {lacking[0]}; install it.")
    with tempfile.TemporaryDirectory() as made:
        library, facts = Path(made, "avx2_alone.so"), Path(made, "cpuinfo")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        facts.write_text(HIDDEN.sub("", CPU_INFO.read_text(encoding="utf-8")), encoding="utf-8")
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        before = ["unshare", "--mount", *user, "bash", "-c", MOUNT, str(facts), str(library)]
        probe = subprocess.run([*before, sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
        if probe.stdout != "changed":
            raise RuntimeError(
                f"a command must get another /proc/cpuinfo and a preloaded library, got {probe.stderr.strip() or 'neither'}; run as root, with TMPDIR a folder without spaces from which programs run."
            )
        yield before


def run(command: list[str]) -> int:
    """The exit code of the changed command, as a shell says it."""
    with changer() as before:
        code = subprocess.run([*before, *command], check=False).returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} COMMAND...")
    sys.exit(run(sys.argv[1:]))
