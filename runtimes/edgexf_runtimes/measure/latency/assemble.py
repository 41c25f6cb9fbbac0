"""What was measured of a bundle becomes a report.

In: a `Bench`, and what the device did before and after. Out: a `LatencyReport`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.dtypes import in_dtype
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Configuration, Measured, Started
from edgexf.report.latency.measured.stages import Stages
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.device.asked import CPU
from edgexf_runtimes.device.device import RUNTIME, describe, installed, now
from edgexf_runtimes.measure.device import environment, floor
from edgexf_runtimes.measure.device.environment import Moment
from edgexf_runtimes.measure.latency.collected import Bench
from edgexf_runtimes.measure.latency.lacking import UNTOLD
from edgexf_runtimes.measure.latency.rounds import Part
from edgexf_runtimes.measure.latency.scenarios import OFFLINE

UNMEASURED = Fact(None, "no process measured it")


def products_of(bench: Bench) -> dict[str, Fact]:
    """10^9 operations a second of plain products, by kind of number."""
    if not bench.plan.operators:
        return {}
    parts = [part for part in bench.parts if part.of.graph == floor.PRODUCT]
    kinds = floor.kinds_for(bench.plan.dtypes)
    lacking = Fact(None, "products are measured on cpu alone") if bench.wanted[0].providers != CPU.name else UNMEASURED
    return floor.rates(
        kinds, lacking, {kind: [median(part.ms) for part in parts if part.of.dtype == kind] for kind in kinds}
    )


def report_of(bench: Bench, before: Moment, after: Mapping[str, Fact], ended: BaseException | None) -> LatencyReport:
    """`ended` is the interrupt or the error that ended the measurement early."""
    plan = bench.plan
    rows = rows_of(bench)
    places = {row.of.place for row in rows}  # a server without a rate has no row
    return LatencyReport(
        model=bench.manifest.name,
        digest=bench.digest,
        files={name: entry["bytes"] for name, entry in bench.manifest.files.items()},
        graph_files=graph_files(bench.manifest, bench.wanted),
        options={f"{part.of.graph} {part.of.dtype}": part.options for part in bench.parts if part.options},
        date=now(),
        partial=ended is not None,
        stopped=str(ended) if isinstance(ended, Exception) else "",
        protocol=plan.protocol,
        device={**facts(), **bench.hardware},
        before=before.facts(),
        after=after,
        rows=rows,
        starts=tuple(Started(*place, found.ms, told(found.resident_mib)) for place, found in bench.starts),
        rates=rates(bench, rows),
        quality=tuple(bench.quality),
        products=products_of(bench),
        breakdowns=tuple(one for one in bench.breakdowns if one.place in places),
        loadgen=tuple(bench.driven),
        inputs=bench.inputs,
        stages=tuple(one for of in bench.wanted if of.place in places for one in stages(parts_of(of, bench))),
    )


def rows_of(bench: Bench) -> tuple[Measured, ...]:
    """What was measured so far, a row for each configuration."""
    return tuple(row(of, bench) for of in bench.wanted if any(part.ms for part in parts_of(of, bench)))


def parts_of(of: Configuration, bench: Bench) -> list[Part]:
    return [part for part in bench.parts if part.of == of]


def rates(bench: Bench, rows: Sequence[Measured]) -> tuple[Rate, ...]:
    """The samples a second: those that a search found, and those of whole batches."""
    found = [part.rate for part in bench.parts if part.rate is not None]
    return (*found, *(offline_rate(row) for row in rows if row.of.scenario == OFFLINE))


def offline_rate(row: Measured) -> Rate:
    of = row.of
    samples = Fact(of.batch * len(row.ms) / row.seconds)
    return Rate(of.graph, of.dtype, of.length, of.batch, of.scenario, of.clients, samples)


def row(of: Configuration, bench: Bench) -> Measured:
    parts = parts_of(of, bench)
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
        unsettled=sum(not part.settled for part in parts),
    )


def per_query(joules: Sequence[Fact], queries: int) -> Fact:
    lacking = [fact for fact in joules if fact.value is None]
    return lacking[0] if lacking else Fact(sum(fact.value for fact in joules) / queries)


def stages(parts: Sequence[Part]) -> list[Stages]:
    """The stages of an answer of a configuration, from all processes that measured them. One lacks if it does in any."""
    found = [part for part in parts if part.stages]
    if not found:
        return []
    of, ms = found[0].of, {}
    for name in found[0].stages:
        facts = [part.stages[name] for part in found]
        lacking = [fact for fact in facts if fact.value is None]
        ms[name] = lacking[0] if lacking else Fact(tuple(time for fact in facts for time in fact.value))
    counts = tuple(max(len(fact.value or [0]) for fact in part.stages.values()) for part in found)
    return [Stages(of.graph, of.dtype, of.length, counts, ms)]


def told(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def facts() -> dict[str, Fact]:
    """What stays the same on this device while it is measured."""
    found = {name: Fact(fact if isinstance(fact, str) else list(fact)) for name, fact in describe().items()}
    found["available providers"] = found.pop("providers")  # rows name those that ran
    del found["versions"]  # of every package of edgexf, also those that a session does not run
    return {
        **found,
        **environment.processor(found["processor"], found["instruction sets"]),
        "caches": environment.caches(),
        "governor": environment.governors(),
        "affinity": environment.affinity(),
        **{package: Fact(installed(package)) for package in RUNTIME},
    }


def graph_files(manifest: Manifest, wanted: Iterable[Configuration]) -> dict[str, tuple[str, ...]]:
    """The files of the bundle that each measured graph reads: itself, and the weights that the graphs of a dtype share.

    A candidate's graphs have weights of their own, or read those of the graphs that they stand in for.
    """
    found = {}
    for of in wanted:
        own, portable = manifest.graph(names.PREDICT, of.dtype).file, in_dtype(names.PREDICT_FILE, of.dtype)
        weights = next((file for path in (own, portable) if (file := f"{path}_data") in manifest.files), "")
        file = manifest.graph(of.graph, of.dtype).file
        found[f"{of.graph} {of.dtype}"] = tuple(name for name in (file, weights) if name)
    return found
