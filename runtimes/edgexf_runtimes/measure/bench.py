"""Measures latency, cold start and memory of a bundle on this device.

In: a bundle, and a `Plan`. Out: a `LatencyReport` with every sample.

    fresh processes   a cold start and the peak of memory for each graph, dtype and length: no process that has loaded or
                      grown can tell these
    warm-up           every configuration, until its times have settled
    rounds            every configuration for a share of its time, in turns, so that other load on the device meets all of them

The answers of a measurement are thrown away, so a session counts numbers that are not finite instead of refusing them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.errors import UsageError
from edgexf.progress import Progress, unseen
from edgexf.report.facts import Fact
from edgexf.report.latency import Configuration, LatencyReport, Measured, Started
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.device import RUNTIME, describe, installed, now
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.measure import environment, scenarios
from edgexf_runtimes.measure.cases import Case, chosen_lengths, feeds, run, tokens_of
from edgexf_runtimes.measure.cold import FEWEST, ColdStart, cold_start
from edgexf_runtimes.measure.scenarios import Clock, Enough, Sampled, SystemClock
from edgexf_runtimes.session import Session, load

Opening = Mapping[str, Any]

ROUNDS = 5
WARM = Enough(queries=3, seconds=0.2, most_seconds=5.0)
UNMEASURED = Fact(None, "no process measured it")


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it.

    Attributes:
        lengths: in bytes for a model of bytes, in tokens for others; None for those of `cases.LENGTHS` that fit.
        batches: rows of a run.
        methods: explanation methods beside ``predict``.
        dtypes: None for the one that suits this device.
        scenario: ``single`` or ``multi``.
        clients: of ``multi``.
        enough: when a configuration has been measured enough.
        processes: fresh processes at least.
    """

    lengths: Sequence[int] | None = None
    batches: Sequence[int] = (1,)
    methods: Sequence[str] = ()
    dtypes: Sequence[str] | None = None
    scenario: str = scenarios.SINGLE
    clients: int = 2
    enough: Enough = field(default_factory=lambda: Enough(queries=44, seconds=1.0, most_seconds=30.0))
    processes: int = FEWEST

    def __post_init__(self) -> None:
        known = (scenarios.SINGLE, scenarios.MULTI)
        if self.scenario not in known:
            raise UsageError(
                f"a scenario must be one of {', '.join(known)}, got {self.scenario!r}; choose one of them."
            )
        for name, values in (("batches", self.batches), ("clients", [self.clients])):
            if not values or min(values) < 1:
                raise UsageError(f"{name} must be at least 1, got {values}; choose more.")


@dataclass
class Job:
    """A configuration at work: its query, and the samples so far."""

    of: Configuration
    case: Case
    query: Callable[[], object]
    parts: list[Sampled]
    warm_up: int = 0
    joules: list[Fact] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(len(part.ms) for part in self.parts)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    def measured(self, peaks: Mapping[tuple[str, Case], Fact]) -> Measured:
        times = tuple(map(float, np.concatenate([part.ms for part in self.parts])))
        peak = peaks.get((self.of.dtype, self.case), UNMEASURED)
        return Measured(self.of, times, self.seconds, self.warm_up, per_query(self.joules, len(times)), peak)


def per_query(joules: Sequence[Fact], queries: int) -> Fact:
    for fact in joules:
        if fact.value is None:
            return fact
    return Fact(sum(fact.value for fact in joules) / queries)


def measure(
    path: Path, plan: Plan | None = None, progress: Progress = unseen, clock: Clock | None = None, **opening: Any
) -> LatencyReport:
    """Measures the bundle. `opening` holds arguments of `edgexf.load`, in types that JSON has, but ``dtype``.

    After an interrupt (KeyboardInterrupt) it returns what was measured until then, as a partial report, if there is any.
    Raises UsageError for a length outside the bundle's limits, and for a method or dtype that the bundle does not hold.
    """
    plan, clock = plan or Plan(), clock or SystemClock()
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(load(path, dtype=dtype, nan="flag", **opening)) for dtype in plan.dtypes or ("auto",)
        ]
        jobs = [job for session in sessions for job in jobs_of(session, plan)]
        started: list[tuple[str, Case, ColdStart]] = []
        before, began = environment.moment(), clock.now()
        partial_ = False
        try:
            started += in_fresh_processes(path, sessions, jobs, plan, opening, progress)
            in_rounds(jobs, plan, clock, progress)
        except KeyboardInterrupt:
            partial_ = True
            if not any(job.parts for job in jobs):
                raise
        after, seconds = environment.moment(), clock.now() - began
        peaks = {
            (dtype, case): Fact(None, "this system does not tell it")
            if start.peak_mib is None
            else Fact(start.peak_mib)
            for dtype, case, start in started
        }
        others = environment.others(before, after, seconds, environment.processors())
        return LatencyReport(
            model=sessions[0].manifest.name,
            digest=sessions[0].model_sha256,
            files={name: entry["bytes"] for name, entry in sessions[0].whole.files.items()},
            graph_files=graph_files(sessions[0].whole, jobs),
            date=now(),
            partial=partial_,
            protocol={
                "queries": float(plan.enough.queries),
                "seconds": plan.enough.seconds,
                "most_seconds": plan.enough.most_seconds,
                "rounds": float(ROUNDS),
                "warm_up_seconds": WARM.seconds,
            },
            device=facts(),
            before=before.facts(),
            after={**after.facts(), "others": others},
            rows=tuple(job.measured(peaks) for job in jobs if job.parts),
            starts=tuple(
                Started(case.graph, dtype, case.length, start.ms, known(start.resident_mib)) for dtype, case, start in started
            ),
        )  # fmt: skip


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def facts() -> dict[str, Fact]:
    """What stays the same on this device while it is measured."""
    found = {name: Fact(fact if isinstance(fact, str) else list(fact)) for name, fact in describe().items()}
    del found["versions"]  # of every package of edgexf, also those that a session does not run
    return {
        **found,
        "caches": environment.caches(),
        "governor": environment.governors(),
        "affinity": environment.affinity(),
        **{package: Fact(installed(package)) for package in RUNTIME},
    }


def graph_files(manifest: Manifest, jobs: Iterable[Job]) -> dict[str, tuple[str, ...]]:
    """The files of the bundle that each measured graph reads: itself, and the weights that the graphs of a dtype share."""
    found = {}
    for job in jobs:
        graph, weights = (
            manifest.graph(job.of.graph, job.of.dtype),
            manifest.graph(names.PREDICT, job.of.dtype).file + "_data",
        )
        found[f"{job.of.graph} {job.of.dtype}"] = tuple(
            file for file in (graph.file, weights) if file in manifest.files
        )
    return found


def jobs_of(session: Session, plan: Plan) -> list[Job]:
    graphs = (names.PREDICT, *dict.fromkeys(map(session.method, plan.methods)))
    clients = plan.clients if plan.scenario == scenarios.MULTI else 1
    found = []
    for graph in graphs:
        for length in chosen_lengths(session, plan.lengths):
            for batch in plan.batches:
                case = Case(graph, length)
                inputs = repeated(session, feeds(session, case), batch)
                of = Configuration(
                    graph, session.dtype, length, tokens_of(session, length), batch, plan.scenario, clients,
                    ", ".join(map(str, asked(session.settings.providers))), session.settings.profile.name,
                    threads_of(session.settings),
                )  # fmt: skip
                found.append(Job(of, case, partial(run, session, case, inputs), []))
    return found


def repeated(session: Session, inputs: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Inputs of one row, so many times."""
    if batch > 1 and session.manifest.signature is not None:
        raise UsageError(
            f"a batch must be 1 for a custom module, whose inputs may have their samples on any axis, got {batch}; measure single samples."
        )
    return {name: np.repeat(array, batch, axis=0) for name, array in inputs.items()}


def in_fresh_processes(
    path: Path, sessions: Sequence[Session], jobs: Sequence[Job], plan: Plan, opening: Opening, progress: Progress
) -> list[tuple[str, Case, ColdStart]]:
    """A cold start for each dtype and case, and for the first case of each dtype again until there are enough."""
    wanted = []
    for session in sessions:
        cases = list(dict.fromkeys(job.case for job in jobs if job.of.dtype == session.dtype))
        wanted += [(session.dtype, case) for case in (*cases, *[cases[0]] * (plan.processes - len(cases)))]
    found = []
    with progress(len(wanted), "starting fresh processes") as advance:
        for dtype, case in wanted:
            found.append((dtype, case, cold_start(path, case.graph, case.length, {**opening, "dtype": dtype})))
            advance(1)
    return found


def in_rounds(jobs: Sequence[Job], plan: Plan, clock: Clock, progress: Progress) -> None:
    """Warms up every job, and then gives each of them a share of its queries and seconds, in turns."""
    with progress((1 + ROUNDS) * len(jobs), "timing") as advance:
        for job in jobs:
            job.warm_up = len(scenarios.single(job.query, WARM, clock).ms)
            advance(1)
        for number in range(1, 1 + ROUNDS):
            for job in jobs:
                share(job, plan, number, clock)
                advance(1)


def share(job: Job, plan: Plan, number: int, clock: Clock) -> None:
    """Measures a job until it has the part of its queries and seconds that belongs to the first `number` rounds."""
    part = number / ROUNDS
    queries = math.ceil(plan.enough.queries * part) - job.count
    seconds = plan.enough.seconds * part - job.seconds
    left = plan.enough.most_seconds * part - job.seconds
    if (queries <= 0 and seconds <= 0) or (left <= 0 and job.parts):
        return
    enough = Enough(max(queries, 1), max(seconds, 0.0), max(left, 0.0))
    energy = environment.energy()
    if plan.scenario == scenarios.MULTI:
        job.parts.append(scenarios.multi(job.query, plan.clients, enough, clock))
    else:
        job.parts.append(scenarios.single(job.query, enough, clock))
    job.joules.append(environment.spent(energy, environment.energy()))
