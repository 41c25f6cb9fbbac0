"""Latency, load time and memory of a bundle on this device.

In: a bundle, lengths in bytes, and explanation methods. Out: a `LatencyReport`, a row for each length of the predict graph
and of each method's. Rows are measured in turns, so that a busy
neighbour slows all of them and not one. Load time and memory come from fresh processes, one a row,
since neither can be seen in a process that has already loaded or grown.

A percentile is printed only with enough runs for a 99 % upper bound of it: 44 for the 90th
(1 - 0.9^44 = 0.99).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.golden import read
from edgexf.bundle.preprocess import Bytes
from edgexf.bundle.signature import Signature
from edgexf.dtypes import FP32
from edgexf.errors import EdgexfError, UsageError
from edgexf.report.latency import LatencyReport, LengthLatency
from edgexf_runtimes.device.device import describe
from edgexf_runtimes.device.providers import available_threads
from edgexf_runtimes.inputs.preprocess import Raw, Tokens, encode
from edgexf_runtimes.predictor import PREDICT
from edgexf_runtimes.session import Session, load

RUNS = 50
RUNS_FOR_P90 = 44
SECONDS = 30.0  # a length that takes longer than this for all its runs gets fewer
FEWEST_RUNS = 5
WARM_UP = 3
CHOICES = 2
PATH_STEPS = 8  # of integrated gradients
LOADS = 5  # fresh processes at least

STATUS = Path("/proc/self/status")
CHILD = "import sys; from edgexf_runtimes.measure.bench import child; child(*sys.argv[1:])"
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Case:
    """A graph, ``predict`` or an explanation's by its method, and a length."""

    graph: str
    length: int


def parse_lengths(text: str) -> list[int]:
    """Lengths in bytes from ``128,512``; UsageError for anything else."""
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
    """int64 [1, tokens], the same ones each time: latency does not depend on them, nor on which tokens are global. Of
    two choices for a model that chooses; a decoder has written as many tokens as it may, up to the input's length.

    `length` is in bytes, with the class token before them, where the model reads bytes, and in tokens elsewhere.
    """
    if session.manifest.signature is not None:
        return own_inputs(session, session.manifest.signature, length)
    ids, manifest = random_ids(session, length), session.manifest
    inputs = {names.INPUT_IDS: ids}
    if manifest.globals is not None:
        inputs[names.GLOBAL_ATTENTION_MASK] = (np.arange(ids.shape[1]) == 0).astype(np.int64)[None]
    if names.CHOICES in manifest.variants[0].inputs[0].shape:
        inputs = {name: np.repeat(array[:, None], CHOICES, axis=1) for name, array in inputs.items()}
    if manifest.decoder is not None:
        inputs[names.DECODER_INPUT_IDS] = ids[:, : manifest.decoder.max_length]
    return inputs


def own_inputs(session: Session, signature: Signature, length: int) -> dict[str, npt.NDArray[Any]]:
    """One sample of golden inputs, repeated to the `length` along all other axes: values of a kind that the module knows."""
    cell = next(iter(read(session.path / names.GOLDEN_FILE).values()))
    found = {}
    for tensor in session.manifest.variants[0].inputs:
        array = cell[tensor.name]
        for place, axis in enumerate(tensor.shape):
            if isinstance(axis, str):
                most = signature.axis(axis).most // signature.axis(axis).step * signature.axis(axis).step
                size = max(signature.axis(axis).least, 1) if axis == signature.samples else min(length, most)
                array = array.take(np.arange(size), axis=place, mode="wrap")
        found[tensor.name] = array
    return found


def random_ids(session: Session, length: int) -> Tokens:
    manifest, chance = session.manifest, np.random.default_rng(length)
    if not isinstance(manifest.preprocess, Bytes):
        return chance.integers(0, manifest.limits.vocab, (1, length))
    return encode(Raw("", chance.integers(0, 256, length, dtype=np.uint8).tobytes(), False), manifest.preprocess).ids[
        None
    ]


def longest(session: Session) -> int:
    """The greatest length, counted as in `random_inputs`."""
    manifest = session.manifest
    return manifest.preprocess.max_bytes if isinstance(manifest.preprocess, Bytes) else manifest.limits.max_length


def feeds(session: Session, case: Case) -> dict[str, npt.NDArray[Any]]:
    """Inputs of a graph: for an explanation of what the model predicts, at the first position where it has several."""
    inputs = random_inputs(session, case.length)
    if case.graph == PREDICT:
        return inputs
    ids = next(iter(inputs.values()))
    given = {
        names.POSITION: np.zeros(len(ids), dtype=np.int64),
        names.BASELINE: ids,
        names.PATH: ((np.arange(PATH_STEPS) + 0.5) / PATH_STEPS).astype(np.float32),
    }
    taken = {tensor.name for tensor in session.manifest.targets(case.graph)}
    return {**inputs, **{name: array for name, array in given.items() if name in taken}}


def run(session: Session, case: Case, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    if case.graph == PREDICT:
        session.run(**inputs)
    else:
        session.run_explain(method=case.graph, **inputs)


def measure(
    path: Path,
    lengths: Sequence[int],
    threads: int | None,
    advance: Advance = lambda _: None,
    methods: Sequence[str] = (),
    dtype: str = "auto",
) -> LatencyReport:
    """Measures the bundle; `advance` is told of each run. UsageError for a length over the bundle's limit, and for a method
    that it does not hold.
    """
    with load(path, dtype=dtype, threads=threads) as session:
        most = longest(session)
        if max(lengths) > most:
            raise UsageError(
                f"lengths must be at most the bundle's {most}, got {max(lengths)}; leave the longer ones out."
            )
        graphs = (PREDICT, *dict.fromkeys(map(session.method, methods)))
        cases = [Case(graph, length) for graph in graphs for length in lengths]
        dtype = session.dtype
        fresh = [fresh_process(path, case, dtype, threads) for case in cases]
        loads = [load_ms for load_ms, _ in fresh]
        loads += [fresh_process(path, cases[0], dtype, threads)[0] for _ in range(LOADS - len(loads))]
        times = in_turns(session, cases, advance)
        name = session.manifest.name + ("" if dtype == FP32 else f" in {dtype}")
    facts = {key: value if isinstance(value, str) else ", ".join(value) for key, value in describe().items()}
    rows = tuple(summary(case, times[case], peak) for case, (_, peak) in zip(cases, fresh, strict=True))
    return LatencyReport(name, threads or available_threads(), facts, float(np.median(loads)), len(loads), rows)


def in_turns(session: Session, cases: Sequence[Case], advance: Advance) -> dict[Case, list[float]]:
    """Seconds of each run by case; one run of each case a turn."""
    inputs = {case: feeds(session, case) for case in cases}
    for case, given in inputs.items():
        for _ in range(WARM_UP):
            run(session, case, given)
    times: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(RUNS):
        for case, given in inputs.items():
            if len(times[case]) < FEWEST_RUNS or sum(times[case]) < SECONDS:
                start = time.perf_counter()
                run(session, case, given)
                times[case].append(time.perf_counter() - start)
                advance(1)
    return times


def summary(case: Case, seconds: Sequence[float], peak_mib: float) -> LengthLatency:
    p50, p90 = np.percentile(seconds, [50, 90]) * 1e3
    return LengthLatency(
        graph=case.graph,
        length=case.length,
        runs=len(seconds),
        p50_ms=float(p50),
        p90_ms=float(p90) if len(seconds) >= RUNS_FOR_P90 else None,
        tokens_per_second=(case.length + 1) / (float(p50) / 1e3),
        peak_mib=peak_mib,
    )


def fresh_process(path: Path, case: Case, dtype: str, threads: int | None) -> tuple[float, float]:
    """Milliseconds to load the bundle and MiB of resident memory at the peak, in a process of its own."""
    command = [sys.executable, "-P", "-c", CHILD, str(path), case.graph, str(case.length), dtype, str(threads or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own interpreter and arguments)
    if done.returncode != 0:
        raise EdgexfError(
            f"a fresh process must load the bundle and run it, got exit code {done.returncode}: {done.stderr.strip()[-300:]}."
        )
    found = json.loads(done.stdout)
    return found["load_ms"], found["peak_mib"]


def peak_mib() -> float:
    """MiB of resident memory at this process's peak.

    The kernel's own figure for the address space comes first: `getrusage` starts from the parent's peak.
    """
    if STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found.group(1)) / 2**10
    import resource  # Unix alone has it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def child(path: str, graph: str, length: str, dtype: str, threads: str) -> None:
    """What `fresh_process` starts: loads, runs, and prints its figures."""
    case, start = Case(graph, int(length)), time.perf_counter()
    with load(path, dtype=dtype, threads=int(threads) or None) as session:
        load_ms = (time.perf_counter() - start) * 1e3
        for _ in range(WARM_UP):
            run(session, case, feeds(session, case))
    peak = peak_mib()
    print(json.dumps({"load_ms": load_ms, "peak_mib": peak}))  # noqa: T201 (the parent reads it)
