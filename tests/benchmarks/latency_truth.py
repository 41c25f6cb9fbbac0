"""Latency figures against what is known: no change between copies of one bundle, a plain loop, and other programs.

    python tests/benchmarks/latency_truth.py BUNDLE [--peers PYTHON] [--part pairs|loop|peers] [--output FILE]

- pairs: two copies of BUNDLE through what `edgexf compare` does, often. At most one of 20 may be anything but ``no
  difference``.
- loop: medians of `edgexf bench` beside a plain loop of `time.perf_counter` around `InferenceSession.run`, each in fresh
  processes that take turns, and who begins takes turns too. Equal processes differ by 2 to 3 %, so ten pairs know their
  median to a percent only; the interval is printed beside it.
- peers: the same graph through `benchmark_app` of the package openvino and through MLPerf's LoadGen. PYTHON is that of an
  environment with openvino, mlcommons-loadgen, onnxruntime and numpy.

The load of the machine and the share of other processes are in the results: on a busy machine they decide.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import click
import numpy as np

import edgexf
from edgexf.report.latency.changes import OF_TWO_LOOKS, compare, further
from edgexf.report.latency.measured.statistics import change
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.inputs import made
from edgexf_runtimes.measure.latency.bench import measure, measure_all
from edgexf_runtimes.measure.latency.plan import Plan

LENGTH, PAIRS, PROCESSES, ROUNDS, THREADS = 512, 20, 20, 30, 1
SECONDS = 3  # of benchmark_app and of LoadGen
LOOP = """
import sys, time
import numpy as np, onnxruntime as ort
graph, inputs, count, threads = sys.argv[1], dict(np.load(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
times = []
for _ in range(10 + count):
    start = time.perf_counter()
    session.run(None, inputs)
    times.append(1e3 * (time.perf_counter() - start))
print(sorted(times[10:])[count // 2])
"""
LOADGEN = """
import sys, tempfile
import numpy as np, onnxruntime as ort
import mlperf_loadgen as lg
graph, inputs, seconds, threads = sys.argv[1], dict(np.load(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
for _ in range(10):
    session.run(None, inputs)

def issue(samples):
    for sample in samples:
        session.run(None, inputs)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

settings = lg.TestSettings()
settings.scenario, settings.mode = lg.TestScenario.SingleStream, lg.TestMode.PerformanceOnly
settings.min_duration_ms, settings.min_query_count = 1000 * seconds, 459
target = lg.ConstructSUT(issue, lambda: None)
library = lg.ConstructQSL(1, 1, lambda _: None, lambda _: None)
output = lg.LogOutputSettings()
output.outdir = sys.argv[5]
logs = lg.LogSettings()
logs.log_output = output
lg.StartTestWithLogSettings(target, library, settings, logs)
"""


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--peers", type=click.Path(exists=True, dir_okay=False))
@click.option("--part", "parts", multiple=True, default=("pairs", "loop", "peers"))
@click.option("--pairs", "count", default=PAIRS, show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path))
def main(bundle: Path, peers: str | None, parts: tuple[str, ...], count: int, output: Path | None) -> None:
    """Measures BUNDLE, and prints the results as Markdown."""
    text = []
    if "pairs" in parts:
        text.append(of_pairs(bundle, count))
    if "loop" in parts:
        text.append(of_loop(bundle))
    if "peers" in parts and peers is not None:
        text.append(of_peers(bundle, peers))
    print("\n".join(text))
    if output is not None:
        output.write_text("\n".join(text), encoding="utf-8")


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def of_pairs(bundle: Path, count: int) -> str:
    rows, verdicts, half = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / bundle.name
        shutil.copytree(bundle, copy)
        plan = Plan([LENGTH], dtypes=["fp32"], processes=PROCESSES, queries=20 * PROCESSES)
        for number in range(count):
            old, new = measure_all([bundle, copy], plan, threads=THREADS, further=partial(further, most=3 * PROCESSES))
            (found,) = compare(old, new, confidence=OF_TWO_LOOKS).rows
            cells, others = found.cells(), old.after["others"].value
            first = change(old.rows[0].medians[: PROCESSES // 2], new.rows[0].medians[: PROCESSES // 2])
            verdicts.append(found.change.verdict)
            half.append(first.verdict)
            rows.append((str(number + 1), *cells[3:7], first.text(), f"{others:.0%}"))
            print(*rows[-1], file=sys.stderr, flush=True)
    header = ("pair", "ratio", "interval of 99.5 %", "processes", "verdict", f"the first {PROCESSES // 2}", "others")
    said = "; ".join(f"{one}: {times}" for one, times in Counter(verdicts).most_common())
    early = "; ".join(f"{one}: {times}" for one, times in Counter(half).most_common())
    return f"## The same bundle, twice\n\n{PROCESSES} processes each, and up to {3 * PROCESSES} where these can't tell: {said}. Their first {PROCESSES // 2}: {early}. {load()}.\n\n{markdown_table(header, rows)}"


def graph_and_inputs(bundle: Path, folder: Path) -> tuple[Path, Path]:
    """The fp32 predict graph, and a file of the inputs that `edgexf bench` gives it."""
    with edgexf.load(bundle, dtype="fp32") as session:
        inputs = made.inputs(bundle, session.manifest, LENGTH)
        arrays = session.checked(inputs)
        graph = bundle / session.manifest.variants[0].file
    np.savez(folder / "inputs.npz", **arrays)
    return graph, folder / "inputs.npz"


def of_loop(bundle: Path) -> str:
    ours, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        graph, inputs = graph_and_inputs(bundle, Path(folder))
        command = [sys.executable, "-c", LOOP, str(graph), str(inputs), "200", str(THREADS)]
        for number in range(ROUNDS):
            for measured in (ours, plain) if number % 2 == 0 else (plain, ours):
                if measured is ours:
                    report = measure(bundle, Plan([LENGTH], dtypes=["fp32"], processes=1, queries=200), threads=THREADS)
                    ours.append(report.rows[0].summary.median)
                else:
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    plain.append(float(done.stdout))
            print(ours[-1], plain[-1], file=sys.stderr, flush=True)
    ratios = sorted(one / other for one, other in zip(ours, plain, strict=True))
    found = change(plain, ours)
    rows = [
        ("edgexf bench", f"{median(ours):.3f}", f"{min(ours):.3f}"),
        ("plain loop", f"{median(plain):.3f}", f"{min(plain):.3f}"),
    ]
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    said = f"Of all processes against all: {found.ratio:.3f}, interval of 99 % {found.low:.3f} to {found.high:.3f}. Of neighbours in turns: median {median(ratios):.3f} of {shown}."
    return f"## A plain loop\n\nThe ratio of bench to a plain loop. {said} {load()}.\n\n{markdown_table(('of', 'median ms', 'least ms'), rows)}"


def of_peers(bundle: Path, python: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        graph, inputs = graph_and_inputs(bundle, Path(folder))
        found: dict[str, list[float]] = {}
        for _ in range(3):
            for name, ms in peers(bundle, python, graph, inputs, Path(folder)):
                found.setdefault(name, []).append(ms)
                print(name, ms, file=sys.stderr, flush=True)
    rows = [(name, f"{median(times):.3f}", ", ".join(f"{ms:.3f}" for ms in times)) for name, times in found.items()]
    return f"## Other programs\n\nThe fp32 graph of {bundle.name} at {LENGTH}, {THREADS} thread, three turns. {load()}.\n\n{markdown_table(('program', 'median ms', 'each turn'), rows)}"


def peers(bundle: Path, python: str, graph: Path, inputs: Path, folder: Path) -> Iterator[tuple[str, float]]:
    report = measure(bundle, Plan([LENGTH], dtypes=["fp32"], processes=3, queries=459, seconds=3), threads=THREADS)
    yield "edgexf bench (onnxruntime)", report.rows[0].summary.median
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    command = [python, "-c", LOADGEN, str(graph), str(inputs), str(SECONDS), str(THREADS), str(logs)]
    subprocess.run(command, capture_output=True, check=True)
    summary = (logs / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    nanoseconds = re.search(r"50.00 percentile latency \(ns\)\s*:\s*(\d+)", summary)
    yield "LoadGen, single stream (onnxruntime)", int(nanoseconds[1]) / 1e6 if nanoseconds else float("nan")
    yield "benchmark_app (openvino)", benchmark_app(python, graph, inputs)


def benchmark_app(python: str, graph: Path, inputs: Path) -> float:
    shapes = ",".join(f"{name}{list(array.shape)}".replace(" ", "") for name, array in np.load(inputs).items())
    command = [
        str(Path(python).with_name("benchmark_app")),
        "-m",
        str(graph),
        "-d",
        "CPU",
        "-hint",
        "none",
        "-api",
        "sync",
    ]
    command += [
        "-nstreams",
        "1",
        "-nthreads",
        str(THREADS),
        "-t",
        str(SECONDS),
        "-shape",
        shapes,
        "-infer_precision",
        "f32",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Median:\s*([\d.]+) ms", done.stdout)
    if found is None:
        raise SystemExit(json.dumps({"benchmark_app": (done.stdout + done.stderr)[-2000:]}))
    return float(found[1])


if __name__ == "__main__":
    main()
