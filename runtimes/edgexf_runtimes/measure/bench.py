"""Measures latency, cold start and memory of bundles on this device.

In: one or more bundles, and a `Plan`. Out: a `LatencyReport` for each, with every sample.

    fresh processes   a cold start and the peak of memory for each graph, dtype and length: no process that has loaded or
                      grown can tell these
    rounds            a process for each, which measures every configuration; those of several bundles take turns
    profiles          a process for each graph and dtype, which says where the time goes, if the plan asks for it

After an interrupt (KeyboardInterrupt) the reports hold the rounds that ended before, and say that they are partial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.progress import Progress, unseen
from edgexf.report.breakdown import Breakdown
from edgexf.report.facts import Fact
from edgexf.report.latency import Configuration, LatencyReport, Measured, Started
from edgexf_runtimes.device.device import RUNTIME, describe, installed, now
from edgexf_runtimes.measure import environment, floor
from edgexf_runtimes.measure.cold import FEWEST, ColdStart, cold_start
from edgexf_runtimes.measure.environment import Moment
from edgexf_runtimes.measure.operators import breakdowns
from edgexf_runtimes.measure.plan import Plan
from edgexf_runtimes.measure.rounds import Opening, Part, configurations, in_fresh_process
from edgexf_runtimes.measure.scenarios import Clock, SystemClock
from edgexf_runtimes.session import Session, load

Place = tuple[str, str, int]  # graph, dtype, length
UNMEASURED = Fact(None, "no process measured it")
UNTOLD = Fact(None, "this system does not tell it")


@dataclass
class Bench:
    """A bundle that is being measured.

    Attributes:
        path: of the bundle.
        plan: with dtypes in place of ``auto``.
        manifest, digest: of the bundle.
        wanted: the configurations.
        parts: the samples so far, a list for each round.
        starts: cold starts so far.
        breakdowns: those so far.
    """

    path: Path
    plan: Plan
    manifest: Manifest
    digest: str
    wanted: list[Configuration]
    parts: list[list[Part]] = field(default_factory=list)
    starts: list[tuple[Place, ColdStart]] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)

    def places(self) -> list[Place]:
        """What to start in fresh processes: each graph, dtype and length, and the first again until there are enough."""
        every = list(dict.fromkeys((of.graph, of.dtype, of.length) for of in self.wanted))
        return [*every, *[every[0]] * (FEWEST - len(every))]


def measure(path: Path, plan: Plan | None = None, progress: Progress = unseen, **opening: Any) -> LatencyReport:
    """Measures a bundle. See `measure_all`."""
    (report,) = measure_all([path], plan, progress, **opening)
    return report


def measure_all(
    paths: Sequence[Path], plan: Plan | None = None, progress: Progress = unseen, clock: Clock | None = None, **opening: Any
) -> list[LatencyReport]:  # fmt: skip
    """Measures bundles in turns. `opening` holds arguments of `edgexf.load`, in types that JSON has, but ``dtype``.

    Raises UsageError for a length outside a bundle's limits, and for a method or dtype that a bundle does not hold.
    """
    clock = clock or SystemClock()
    benches = [bench_of(path, plan or Plan(), opening) for path in paths]
    before, began, interrupted = environment.moment(), clock.now(), False
    try:
        start(benches, opening, progress)
        rounds(benches, opening, progress)
        profile(benches, opening, progress)
    except KeyboardInterrupt:
        interrupted = True
        if not all(bench.parts for bench in benches):
            raise
    after = environment.moment()
    others = environment.others(before, after, clock.now() - began, environment.processors())
    return [report_of(bench, before, {**after.facts(), "others": others}, interrupted) for bench in benches]


def bench_of(path: Path, plan: Plan, opening: Opening) -> Bench:
    """Opens the sessions once to find what is wrong before anything is measured, and closes them."""
    with ExitStack() as stack:
        sessions: list[Session] = [stack.enter_context(load(path, dtype=dtype, **opening)) for dtype in plan.dtypes]
        wanted = [of for session in sessions for of in configurations(session, plan)]
        named = replace(plan, dtypes=tuple(dict.fromkeys(session.dtype for session in sessions)))
        return Bench(path, named, sessions[0].whole, sessions[0].model_sha256, list(dict.fromkeys(wanted)))


def start(benches: Sequence[Bench], opening: Opening, progress: Progress) -> None:
    with progress(sum(len(bench.places()) for bench in benches), "starting fresh processes") as advance:
        for bench in benches:
            for place in bench.places():
                graph, dtype, length = place
                bench.starts.append((place, cold_start(bench.path, graph, length, {**opening, "dtype": dtype})))
                advance(1)


def rounds(benches: Sequence[Bench], opening: Opening, progress: Progress) -> None:
    """Every second round goes through the bundles from the last to the first, so that none always comes behind another."""
    most = max(bench.plan.processes for bench in benches)
    with progress(most * len(benches), "timing in fresh processes") as advance:
        for number in range(most):
            for bench in benches if number % 2 == 0 else reversed(benches):
                bench.parts.append(in_fresh_process(bench.path, bench.plan, opening))
                advance(1)


def profile(benches: Sequence[Bench], opening: Opening, progress: Progress) -> None:
    """Says where the time goes, for the plans that ask for it: a process for each graph and dtype."""
    groups = [
        (bench, graph, dtype)
        for bench in benches
        if bench.plan.operators
        for graph, dtype in dict.fromkeys((of.graph, of.dtype) for of in bench.wanted)
    ]
    if not groups:
        return
    with progress(len(groups), "profiling operators") as advance:
        for bench, graph, dtype in groups:
            of = [one for one in bench.wanted if (one.graph, one.dtype) == (graph, dtype)]
            bench.breakdowns.extend(breakdowns(bench.path, of, {**opening, "dtype": dtype}))
            advance(1)


def rates_of(bench: Bench) -> dict[str, Fact]:
    """10^9 operations a second of plain products, by kind of number."""
    if not bench.plan.operators:
        return {}
    parts = [part for parts in bench.parts for part in parts if part.of.graph == floor.PRODUCT]
    kinds = floor.kinds_for(bench.plan.dtypes)
    return floor.rates(kinds, {kind: [median(part.ms) for part in parts if part.of.dtype == kind] for kind in kinds})


def report_of(bench: Bench, before: Moment, after: Mapping[str, Fact], partial: bool) -> LatencyReport:
    plan = bench.plan
    return LatencyReport(
        model=bench.manifest.name,
        digest=bench.digest,
        files={name: entry["bytes"] for name, entry in bench.manifest.files.items()},
        graph_files=graph_files(bench.manifest, bench.wanted),
        date=now(),
        partial=partial,
        protocol={
            "queries": float(plan.queries),
            "seconds": plan.seconds,
            "most_seconds": plan.most_seconds,
            "processes": float(plan.processes),
        },
        device=facts(),
        before=before.facts(),
        after=after,
        rows=tuple(row(of, bench) for of in bench.wanted),
        starts=tuple(Started(*place, found.ms, told(found.resident_mib)) for place, found in bench.starts),
        rates=rates_of(bench),
        breakdowns=tuple(bench.breakdowns),
    )


def row(of: Configuration, bench: Bench) -> Measured:
    parts = [part for parts in bench.parts for part in parts if part.of == of]
    peaks = [
        found.peak_mib for place, found in bench.starts if place == (of.graph, of.dtype, of.length) and of.batch == 1
    ]
    peak = UNMEASURED if not peaks else UNTOLD if peaks[0] is None else Fact(peaks[0])
    times = [part.ms for part in parts]
    return Measured(
        of=of,
        ms=tuple(time for one in times for time in one),
        processes=tuple(map(len, times)),
        seconds=sum(part.seconds for part in parts),
        warm_up=sum(part.warm_up for part in parts),
        joules=per_query([part.joules for part in parts], sum(map(len, times))),
        peak_mib=peak,
    )


def per_query(joules: Sequence[Fact], queries: int) -> Fact:
    lacking = [fact for fact in joules if fact.value is None]
    return lacking[0] if lacking else Fact(sum(fact.value for fact in joules) / queries)


def told(values: Mapping[str, float | None]) -> dict[str, float]:
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


def graph_files(manifest: Manifest, wanted: Iterable[Configuration]) -> dict[str, tuple[str, ...]]:
    """The files of the bundle that each measured graph reads: itself, and the weights that the graphs of a dtype share."""
    found = {}
    for of in wanted:
        file, weights = manifest.graph(of.graph, of.dtype).file, manifest.graph(names.PREDICT, of.dtype).file + "_data"
        found[f"{of.graph} {of.dtype}"] = tuple(name for name in (file, weights) if name in manifest.files)
    return found
