"""Measures latency, cold start and memory of bundles on this device.

In: one or more bundles, and a `Plan`. Out: a `LatencyReport` for each, with every sample.

    fresh processes   a cold start and the peak of memory for each graph, dtype and length: no process that has loaded or
                      grown can tell these
    rounds            a process for each, which measures every configuration; those of several bundles take turns
    profiles          a process for each graph and dtype, which says where the time goes, if the plan asks for it
    quality           the answers of each dtype beside those of fp32 on a user's inputs, or of the eager model
    LoadGen           a process in which MLPerf's LoadGen asks the queries, if a folder for its logs is named

What the caller leaves open is as `edgexf.load` chooses it, so that a bundle that was tuned is measured as `edgexf tune` found
it. The report names the graph files and the options of the sessions that ran.

After an interrupt (KeyboardInterrupt), or an error such as a process that died, the reports hold what was measured before,
and say that they are partial, and why. A bundle that changed meanwhile has no report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.dtypes import FP32
from edgexf.errors import BundleError, EdgexfError
from edgexf.progress import Progress, unseen
from edgexf.report.latency.budget import Budget, check_planned
from edgexf.report.latency.measured.inputs import GOLDEN, RANDOM, Inputs
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Measured
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.measure import user_input
from edgexf_runtimes.measure.cases import Case, chosen_lengths
from edgexf_runtimes.measure.device import environment, floor
from edgexf_runtimes.measure.device.energy import energy, gpu_name, gpu_of
from edgexf_runtimes.measure.evaluation import check_fp32, data_of, of_dtypes, on_golden
from edgexf_runtimes.measure.latency import loadgen
from edgexf_runtimes.measure.latency.assemble import report_of, rows_of
from edgexf_runtimes.measure.latency.collected import Bench
from edgexf_runtimes.measure.latency.lacking import lacking
from edgexf_runtimes.measure.latency.operators import breakdowns, profile_of
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.rounds import Opening, configurations, in_fresh_process
from edgexf_runtimes.measure.latency.scenarios import Clock, SystemClock
from edgexf_runtimes.measure.processes.cold import cold_start
from edgexf_runtimes.session import Session, load

Further = Callable[[Sequence[Sequence[Measured]]], int]


def enough(_: Sequence[Sequence[Measured]]) -> int:
    """No further rounds than those of the plan."""
    return 0


def measure(
    path: Path, plan: Plan | None = None, progress: Progress = unseen, evaluate: Path | None = None,
    input: Path | None = None, logs: Path | None = None,  # noqa: A002 (the word of the command)
    budgets: Sequence[Budget] = (), **opening: Any,
) -> LatencyReport:  # fmt: skip
    """Measures a bundle. See `measure_all`."""
    (report,) = measure_all(
        [path], plan, progress, evaluate=evaluate, input=input, logs=logs, budgets=budgets, **opening
    )
    return report


def measure_all(
    paths: Sequence[Path], plan: Plan | None = None, progress: Progress = unseen, clock: Clock | None = None,
    evaluate: Path | None = None, input: Path | None = None,  # noqa: A002 (as above)
    logs: Path | None = None, budgets: Sequence[Budget] = (), further: Further = enough, **opening: Any,
) -> list[LatencyReport]:  # fmt: skip
    """Measures bundles in turns. `opening` holds arguments of `edgexf.load`, in types that JSON has, but ``dtype``. `evaluate`
    is a file of inputs on which quality is judged; see `edgexf_runtimes.inputs.labelled`. `input` is a file with an input to
    measure, in place of made ones; see `edgexf_runtimes.measure.user_input`. `logs` is a folder for those of MLPerf's LoadGen,
    which asks the queries once more; see `edgexf_runtimes.measure.latency.loadgen`. `budgets` are those that the reports shall
    be kept to: nothing is measured where one is of something else. `further` is given the rows of each bundle after the rounds
    of the plan, and says how many more rounds there shall be.

    Raises UsageError for a length outside a bundle's limits, for a method or dtype that a bundle does not hold, and for a
    budget of what is not measured;
    InputError for inputs that it does not take; BundleError for a bundle that changes meanwhile. Any other error, once
    something was measured, is told by the reports.
    """
    if logs is not None:
        loadgen.check(plan or Plan(), logs)
    with TemporaryDirectory(prefix="edgexf-") as folder:
        benches = [bench_of(path, plan or Plan(), opening, evaluate, input, Path(folder)) for path in paths]
        for bench in benches:
            check_planned(budgets, bench.wanted, bench.lacks)
        return reports_of(benches, logs, progress, clock or SystemClock(), further)


def reports_of(
    benches: Sequence[Bench], logs: Path | None, progress: Progress, clock: Clock, further: Further
) -> list[LatencyReport]:
    before, began, ended = environment.moment(), clock.now(), None
    try:
        start(benches, progress)
        rounds(benches, progress, further)
        judge(benches, progress)
        profile(benches, progress)
        drive(benches, logs, progress)
    except BundleError:
        raise
    except (KeyboardInterrupt, EdgexfError, OSError) as error:
        ended = error
        if not any(bench.parts or bench.starts for bench in benches):
            raise
    after = environment.moment()
    others = environment.others(before, after, clock.now() - began, environment.processors())
    return [report_of(bench, before, {**after.facts(), "others": others}, ended) for bench in benches]


def bench_of(
    path: Path, plan: Plan, opening: Opening, evaluate: Path | None = None, given: Path | None = None,
    folder: Path | None = None,
) -> Bench:  # fmt: skip
    """Opens the sessions once to find what is wrong before anything is measured, and closes them. The user's own input
    `given` is kept below `folder`.
    """
    with ExitStack() as stack:
        sessions: list[Session] = [stack.enter_context(load(path, dtype=dtype, **opening)) for dtype in plan.dtypes]
        first, data, inputs = sessions[0], None, made_for(sessions[0].manifest)
        if given is not None and folder is not None:
            kept = Path(mkdtemp(dir=folder))
            inputs = user_input.keep(first, given, chosen_lengths(first, plan.lengths), kept)
            plan = replace(plan, inputs=str(kept))
        wanted = [of for session in sessions for of in configurations(session, plan)]
        named = replace(plan, dtypes=tuple(dict.fromkeys(session.dtype for session in sessions)))
        if evaluate is not None:
            check_fp32(first)
            data = data_of(stack.enter_context(load(path, dtype=FP32, **opening)), evaluate)
        wanted = list(dict.fromkeys(wanted))
        if plan.operators:
            for session in sessions:
                profile_of(session, names.PREDICT)  # a damaged file is told before the long work
        lacks = lacking(first, named)
        gpu = gpu_of(asked(first.settings.providers))
        counters = {"energy": energy(gpu).sources, **({} if gpu is None else {"gpu": gpu_name(gpu)})}
        return Bench(path, named, as_run(sessions), first.model_sha256, wanted, opening, inputs, counters, lacks, data)


def as_run(sessions: Sequence[Session]) -> Manifest:
    """The manifest with the graphs that each session runs in its dtype: the bundle's own, or those of a candidate."""
    own = {(graph.method, graph.dtype): graph for session in sessions for graph in session.manifest.variants}
    whole = sessions[0].whole
    return replace(whole, variants=tuple(own.get((one.method, one.dtype), one) for one in whole.variants))


def made_for(manifest: Manifest) -> Inputs:
    """The inputs that `edgexf_runtimes.inputs.made` makes."""
    return Inputs(RANDOM if manifest.signature is None else GOLDEN)


def start(benches: Sequence[Bench], progress: Progress) -> None:
    with progress(sum(len(bench.places()) for bench in benches), "starting fresh processes") as advance:
        for bench in benches:
            for place in bench.places():
                graph, dtype, length = place
                case = Case(graph, length, bench.plan.inputs)
                found = cold_start(bench.path, case, {**bench.opening, "dtype": dtype})
                bench.check(found.digest)
                bench.starts.append((place, found))
                advance(1)


def rounds(benches: Sequence[Bench], progress: Progress, further: Further) -> None:
    """Those of the plans, and as many more as `further` asks for."""
    planned = max(bench.plan.rounds for bench in benches)
    time(benches, range(planned), progress)
    more = further([rows_of(bench) for bench in benches])
    if more > 0:
        for bench in benches:
            bench.plan = bench.plan.extended(more)
        time(benches, range(planned, planned + more), progress)


def time(benches: Sequence[Bench], numbers: range, progress: Progress) -> None:
    """Every second round goes through the bundles from the last to the first, so that none always comes behind another."""
    with progress(len(numbers) * sum(len(bench.wanted) for bench in benches), "timing in fresh processes") as advance:
        for number in numbers:
            for bench in benches if number % 2 == 0 else reversed(benches):
                with closing(in_fresh_process(bench.path, bench.plan, bench.opening)) as parts:
                    for part in parts:
                        bench.check(part.digest)
                        bench.parts.append(part)
                        advance(part.of.graph != floor.PRODUCT)


def drive(benches: Sequence[Bench], logs: Path | None, progress: Progress) -> None:
    """Lets LoadGen ask the queries once more, one bundle after another, if there is a folder for its logs."""
    if logs is None:
        return
    with progress(sum(len(bench.wanted) for bench in benches), "LoadGen asks") as advance:
        for number, bench in enumerate(benches):
            rates = {part.of.name: queries_a_second(part.rate) for part in bench.parts if part.rate is not None}
            held = {name: rate for name, rate in rates.items() if rate is not None}
            folder = logs if len(benches) == 1 else logs / str(number)
            with closing(loadgen.driven(bench.path, bench.plan, bench.opening, folder, held)) as found:
                for one in found:
                    bench.driven.append(one)
                    advance(1)


def queries_a_second(rate: Rate) -> float | None:
    return None if rate.samples_per_second.value is None else rate.samples_per_second.value / rate.batch


def judge(benches: Sequence[Bench], progress: Progress) -> None:
    """Compares the answers of each dtype with fp32 on the user's inputs, or else with the eager model's."""
    cases = sum(len(bench.plan.dtypes) * len(bench.data.cases) for bench in benches if bench.data is not None)
    with progress(cases or None, "comparing answers") as advance:
        for bench in benches:
            with ExitStack() as stack:
                opening = {**bench.opening, "nan": "flag"}
                dtypes = dict.fromkeys([*bench.plan.dtypes, *([FP32] if bench.data is not None else [])])
                opened = {dtype: stack.enter_context(load(bench.path, dtype=dtype, **opening)) for dtype in dtypes}
                sessions = [opened[dtype] for dtype in bench.plan.dtypes]
                bench.check(sessions[0].model_sha256)
                if bench.data is None:
                    bench.quality += on_golden(sessions)
                else:
                    bench.quality += of_dtypes(sessions, opened[FP32], bench.data, advance)


def profile(benches: Sequence[Bench], progress: Progress) -> None:
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
            bench.breakdowns.extend(breakdowns(bench.path, of, {**bench.opening, "dtype": dtype}, bench.plan.inputs))
            advance(1)
