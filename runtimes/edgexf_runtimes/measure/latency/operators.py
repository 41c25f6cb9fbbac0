"""Where the time of a graph goes, from a second, profiled session in a fresh process.

In: a bundle, and the configurations of a report. Out: a `Breakdown` for each graph, dtype, length and batch of them.

The profiler slows a graph (by 16 % at 512 tokens and 386 % at 8, for a reference model), so the sessions whose latency a
report gives never have one. Each length is profiled, not the longest alone: what dominates changes with the length, and a
floor is drawn over all lengths. The process opens three sessions of a graph:

    plain      as in the report, for the slowdown by profiling
    profiled   the same with ONNX Runtime's profiler: times of nodes
    counted    where the bundle does not say the operations: without fused nodes and packed weights, of which the profiler
               leaves out shapes

The times are means over the middle half of the runs, by the time of the run. So an interrupted run does not count, and yet
the nodes and the time between them sum to the run, which medians of each do not. On a provider that works beside the
processor (CUDA), the time of a node is that of its launch, and the rest lies between the kernels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort

from edgexf import names
from edgexf.bundle.profile import GraphProfile, read_profile
from edgexf.errors import EdgexfError
from edgexf.products import Count
from edgexf.report.latency.measured.breakdown import Breakdown, Node
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.device import providers
from edgexf_runtimes.device.asked import CPU, short
from edgexf_runtimes.device.session_options import session_options
from edgexf_runtimes.device.structure import between_bytes, equations
from edgexf_runtimes.measure.cases import Case, feeds, run
from edgexf_runtimes.measure.device import floor
from edgexf_runtimes.measure.latency import operations, scenarios
from edgexf_runtimes.measure.latency.operations import KERNEL, Event
from edgexf_runtimes.measure.latency.rounds import repeated
from edgexf_runtimes.measure.latency.scenarios import Enough, SystemClock, Times
from edgexf_runtimes.measure.processes.fresh import answer_of, tell, with_providers
from edgexf_runtimes.session import Session, load

PROGRAM = "import sys; from edgexf_runtimes.measure.latency.operators import main; main(*sys.argv[1:])"
RUN = "model_run"  # ONNX Runtime's event of a whole run
RUNS = Enough(queries=21, seconds=0.0, most_seconds=10.0)
WARM_UP = Enough(queries=5, seconds=0.0, most_seconds=5.0)  # no least time: each run is in the profile
ONCE = Enough(queries=1, seconds=0.0, most_seconds=0.0)
MILLI = 1e-3  # of the profiler's microseconds

Query = Callable[[], object]
Create = Callable[[Path], ort.InferenceSession]


def breakdowns(
    path: Path, wanted: Sequence[Configuration], opening: Mapping[str, Any], inputs: str | None = None
) -> list[Breakdown]:
    """The breakdowns of configurations of one dtype, from a new process. `inputs` is that of the plan.

    Raises EdgexfError if the process fails.
    """
    of = json.dumps([asdict(one) for one in wanted])
    found = answer_of(PROGRAM, str(path), of, json.dumps(opening), inputs or "")
    try:
        return [Breakdown.from_dict(one) for one in found]
    except ValueError as error:
        raise EdgexfError(f"a profile must be of runs of the graph, got another ({error}); measure again.") from error


def main(path: str, wanted: str, opening: str, inputs: str = "") -> None:
    """Runs in the process that `breakdowns` starts."""
    of = [Configuration(**one) for one in json.loads(wanted)]
    found = measured(Path(path), of, with_providers(json.loads(opening)), inputs or None)
    tell([one.to_dict() for one in found])


def measured(
    path: Path, wanted: Iterable[Configuration], opening: Mapping[str, Any], inputs: str | None = None
) -> list[Breakdown]:
    """The breakdowns, in this process."""
    with load(path, **{**opening, "check": "never", "nan": "flag"}) as session:
        return [breakdown(session, of, inputs) for of in wanted]


def breakdown(session: Session, of: Configuration, folder: str | None = None) -> Breakdown:
    """`folder` is that of a user's inputs, see `edgexf_runtimes.measure.cases.Case`."""
    case, known = Case(of.graph, of.length, folder), profile_of(session, of.graph)
    inputs = repeated(feeds(session, case), of.batch)
    query = partial(run, session, case, inputs)
    plain = timed(query)
    slow, events = profiled(session, of.graph, partial(timed, query), partial(with_profile, session, of.graph))
    found = told(session, of.graph, known, inputs) or counted(session, of.graph, query)
    run_ms, nodes = mean_of_runs(runs_of(events)[-len(slow) :], known.modules)
    return Breakdown(
        graph=of.graph,
        dtype=of.dtype,
        length=of.length,
        batch=of.batch,
        runs=len(middle(slow)),
        run_ms=run_ms,
        profiled_ms=float(np.median(slow)),
        plain_ms=float(np.median(plain)),
        nodes=nodes,
        operations=found.operations,
        uncounted=found.uncounted,
    )


def timed(query: Query, warm_up: Enough = WARM_UP, enough: Enough = RUNS) -> Times:
    """The milliseconds of queries behind a warm-up."""
    scenarios.single(query, warm_up, SystemClock())
    return scenarios.single(query, enough, SystemClock()).ms


def profiled(
    session: Session, graph: str, queries: Callable[[], Times], create: Create
) -> tuple[Times, list[dict[str, Any]]]:
    """The milliseconds of queries, and all events of the profiler. `create` opens the graph with a profile at a path."""
    with TemporaryDirectory(prefix="edgexf-") as folder:
        other = create(Path(folder) / "profile")
        try:
            with session.graphs.replaced(graph, other):
                times = queries()
        finally:
            profile = Path(other.end_profiling())  # before its folder goes
        return times, json.loads(profile.read_bytes())


def with_profile(session: Session, graph: str, profile: Path) -> ort.InferenceSession:
    """The graph as the session runs it, with a profile."""
    return providers.create(
        file_of(session, graph), settings=session.settings, manifest=session.manifest, profile=profile,
        explains=graph != names.PREDICT,
    )  # fmt: skip


def file_of(session: Session, graph: str) -> Path:
    return session.path / session.manifest.graph(graph, session.dtype).file


def counted(session: Session, graph: str, query: Query) -> Count:
    """The operations of one query. It runs on the CPU, since they do not depend on where."""
    _, events = profiled(session, graph, partial(timed, query, ONCE, ONCE), partial(unfused, session, graph))
    file = file_of(session, graph)
    return operations.count(kernels(runs_of(events)[-1]), equations(file), between_bytes(file))


def unfused(session: Session, graph: str, profile: Path) -> ort.InferenceSession:
    """The graph with plain nodes only: constants are folded, no nodes are fused, no weights packed."""
    options = session_options(session.settings)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(str(file_of(session, graph)), options, providers=[CPU.ort])


def runs_of(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each run: the run itself, then what lies in it, in order. Raises EdgexfError for a run without nodes,
    which a full profile leaves.
    """
    ordered = sorted((event for event in events if "dur" in event), key=lambda one: (one["ts"], -one["dur"]))
    found: list[list[Event]] = []
    for event in ordered:
        if event["name"] == RUN:
            found.append([event])
        elif found and event["ts"] < found[-1][0]["ts"] + found[-1][0]["dur"]:
            found[-1].append(event)
    if not found or not all(kernels(run) for run in found):
        raise EdgexfError(
            "a profile must hold the nodes of each run, got a run without; measure a shorter length, or without --operators."
        )
    return found


def kernels(run: Iterable[Event]) -> list[Event]:
    return [event for event in run if event["name"].endswith(KERNEL)]


def middle(times: Sequence[float] | Times) -> list[int]:
    """The places of the middle half of the times, by their size."""
    order, rest = np.argsort(times, kind="stable"), len(times) // 4
    return [int(place) for place in order[rest : len(times) - rest]]


def profile_of(session: Session, graph: str) -> GraphProfile:
    """What the bundle says of the graph's nodes and operations."""
    about = session.manifest.graph(graph, session.dtype)
    profile = read_profile((session.path / about.profile).read_bytes()) if about.profile else {}
    return profile.get(about.file, GraphProfile())


def told(session: Session, graph: str, known: GraphProfile, inputs: Mapping[str, Any]) -> Count | None:
    """The operations of a query as the bundle says them; None where it does not.

    A device without products of float16 computes them in float32. So a graph of kinds whose rate nobody measures is counted
    on the device, where they have the kind that runs.
    """
    if known.operations is None:
        return None
    sizes: dict[str, int] = {}
    for tensor in session.manifest.graph(graph, session.dtype).inputs:
        for axis, size in zip(
            tensor.shape, np.shape(inputs[tensor.name]) if tensor.name in inputs else (), strict=False
        ):
            sizes.setdefault(str(axis), size)
    found = known.operations.at(sizes)
    return Count(found, ()) if found is not None and floor.KINDS.keys() >= found.keys() else None


def mean_of_runs(runs: Sequence[Sequence[Event]], modules: Mapping[str, str]) -> tuple[float, tuple[Node, ...]]:
    """The time of a run in milliseconds and its nodes, as means over the middle half of `runs`.

    `modules` are those of the nodes in the graph's file. ONNX Runtime calls a node that took over a neighbour
    ``MatMul_9/MatmulTransposeFusion/``; one that it made of several has a name of its own, and no module. A node inside a
    loop has the name of the loop before its own, and its module.
    """
    kept = [runs[place] for place in middle([run[0]["dur"] for run in runs])]
    own, calls, about = Counter[str](), Counter[str](), dict[str, Mapping[str, Any]]()
    for one in kept:
        for path, event, microseconds in own_times(kernels(one)):
            name = "/".join(path)
            own[name] += microseconds
            calls[name] += 1
            about.setdefault(name, event["args"])
    nodes = tuple(
        Node(
            name,
            args["op_name"],
            short(args["provider"]),
            round(calls[name] / len(kept)),
            MILLI * own[name] / len(kept),
            modules.get(name.partition("/")[0]),
        )
        for name, args in about.items()
    )
    return MILLI * sum(one[0]["dur"] for one in kept) / len(kept), nodes


def own_times(events: Sequence[Event]) -> list[tuple[tuple[str, ...], Event, int]]:
    """The names of an event and of those around it, the event, and its time without that of the events inside it: a `Scan`
    holds the nodes of its body.

    `events` are in the order of `runs_of`.
    """
    found, around, paths = [event["dur"] for event in events], list[int](), list[tuple[str, ...]]()
    for place, event in enumerate(events):
        while around and event["ts"] >= events[around[-1]]["ts"] + events[around[-1]]["dur"]:
            around.pop()
        if around:
            found[around[-1]] -= event["dur"]
        paths.append((*(paths[around[-1]] if around else ()), event["name"].removesuffix(KERNEL)))
        around.append(place)
    return list(zip(paths, events, found, strict=True))
