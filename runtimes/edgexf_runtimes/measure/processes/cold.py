"""The way from nothing to the first answer, in fresh processes.

In: a bundle, a graph and its input, and the arguments of `edgexf.load`. Out: a `ColdStart` for each process: the milliseconds of each
stage, and the memory that the process holds after it.

    process   until Python runs the first line
    import    of the runtime, with numpy and onnxruntime
    verify    hashing the files of the bundle
    create    opening the session
    first     the first run, which fills caches and memory
    second    the run after it, to compare with

A stage that a process has done once is never as slow again, so one process gives one sample of each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgexf_runtimes.measure.cases import Case
from edgexf_runtimes.measure.processes.fresh import answer_of

FEWEST = 5  # processes
PROGRAM = "import sys, time; began = time.perf_counter(); from edgexf_runtimes.measure.processes import cold_child; cold_child.main(began, *sys.argv[1:])"


@dataclass(frozen=True)
class ColdStart:
    """One fresh process.

    Attributes:
        ms: milliseconds of each stage, by name.
        resident_mib: resident memory after each stage but the first, in MiB; None where the system does not tell it.
        peak_mib: the peak of resident memory; None likewise.
        digest: of the bundle that this process opened.
    """

    ms: dict[str, float]
    resident_mib: dict[str, float | None]
    peak_mib: float | None
    digest: str = ""


def cold_start(path: Path, case: Case, opening: Mapping[str, Any]) -> ColdStart:
    """Starts a process that answers twice. `opening` holds arguments of `edgexf.load` in types that JSON has.

    Raises EdgexfError if the process fails.
    """
    start = time.perf_counter()  # of one clock for all processes on Linux, macOS and Windows
    found = answer_of(PROGRAM, str(path), json.dumps(asdict(case)), json.dumps(opening))
    process = 1e3 * (found["began"] - start)
    return ColdStart({"process": process, **found["ms"]}, found["resident_mib"], found["peak_mib"], found["digest"])
