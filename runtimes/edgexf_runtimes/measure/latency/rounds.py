"""One round of a measurement: every configuration once, in a process of its own.

In: a bundle, a plan, and the arguments of `edgexf.load`. Out: `Part`s, the samples of each configuration in this round.

Each process gives each configuration a warm-up and its share of the queries and seconds, one configuration after another.
Rounds follow each other, so other load on the device meets all configurations; and two versions are compared by rounds,
because a process as a whole is faster or slower than the next one (0.90 to 1.05 times the time, for the same bundle).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgexf import names
from edgexf.errors import UsageError
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.measure.cases import Case, chosen_lengths, feeds, run, tokens_of
from edgexf_runtimes.measure.device import floor
from edgexf_runtimes.measure.device.energy import energy, gpu_of, spent
from edgexf_runtimes.measure.latency import scenarios
from edgexf_runtimes.measure.latency.options import options_of
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.scenarios import Bound, Clock, Enough, HighestRate, Sampled, SystemClock
from edgexf_runtimes.measure.latency.stages import stages_of
from edgexf_runtimes.measure.processes.fresh import answers_of, tell, with_providers
from edgexf_runtimes.session import Session, load

Opening = Mapping[str, Any]

PROGRAM = "import sys; from edgexf_runtimes.measure.latency.rounds import main; main(*sys.argv[1:])"
WARM = Enough(queries=3, seconds=0.1, most_seconds=10.0)
NOTHING = Sampled(np.empty(0), 0.0)
SEARCHED = Fact(None, "a search for the highest rate spends it on many rates")


@dataclass(frozen=True)
class Part:
    """The samples of a configuration in one process.

    Attributes:
        of: what was measured.
        ms: the time of each query in milliseconds.
        seconds: from the first query to the last answer.
        warm_up: the queries before.
        joules: of all queries together, or the reason why nobody knows.
        options: of the session that ran it, by name.
        digest: of the bundle that this process opened.
        settled: whether the queries before had become steady.
        rate: of a search for the highest one, whose last trial that held gave the samples, if there is one.
        stages: the times of each stage of an answer; empty where the plan asks for none.
    """

    of: Configuration
    ms: tuple[float, ...]
    seconds: float
    warm_up: int
    joules: Fact
    settled: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    rate: Rate | None = None
    stages: Mapping[str, Fact] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        rate = None if self.rate is None else self.rate.to_dict()
        stages = {name: fact.to_dict() for name, fact in self.stages.items()}
        return {**asdict(self), "joules": self.joules.to_dict(), "rate": rate, "stages": stages}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Part:
        of, joules = Configuration(**values["of"]), Fact.from_dict(values["joules"])
        rate = None if values["rate"] is None else Rate.from_dict(values["rate"])
        stages = {name: Fact.from_dict(fact) for name, fact in values["stages"].items()}
        further = {name: values[name] for name in ("seconds", "warm_up", "settled", "options", "digest")}
        return cls(of=of, ms=tuple(values["ms"]), joules=joules, rate=rate, stages=stages, **further)


def in_fresh_process(path: Path, plan: Plan, opening: Opening) -> Generator[Part, None, None]:
    """A round in a new process: each part when it is measured. Raises EdgexfError if the process fails.

    Close the iterator to end the process.
    """
    with closing(answers_of(PROGRAM, str(path), plan.to_json(), json.dumps(opening))) as found:
        yield from map(Part.from_dict, found)


def main(path: str, plan: str, opening: str) -> None:
    """Runs in the process that `in_fresh_process` starts."""
    for one in measured(Path(path), Plan.from_json(plan), with_providers(json.loads(opening))):
        tell(one.to_dict())


def measured(path: Path, plan: Plan, opening: Opening, clock: Clock | None = None) -> Iterator[Part]:
    """A round in this process. The answers are thrown away, so numbers that are not finite count as others do."""
    clock = clock or SystemClock()
    with ExitStack() as stack:
        arguments = {**opening, "check": "never", "nan": "flag"}
        sessions = [stack.enter_context(load(path, dtype=dtype, **arguments)) for dtype in plan.dtypes]
        for session in sessions:
            for of, query in queries(session, plan):
                gpu, told = gpu_of(asked(session.settings.providers)), options_of(session.graphs.opened(of.graph))
                found, stages = part(of, query, plan, clock, gpu), stages_in(session, of, plan, clock)
                yield replace(found, options=told, digest=session.model_sha256, stages=stages)
        yield from products(sessions, plan, clock)


def stages_in(session: Session, of: Configuration, plan: Plan, clock: Clock) -> dict[str, Fact]:
    """The stages of an answer of a configuration, if the plan asks for them. They are those of one sample, alone."""
    if not plan.stages or of.scenario != scenarios.SINGLE or of.batch > 1:
        return {}
    return stages_of(session, Case(of.graph, of.length, plan.inputs), plan.of_the_stages, clock)


def products(sessions: Sequence[Session], plan: Plan, clock: Clock) -> Iterator[Part]:
    """The times of plain products of matrices, as those of a graph ``product``, if the plan asks for them."""
    kinds = floor.kinds_for(session.dtype for session in sessions) if plan.operators else ()
    alone, threads = replace(plan, scenario=scenarios.SINGLE, bound_ms=None), threads_of(sessions[0].settings)
    for kind, query in floor.products(kinds, sessions[0].settings):
        of = Configuration(floor.PRODUCT, kind, floor.SIDE, floor.SIDE, threads=threads)
        yield replace(part(of, query, alone, clock), digest=sessions[0].model_sha256)


def part(
    of: Configuration, query: Callable[[], object], plan: Plan, clock: Clock, gpu: int | None = None
) -> Part:  # fmt: skip
    """Measures one configuration. `gpu` is the number of the GPU whose energy counts, None without."""
    warmed = scenarios.warm_up(query, WARM, clock)
    before, rate = energy(gpu), None
    if plan.bound is not None:
        found = scenarios.highest_rate(query, plan.bound, of.clients, plan.of_a_trial, clock)
        sampled, rate = found.best or NOTHING, rate_of(of, plan.bound, found)
    elif plan.scenario == scenarios.MULTI:
        sampled = scenarios.multi(query, of.clients, plan.of_a_process, clock)
    elif plan.scenario == scenarios.OFFLINE:
        sampled = scenarios.offline(query, of.clients, plan.of_a_process, clock)
    else:
        sampled = scenarios.single(query, plan.of_a_process, clock)
    joules = spent(before, energy(gpu)) if rate is None else SEARCHED
    return Part(
        of, tuple(map(float, sampled.ms)), sampled.seconds, warmed.queries, joules, rate=rate, settled=warmed.settled
    )


def rate_of(of: Configuration, bound: Bound, found: HighestRate) -> Rate:
    samples = Fact(None, found.reason) if found.rate is None else Fact(of.batch * found.rate)
    return Rate(
        of.graph, of.dtype, of.length, of.batch, of.scenario, of.clients, samples, bound.ms, bound.share, found.trials
    )


def queries(session: Session, plan: Plan) -> Iterator[tuple[Configuration, Callable[[], object]]]:
    """The configurations of a session in their order, each with a function that answers a query."""
    for of in configurations(session, plan):
        case = Case(of.graph, of.length, plan.inputs)
        yield of, partial(run, session, case, repeated(feeds(session, case), of.batch))


def configurations(session: Session, plan: Plan) -> list[Configuration]:
    """Raises UsageError for a length, method or batch that the bundle does not take."""
    if max(plan.batches) > 1 and session.manifest.signature is not None:
        raise UsageError(
            f"a batch must be 1 for a custom module, whose inputs may have their samples on any axis, got {max(plan.batches)}; measure single samples."
        )
    settings, clients = session.settings, clients_of(session, plan)
    return [
        Configuration(
            graph, session.dtype, length, tokens_of(session, Case(graph, length, plan.inputs)), batch, plan.scenario, clients,
            ", ".join(map(str, asked(settings.providers))), settings.profile.name, threads_of(settings),
        )
        for graph in (names.PREDICT, *dict.fromkeys(map(session.method, plan.methods)))
        for length in chosen_lengths(session, plan.lengths)
        for batch in plan.batches
    ]  # fmt: skip


def clients_of(session: Session, plan: Plan) -> int:
    """How many queries may run side by side: of ``server`` and ``offline`` as many as the profile of the session has."""
    if plan.scenario == scenarios.MULTI:
        return plan.clients
    side_by_side = plan.scenario != scenarios.SINGLE and session.settings.profile.side_by_side
    return threads_of(session.settings) if side_by_side else 1


def repeated(inputs: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Inputs of one row, so many times. The steps of a path are those of all rows."""
    return {
        name: np.repeat(array, batch, axis=0) if batch > 1 and name != names.PATH else array
        for name, array in inputs.items()
    }
