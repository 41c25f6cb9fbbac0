"""Measures latency, load time and memory of a bundle on this device.

In: a bundle, lengths, and explanation methods. Lengths are in bytes for a model of bytes, and in tokens for others.
Out: a `LatencyReport`, with a row for each length of the predict graph and of each method's graph.

Rows are measured in turns, so that other load on the device slows all of them and not only one. Load time and memory
come from fresh processes, one for each row, because neither can be measured in a process that has already loaded or
grown.

A percentile is printed only with enough runs for a 99 % upper bound of it: 44 for the 90th (1 - 0.9^44 = 0.99).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgexf import names
from edgexf.progress import Progress, unseen
from edgexf.report.latency import LatencyReport, LengthLatency
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.device import RUNTIME, describe, installed, now
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.measure.cases import Case, chosen_lengths, feeds, run, tokens_of
from edgexf_runtimes.measure.cold import FEWEST, ColdStart, cold_start
from edgexf_runtimes.session import Session, load

RUNS = 50
RUNS_FOR_P90 = 44
SECONDS = 30.0  # a row that takes longer than this for all its runs gets fewer
FEWEST_RUNS = 5
WARM_UP = 3


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
        summary(case, times[case], start.peak_mib, tokens_of(session, case.length))
        for case, start in zip(cases, fresh, strict=False)
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
        load_ms=float(np.median([start.ms["verify"] + start.ms["create"] for start in fresh])),
        load_runs=len(fresh),
        rows=tuple(rows),
        providers=", ".join(map(str, asked(session.settings.providers))),
        profile=session.settings.profile.name,
    )


def in_fresh_processes(
    path: Path, cases: Sequence[Case], opening: Mapping[str, Any], progress: Progress
) -> list[ColdStart]:
    """A cold start for each case, and for the first case again until there are `FEWEST`."""
    wanted = [*cases, *[cases[0]] * (FEWEST - len(cases))]
    found = []
    with progress(len(wanted), "starting fresh processes") as advance:
        for case in wanted:
            found.append(cold_start(path, case.graph, case.length, opening))
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
