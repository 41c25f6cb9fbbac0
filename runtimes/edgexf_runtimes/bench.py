"""Latency, load time and memory of a bundle on this device.

In: a bundle and lengths in bytes. Out: a `LatencyReport`. Lengths are measured in turns, so that a busy
neighbour slows all of them and not one. Load time and memory come from fresh processes, one a length,
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import EdgexfError, UsageError
from edgexf.golden import read
from edgexf.manifest import Bytes
from edgexf.report import LatencyReport, LengthLatency
from edgexf.signature import Signature
from edgexf_runtimes.device import describe
from edgexf_runtimes.preprocess import Raw, Tokens, encode
from edgexf_runtimes.providers import available_threads
from edgexf_runtimes.session import Session, load

RUNS = 50
RUNS_FOR_P90 = 44
SECONDS = 30.0  # a length that takes longer than this for all its runs gets fewer
FEWEST_RUNS = 5
WARM_UP = 3
CHOICES = 2
LOADS = 5  # fresh processes at least

STATUS = Path("/proc/self/status")
CHILD = "import sys; from edgexf_runtimes.bench import child; child(*sys.argv[1:])"
Advance = Callable[[int], None]


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


def measure(
    path: Path, lengths: Sequence[int], threads: int | None, advance: Advance = lambda _: None
) -> LatencyReport:
    """Measures the bundle; `advance` is told of each run. UsageError for a length over the bundle's limit."""
    with load(path, threads=threads) as session:
        most = longest(session)
        if max(lengths) > most:
            raise UsageError(
                f"lengths must be at most the bundle's {most}, got {max(lengths)}; leave the longer ones out."
            )
        fresh = [fresh_process(path, length, threads) for length in lengths]
        loads = [load_ms for load_ms, _ in fresh]
        loads += [fresh_process(path, lengths[0], threads)[0] for _ in range(LOADS - len(loads))]
        times = in_turns(session, lengths, advance)
        name = session.manifest.name
    facts = {key: value if isinstance(value, str) else ", ".join(value) for key, value in describe().items()}
    rows = tuple(summary(length, times[length], peak) for length, (_, peak) in zip(lengths, fresh, strict=True))
    return LatencyReport(name, threads or available_threads(), facts, float(np.median(loads)), len(loads), rows)


def in_turns(session: Session, lengths: Sequence[int], advance: Advance) -> dict[int, list[float]]:
    """Seconds of each run by length; one run of each length a turn."""
    inputs = {length: random_inputs(session, length) for length in lengths}
    for given in inputs.values():
        for _ in range(WARM_UP):
            session.run(**given)
    times: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(RUNS):
        for length, given in inputs.items():
            if len(times[length]) < FEWEST_RUNS or sum(times[length]) < SECONDS:
                start = time.perf_counter()
                session.run(**given)
                times[length].append(time.perf_counter() - start)
                advance(1)
    return times


def summary(length: int, seconds: Sequence[float], peak_mib: float) -> LengthLatency:
    p50, p90 = np.percentile(seconds, [50, 90]) * 1e3
    return LengthLatency(
        length=length,
        runs=len(seconds),
        p50_ms=float(p50),
        p90_ms=float(p90) if len(seconds) >= RUNS_FOR_P90 else None,
        tokens_per_second=(length + 1) / (float(p50) / 1e3),
        peak_mib=peak_mib,
    )


def fresh_process(path: Path, length: int, threads: int | None) -> tuple[float, float]:
    """Milliseconds to load the bundle and MiB of resident memory at the peak, in a process of its own."""
    command = [sys.executable, "-P", "-c", CHILD, str(path), str(length), str(threads or 0)]
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


def child(path: str, length: str, threads: str) -> None:
    """What `fresh_process` starts: loads, runs, and prints its figures."""
    start = time.perf_counter()
    with load(path, threads=int(threads) or None) as session:
        load_ms = (time.perf_counter() - start) * 1e3
        for _ in range(WARM_UP):
            session.run(**random_inputs(session, int(length)))
    peak = peak_mib()
    print(json.dumps({"load_ms": load_ms, "peak_mib": peak}))  # noqa: T201 (the parent reads it)
