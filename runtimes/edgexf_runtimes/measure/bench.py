"""Measures latency, load time and memory of a bundle on this device.

In: a bundle, lengths, and explanation methods. Lengths are in bytes for a model of bytes, and in tokens for others.
Out: a `LatencyReport`, with a row for each length of the predict graph and of each method's graph.

Rows are measured in turns, so that other load on the device slows all of them and not only one. Load time and memory
come from fresh processes, one for each row, because neither can be measured in a process that has already loaded or
grown.

A percentile is printed only with enough runs for a 99 % upper bound of it: 44 for the 90th (1 - 0.9^44 = 0.99).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import EdgexfError, UsageError
from edgexf.progress import Progress, unseen
from edgexf.report.latency import LatencyReport, LengthLatency
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.device import RUNTIME, describe, installed, now
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.inputs import made
from edgexf_runtimes.session import Session, load

LENGTHS = (128, 256, 512, 1024, 2048, 4096)  # by default, as far as a model takes them
RUNS = 50
RUNS_FOR_P90 = 44
SECONDS = 30.0  # a row that takes longer than this for all its runs gets fewer
FEWEST_RUNS = 5
WARM_UP = 3
LOADS = 5  # at least this many fresh processes

STATUS = Path("/proc/self/status")
CHILD = "import sys; from edgexf_runtimes.measure.bench import child; child(*sys.argv[1:])"


@dataclass(frozen=True)
class Case:
    """What one row of the report measures.

    Attributes:
        graph: ``predict``, or an explanation method.
        length: the length of the input, as in `edgexf_runtimes.inputs.made`.
    """

    graph: str
    length: int


def parse_lengths(text: str) -> list[int]:
    """Parses lengths such as ``128,512``. Raises UsageError for anything else."""
    try:
        lengths = sorted({int(part) for part in text.split(",")})
    except ValueError:
        lengths = []
    if not lengths or lengths[0] < 1:
        raise UsageError(
            f"lengths must be whole numbers of at least 1, separated by commas, got {text!r}; write them like 128,512."
        )
    return lengths


def random_inputs(session: Session, length: int) -> dict[str, npt.NDArray[Any]]:
    """The inputs of the predict graph; see `edgexf_runtimes.inputs.made.inputs`."""
    return made.inputs(session.path, session.manifest, length)


def tokens_of(session: Session, length: int) -> int:
    """The number of tokens in one row of an input of this length: a model of bytes adds its class token."""
    return length + (1 if isinstance(session.manifest.preprocess, Bytes) else 0)


def feeds(session: Session, case: Case) -> dict[str, npt.NDArray[Any]]:
    """The inputs of a case's graph."""
    inputs = random_inputs(session, case.length)
    return inputs if case.graph == names.PREDICT else made.explained(session.manifest, case.graph, inputs)


def run(session: Session, case: Case, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    if case.graph == names.PREDICT:
        session.run(inputs)
    else:
        session.run_explain(inputs, method=case.graph)


def chosen_lengths(session: Session, wanted: Sequence[int] | None) -> list[int]:
    """The lengths to measure: those in `wanted`, or by default those of `LENGTHS` that the model takes.

    The model's greatest length takes the place of greater defaults. Raises UsageError for a length in `wanted` that the
    model does not take.
    """
    if wanted is not None:
        return made.ascending(session.manifest, wanted)
    least, most = made.shortest(session.manifest), made.longest(session.manifest)
    return sorted({min(max(length, least), most) for length in LENGTHS})


def measure(
    path: Path,
    lengths: Sequence[int] | None = None,
    progress: Progress = unseen,
    methods: Sequence[str] = (),
    **opening: Any,
) -> LatencyReport:
    """Measures the bundle. See `chosen_lengths` for `lengths`. `opening` holds arguments of `edgexf.load`, in types that
    JSON has.

    Raises UsageError for a length outside the bundle's limits, and for a method that the bundle does not hold.
    """
    with load(path, nan="flag", **opening) as session:
        wanted = chosen_lengths(session, lengths)
        graphs = (names.PREDICT, *dict.fromkeys(map(session.method, methods)))
        cases = [Case(graph, length) for graph in graphs for length in wanted]
        fresh = in_fresh_processes(path, cases, {**opening, "dtype": session.dtype}, progress)
        times = in_turns(session, cases, progress)
    rows = (
        summary(case, times[case], peak, tokens_of(session, case.length))
        for case, (_, peak) in zip(cases, fresh, strict=False)
    )
    machine = {name: fact if isinstance(fact, str) else ", ".join(fact) for name, fact in describe().items()}
    del machine["versions"]  # of every package of edgexf, also those that a session does not run
    return LatencyReport(
        model=session.manifest.name,
        digest=session.model_sha256,
        dtype=session.dtype,
        others=tuple(dict.fromkeys(graph.dtype for graph in session.whole.variants if graph.dtype != session.dtype)),
        date=now(),
        threads=threads_of(session.settings),
        machine=machine,
        versions={package: installed(package) for package in RUNTIME},
        load_ms=float(np.median([load_ms for load_ms, _ in fresh])),
        load_runs=len(fresh),
        rows=tuple(rows),
        providers=", ".join(map(str, asked(session.settings.providers))),
        profile=session.settings.profile.name,
    )


def in_fresh_processes(
    path: Path, cases: Sequence[Case], opening: Mapping[str, Any], progress: Progress
) -> list[tuple[float, float | None]]:
    """The time to load and the peak of memory, as in `fresh_process`: for each case, and for the first case again until
    there are `LOADS`.
    """
    wanted = [*cases, *[cases[0]] * (LOADS - len(cases))]
    found = []
    with progress(len(wanted), "loading in fresh processes") as advance:
        for case in wanted:
            found.append(fresh_process(path, case, opening))
            advance(1)
    return found


def in_turns(session: Session, cases: Sequence[Case], progress: Progress) -> dict[Case, list[float]]:
    """The seconds of each run, by case. In each turn, every case runs once, unless its time is over."""
    inputs = {case: feeds(session, case) for case in cases}
    times: dict[Case, list[float]] = {case: [] for case in cases}
    with progress((WARM_UP + RUNS) * len(cases), f"timing in {session.dtype}") as advance:
        for case, given in inputs.items():
            for _ in range(WARM_UP):
                run(session, case, given)
                advance(1)
        for _ in range(RUNS):
            for case, given in inputs.items():
                if len(times[case]) < FEWEST_RUNS or sum(times[case]) < SECONDS:
                    start = time.perf_counter()
                    run(session, case, given)
                    times[case].append(time.perf_counter() - start)
                advance(1)
    return times


def summary(case: Case, seconds: Sequence[float], peak_mib: float | None, tokens: int) -> LengthLatency:
    p50, p90 = np.percentile(seconds, [50, 90]) * 1e3
    return LengthLatency(
        graph=case.graph,
        length=case.length,
        runs=len(seconds),
        p50_ms=float(p50),
        p90_ms=float(p90) if len(seconds) >= RUNS_FOR_P90 else None,
        tokens_per_second=tokens / (float(p50) / 1e3),
        peak_mib=peak_mib,
    )


def fresh_process(path: Path, case: Case, opening: Mapping[str, Any]) -> tuple[float, float | None]:
    """The time to load the bundle in ms, and the peak of resident memory in MiB as `peak_mib` says it, in a fresh process.
    `opening` holds arguments of `edgexf.load`.
    """
    command = [sys.executable, "-P", "-c", CHILD, str(path), case.graph, str(case.length), json.dumps(opening)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603 (all arguments are ours)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        raise EdgexfError(
            f"a fresh process must load the bundle and run it, got exit code {done.returncode}: {last[-300:]}; try a shorter length, or free memory."
        )
    found = json.loads(done.stdout)
    return found["load_ms"], found["peak_mib"]


def peak_mib() -> float | None:
    """The peak of this process's resident memory, in MiB. None on a system that does not tell it, such as Windows.

    The kernel's figure for the address space comes first, because `getrusage` starts from the parent's peak.
    """
    if STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return int(found.group(1)) / 2**10
    try:
        import resource
    except ImportError:  # only Unix has it
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def child(path: str, graph: str, length: str, opening: str) -> None:
    """Runs in the process that `fresh_process` starts: loads the bundle, runs it, and prints the figures."""
    case, given = Case(graph, int(length)), json.loads(opening)
    if "providers" in given:  # JSON makes lists of the pairs of a name and options
        given["providers"] = [tuple(one) if isinstance(one, list) else one for one in given["providers"]]
    start = time.perf_counter()
    with load(path, check="never", nan="flag", **given) as session:
        load_ms = (time.perf_counter() - start) * 1e3
        for _ in range(WARM_UP):
            run(session, case, feeds(session, case))
    peak = peak_mib()
    print(json.dumps({"load_ms": load_ms, "peak_mib": peak}))  # noqa: T201 (the parent reads it)
