"""Measures what edgexf adds to onnxruntime: around a run, at import, and from a cold start.

    python tests/benchmarks/overhead.py BUNDLE          # a bundle of edgexf.export(variant="linformer")

Writes results/overhead.md.

- Around a run: `InferenceSession.run` is wrapped by a clock; the rest of `Session.run` is the overhead. Beside it, in the
  same process and just as often behind a run, a validator of ten lines makes the same checks as plain numpy.
- Import: processor time of ``import edgexf_runtimes`` after ``import onnxruntime``, each in fresh processes. It is that of the
  thread, because a thread that numpy's OpenBLAS has started spins for its first milliseconds where a processor is free.
- Cold start: ``python -m edgexf run BUNDLE FILE`` beside a script of ten lines of onnxruntime, in turn, with a warm page
  cache. With ``--verify once --cache FOLDER``, an earlier process has hashed the files of the bundle; with ``always``, each
  process hashes them, and the time of hashing is given alone. Ratios are those without it.

Each figure is a median. Processor time is given beside time where other processes may disturb.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import edgexf
from edgexf import bundle
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

RESULTS = Path(__file__).parent / "results" / "overhead.md"
LENGTHS = {8: 4_000, 128: 1_500, 512: 300, 4096: 60}  # and how often each is run
STARTS = 11
COLD = ["cold start", "ms", "ms of processor time", "of it, ms of hashing", "ratio", "ratio of processor time"]
BARE_NAME = "onnxruntime, ten lines"
IMPORTS = 21
BARE = """
import sys
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1] + "/onnx/model.onnx", options, providers=["CPUExecutionProvider"])
data = np.frombuffer(open(sys.argv[2], "rb").read(), dtype=np.uint8)
ids = np.concatenate(([257], data), dtype=np.int64)[None]
print(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0].tolist())
"""
IMPORT = (
    "import time, onnxruntime; start = time.thread_time(); import edgexf_runtimes; print(time.thread_time() - start)"
)


class Clocked:
    """A session of onnxruntime that keeps the seconds of its last run."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def run(self, *arguments: Any) -> Any:
        start = time.perf_counter()
        found = self.session.run(*arguments)
        self.seconds = time.perf_counter() - start
        return found


def validate(ids: Any, mask: Any, vocab: int, least: int, most: int) -> None:
    """The checks of a session on ids and a mask, as one would write them."""
    if ids.dtype != np.int64 or mask.dtype != np.int64 or ids.ndim != 2 or ids.shape != mask.shape:
        raise ValueError("dtype or shape")
    if len(ids) == 0 or not least <= ids.shape[1] <= most:
        raise ValueError("length")
    if ids.min() < 0 or ids.max() >= vocab:
        raise ValueError("ids")
    if mask.min() < 0 or mask.max() > 1 or (mask[:, 1:] > mask[:, :-1]).any():
        raise ValueError("mask")
    if not mask.any(axis=1).all():
        raise ValueError("empty row")


def around_a_run(path: Path) -> list[list[str]]:
    rows = []
    with edgexf.load(path, threads=1) as session:
        limits, graphs = session.manifest.limits, session.graphs
        plain, outputs = graphs._open["predict"]
        clocked: Any = Clocked(plain)
        for length, times in LENGTHS.items():
            ids = np.random.default_rng(length).integers(0, limits.vocab, (1, length))
            mask, ours, theirs = np.ones_like(ids), [], []
            graphs._open["predict"] = clocked, outputs
            for _ in range(times):
                start = time.perf_counter()
                session.run(input_ids=ids, attention_mask=mask)
                ours.append(time.perf_counter() - start - clocked.seconds)
                plain.run(outputs, {"input_ids": ids, "attention_mask": mask})
                start = time.perf_counter()
                validate(ids, mask, limits.vocab, limits.min_length, limits.max_length)
                theirs.append(time.perf_counter() - start)
            graphs._open["predict"] = plain, outputs
            one, other = (1e6 * median(seconds) for seconds in (ours, theirs))
            rows.append([f"{length:,}", f"{one:.1f}", f"{other:.1f}", f"{one / other:.2f}", f"{1e6 * min(ours):.1f}"])
    return rows


def environment() -> dict[str, str]:
    """Lets Python keep what it compiled, as an installed package has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def at_import() -> float:
    """Milliseconds of processor time of the importing thread."""
    command = [sys.executable, "-c", IMPORT]
    found = [
        float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout)
        for _ in range(1 + IMPORTS)
    ]
    return 1e3 * median(found[1:])


def spent(command: list[str]) -> tuple[float, float]:
    """The time and the processor time of a command, in milliseconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=environment())
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * seconds, 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def from_cold(path: Path) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        script, text = Path(folder, "bare.py"), Path(folder, "input.txt")
        script.write_text(BARE)
        text.write_text("SELECT name FROM pets;\n")
        ours, once = [sys.executable, "-m", "edgexf", "run", str(path), str(text)], ["--verify", "once", "--cache"]
        commands = {
            BARE_NAME: [sys.executable, str(script), str(path), str(text)],
            "edgexf run --verify once, remembered": [*ours, *once, str(Path(folder, "cache"))],
            "edgexf run --verify always": [*ours, "--verify", "always"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(1 + STARTS):  # the first fills the page cache, and remembers the hashes
            for name, command in commands.items():
                cost = spent(command)
                if turn:
                    found[name].append(cost)
    hashing = took(lambda: bundle.read(path)) - took(lambda: bundle.read(path, verify=False))
    spare = {name: hashing if name.endswith("always") else 0.0 for name in commands}
    middle = {name: [median(column) for column in zip(*costs, strict=True)] for name, costs in found.items()}
    rows = []
    for name, costs in middle.items():
        ratios = [(one - spare[name]) / other for one, other in zip(costs, middle[BARE_NAME], strict=True)]
        rows.append(
            [name, *(f"{value:.0f}" for value in costs), f"{spare[name]:.1f}", *(f"{one:.2f}" for one in ratios)]
        )
    return rows


def took(work: Callable[[], object]) -> float:
    """The median of a few calls in milliseconds of processor time."""
    found = []
    for _ in range(STARTS):
        start = time.process_time()
        work()
        found.append(1e3 * (time.process_time() - start))
    return median(found)


def main(path: Path) -> None:
    run = markdown_table(["tokens", "around a run, us", "validator, us", "ratio", "least, us"], around_a_run(path))
    cold = markdown_table(COLD, from_cold(path))
    text = (
        f"# Overhead\n\n`python tests/benchmarks/overhead.py BUNDLE` on {machine()}; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.\n\n{run}\n\n"
        f"`import edgexf_runtimes` after `import onnxruntime`: {at_import():.0f} ms of processor time.\n\n{cold}\n"
    )
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
