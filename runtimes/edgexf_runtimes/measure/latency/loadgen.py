"""MLPerf's LoadGen drives the session that `edgexf bench` measures, and writes its own logs.

In: a bundle, a plan, and a folder. Out: a `Driven` for each configuration, and LoadGen's logs in a folder of each.

LoadGen decides when a query comes, how many there are, and what the verdict is; this module answers. A sample of LoadGen is a
query here, so one of a batch has all its rows. The scenarios are those of the MLPerf Inference rules (Reddi et al. 2020) with the
same names, but ``multi``: LoadGen's multi-stream gives several samples to one client, and edgexf's has several clients.

LoadGen calls from threads of its own. An error there would end the process without a word, so it is kept and raised after
the test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from edgexf.errors import EdgexfError, MissingExtraError, UsageError
from edgexf.report.latency.measured.loadgen import Driven
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.measure.device.files import package
from edgexf_runtimes.measure.latency import scenarios
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.rounds import Opening, queries
from edgexf_runtimes.measure.processes.fresh import answers_of, tell, with_providers
from edgexf_runtimes.session import load

PROGRAM = "import sys; from edgexf_runtimes.measure.latency.loadgen import main; main(*sys.argv[1:])"
FEW = scenarios.Enough(queries=5, seconds=0.1, most_seconds=10.0)
MARK = ":::MLLOG "
DETAIL = "mlperf_log_detail.txt"
SHARES = {"50": "50.00", "90": "90.00", "95": "95.00", "97": "97.00", "99": "99.00", "99.9": "99.90"}
NAMES = {scenarios.SINGLE: "SingleStream", scenarios.SERVER: "Server", scenarios.OFFLINE: "Offline"}
RATES = ("result_completed_samples_per_sec", "result_samples_per_second", "result_qps_without_loadgen_overhead")
NANO = 1e9
LEAST = 64  # queries, by its rule for early stopping at the 90th percentile; it tells more if another one needs more


def check(plan: Plan, folder: Path) -> None:
    """Raises MissingExtraError without LoadGen, and UsageError for a scenario that it does not have, and for a folder for its logs
    that can't be made.
    """
    if package("mlperf_loadgen") is None:
        raise MissingExtraError(
            "MLPerf's LoadGen needs the extra `loadgen`, got no mlcommons-loadgen in this environment; install it with: pip install 'edgexf[loadgen]'."
        )
    if plan.scenario not in NAMES:
        raise UsageError(
            f"a scenario of LoadGen must be one of {', '.join(NAMES)}, got {plan.scenario}, which is another thing there; leave --loadgen out."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"LoadGen's logs must have a folder, got {folder}, which can't be made ({error.strerror}); name another one."
        ) from error


def driven(
    path: Path, plan: Plan, opening: Opening, folder: Path, rates: Mapping[str, float]
) -> Generator[Driven, None, None]:
    """Each configuration when it is measured, in a new process. `rates` are queries a second that ``server`` held, by the
    name of the configuration; one without a rate is left out.
    """
    arguments = str(path), plan.to_json(), json.dumps(opening), str(folder), json.dumps(rates)
    with closing(answers_of(PROGRAM, *arguments)) as found:
        yield from map(Driven.from_dict, found)


def main(path: str, plan: str, opening: str, folder: str, rates: str) -> None:
    """Runs in the process that `driven` starts."""
    given = json.loads(opening)
    for one in in_this_process(
        Path(path), Plan.from_json(plan), with_providers(given), Path(folder), json.loads(rates)
    ):
        tell(one.to_dict())


def in_this_process(
    path: Path, plan: Plan, opening: Opening, folder: Path, rates: Mapping[str, float]
) -> Iterator[Driven]:
    with ExitStack() as stack:
        for dtype in plan.dtypes:
            session = stack.enter_context(load(path, dtype=dtype, **{**opening, "check": "never", "nan": "flag"}))
            for of, query in queries(session, plan):
                if plan.scenario != scenarios.SERVER or of.name in rates:
                    yield drive(of, query, plan, folder / of.name.replace(" ", "-"), rates.get(of.name))


def drive(of: Configuration, query: Callable[[], object], plan: Plan, folder: Path, rate: float | None) -> Driven:
    """Lets LoadGen ask. `rate` is that of ``server``, in queries a second."""
    import mlperf_loadgen as lg

    clock = scenarios.SystemClock()
    scenarios.warm_up(query, FEW, clock)
    alone = median(scenarios.single(query, FEW, clock).ms) / 1e3
    folder.mkdir(parents=True, exist_ok=True)
    logs = lg.LogSettings()
    logs.log_output = lg.LogOutputSettings()
    logs.log_output.outdir, logs.log_output.prefix = str(folder), "mlperf_log_"
    logs.enable_trace = False
    errors: list[Exception] = []
    with ThreadPoolExecutor(of.clients, thread_name_prefix="edgexf client") as pool:
        ask = partial(issue, lg, query, pool if of.clients > 1 else None, errors)
        system, library = lg.ConstructSUT(ask, nothing), lg.ConstructQSL(1, 1, nothing, nothing)
        try:
            lg.StartTestWithLogSettings(system, library, settings(lg, of, plan, alone, rate), logs)
        finally:
            lg.DestroyQSL(library)
            lg.DestroySUT(system)
    if errors:
        raise errors[0]
    return read(of, (folder / DETAIL).read_text(encoding="utf-8"))


def nothing(*_: object) -> None:
    """LoadGen tells when it loads samples and when it is done; the inputs are in memory already."""


def issue(
    lg: Any,
    query: Callable[[], object],
    pool: ThreadPoolExecutor | None,
    errors: list[Exception],
    samples: Sequence[Any],
) -> None:
    for sample in samples:
        if pool is None:
            answer(lg, query, errors, sample.id)
        else:
            pool.submit(answer, lg, query, errors, sample.id)


def answer(lg: Any, query: Callable[[], object], errors: list[Exception], sample: int) -> None:
    """LoadGen waits for every sample, so one is complete even if it failed."""
    try:
        query()
    except Exception as error:  # noqa: BLE001 (it is raised after the test)
        errors.append(error)
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample, 0, 0)])


def settings(lg: Any, of: Configuration, plan: Plan, alone: float, rate: float | None) -> Any:
    """`alone` is the time of a query in seconds."""
    found = lg.TestSettings()
    found.scenario, found.mode = getattr(lg.TestScenario, NAMES[of.scenario]), lg.TestMode.PerformanceOnly
    enough = plan.of_a_trial if plan.bound else scenarios.Enough(plan.queries, plan.seconds, plan.most_seconds)
    found.min_query_count = max(enough.queries, LEAST)
    found.min_duration_ms, found.max_duration_ms = ceil(1e3 * enough.seconds), ceil(1e3 * enough.most_seconds)
    found.single_stream_expected_latency_ns = ceil(NANO * alone)
    found.offline_expected_qps = of.clients / alone
    if plan.bound is not None:
        found.server_target_latency_ns = ceil(1e6 * plan.bound.ms)
        found.server_target_latency_percentile = plan.bound.share
        found.server_target_qps = rate
    return found


def read(of: Configuration, log: str) -> Driven:
    """What a log says. Raises EdgexfError for one without a result."""
    lines = [json.loads(line.removeprefix(MARK)) for line in log.splitlines() if line.startswith(MARK)]
    said = {line["key"]: line["value"] for line in lines}
    rate = next((said[name] for name in RATES if name in said), None)
    if rate is None or "result_validity" not in said:
        told = "; ".join(line["value"] for line in lines if line["metadata"]["is_error"]) or "nothing"
        raise EdgexfError(f"LoadGen must end with a result, got {told} in its log; measure more --seconds.")
    ms = {
        share: said[key] / 1e6
        for share, name in SHARES.items()
        if (key := f"result_{name}_percentile_latency_ns") in said and of.scenario != scenarios.OFFLINE
    }
    count = said["result_query_count"] * (
        said["effective_samples_per_query"] if of.scenario == scenarios.OFFLINE else 1
    )
    reasons = () if said["result_validity"] == "VALID" else reasons_of(said)
    return Driven(of, count, ms, of.batch * rate, not reasons, reasons, str(said["loadgen_version"]))


def reasons_of(said: Mapping[str, Any]) -> tuple[str, ...]:
    """LoadGen's advice, and what its rule for early stopping lacks."""
    stopping = said.get("early_stopping_result", "") if said.get("early_stopping_met") is False else ""
    told = [" ".join(text.replace("*", " ").split()) for text in (said.get("result_invalid_reason", ""), stopping)]
    return tuple(filter(None, told)) or ("it gives no reason",)
