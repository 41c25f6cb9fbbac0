"""What each profile costs and gives: memory, time, processor time while requests come in; and I/O binding.

    python tests/benchmarks/profiles.py [--bundle FOLDER] [--long FOLDER]

In: a bundle with an explain graph (by default BERT of 4 layers x 768 with random weights, which takes minutes to
export), and one for 4,096 tokens (by default the reference linformer). Out: `results/profiles.md`.

Memory comes from a fresh process a profile: the proportional set size after a run of predict at 8 tokens, and what
opening explain and a run of it at 8 tokens add. Ratios of time are medians of processor time, of profiles that run in
turns in one process with one thread each, because other load on the machine distorts wall time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import edgexf
from edgexf_runtimes.device.device import machine, now
from edgexf_runtimes.device.profiles import PROFILES
from edgexf_runtimes.inputs import made
from edgexf_runtimes.session import Session

RESULT = Path(__file__).parent / "results" / "profiles.md"
SHORT, LONGEST = 8, 512
LENGTHS = (8, 32, 128, 512)
TURNS = 15
RATE, SECONDS = 20, 6  # requests a second, and for how long
PACKED = "latency"


def pss() -> float:
    """The proportional set size of this process in MiB: a page that two processes map counts half in each."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 2**10


def explain_inputs(session: Session, length: int) -> dict[str, Any]:
    inputs = made.inputs(session.path, session.manifest, length)
    return made.explained(session.manifest, session.method(None), inputs)


def child(path: str, dtype: str, profile: str) -> None:
    """Runs in a process of its own: prints the figures of a profile."""
    before = pss()
    with edgexf.load(path, dtype=dtype, profile=profile) as session:
        short = made.inputs(session.path, session.manifest, SHORT)
        session.run(short)
        predict = pss()
        session.run_explain(explain_inputs(session, SHORT))
        explain = pss()
        began, used = time.perf_counter(), time.process_time()
        for number in range(RATE * SECONDS):
            session.run(short)
            time.sleep(max(began + (number + 1) / RATE - time.perf_counter(), 0))
        share = (time.process_time() - used) / (time.perf_counter() - began)
    print(json.dumps({"predict": predict - before, "explain": explain - predict, "share": share}))


def in_turns(
    runs: dict[str, Callable[[], object]], turns: int = TURNS, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """The median time in milliseconds of each by a clock, by default of processor time, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 2):
        for name, run in runs.items():
            start = clock()
            run()
            if turn >= 2:
                times[name].append((clock() - start) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def walls(path: Path, dtype: str) -> dict[str, float]:
    """The median wall time of predict at the longest length, by profile."""
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(edgexf.load(path, dtype=dtype, profile=name)) for name in PROFILES}
        inputs = made.inputs(path, sessions[PACKED].manifest, LONGEST)
        return in_turns({name: partial(one.run, inputs) for name, one in sessions.items()}, clock=time.perf_counter)


def ratios(path: Path, dtype: str) -> list[str]:
    """The rows of the table of time: packed milliseconds, and how many times as long a run takes in place."""
    rows = []
    with (
        edgexf.load(path, dtype=dtype, profile=PACKED, threads=1) as packed,
        edgexf.load(path, dtype=dtype, profile="edge", threads=1) as edge,
    ):
        for length in LENGTHS:
            inputs, asked = made.inputs(path, packed.manifest, length), explain_inputs(packed, length)
            predict = in_turns({PACKED: partial(packed.run, inputs), "edge": partial(edge.run, inputs)})
            explain = in_turns({PACKED: partial(packed.run_explain, asked), "edge": partial(edge.run_explain, asked)})
            cells = [f"{found[PACKED]:.1f} | {found['edge'] / found[PACKED]:.2f}" for found in (predict, explain)]
            rows.append(f"| {dtype} | {length} | {' | '.join(cells)} |")
    return rows


def bound(path: Path, lengths: tuple[int, ...]) -> list[str]:
    """The rows of the table of I/O binding: outputs that ONNX Runtime writes into arrays which exist already."""
    rows = []
    with edgexf.load(path, dtype="fp32", threads=1) as session:
        graph = session.graphs.opened("predict")
        for length in lengths:
            feeds = session.checked(made.inputs(path, session.manifest, length))
            outputs = [ort.OrtValue.ortvalue_from_numpy(array.copy()) for array in graph.run(None, feeds)]

            def with_binding(feeds: Any = feeds, outputs: Any = outputs) -> None:
                binding = graph.io_binding()
                for name, array in feeds.items():
                    binding.bind_cpu_input(name, array)
                for value, output in zip(graph.get_outputs(), outputs, strict=True):
                    binding.bind_ortvalue_output(value.name, output)
                graph.run_with_iobinding(binding)

            runs = {"run": partial(graph.run, None, feeds), "bound": with_binding}
            found = in_turns(runs, 201 if length <= SHORT else 31)
            rows.append(
                f"| {session.manifest.name} | {length:,} | {found['run']:.3f} | {found['bound'] / found['run']:.3f} |"
            )
    return rows


def exported(folder: Path) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(num_hidden_layers=4, vocab_size=8000, num_labels=4)
    model = transformers.BertForSequenceClassification(config).eval()
    edgexf.export(model, explain="attnlrp", output=folder)
    edgexf.quantize(folder, mode="int8", force=True)
    return folder


def report(path: Path, long: Path) -> str:
    with edgexf.load(path, dtype="fp32") as session:
        dtypes = sorted({graph.dtype for graph in session.whole.variants})
        name, files = session.manifest.name, session.whole.files
    memory, rows = [], []
    for dtype in dtypes:
        weights = max(entry["bytes"] for file, entry in files.items() if ("quantized" in file) == (dtype != "fp32")) / (
            2**20
        )
        times = walls(path, dtype)
        for profile in PROFILES:
            command = [sys.executable, __file__, "--child", str(path), dtype, profile]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            parts = [f"{found[part]:.0f} MiB ({found[part] / weights:.2f})" for part in ("predict", "explain")]
            memory.append(
                f"| {dtype} | `{profile}` | {' | '.join(parts)} | {times[profile]:.0f} ms | {found['share']:.0%} |"
            )
            print(memory[-1], flush=True)
        rows += ratios(path, dtype)
        print(*rows, sep="\n", flush=True)
    binding = bound(path, (8, 128)) + bound(long, (8, 128, 4095))
    return f"""# Profiles

{machine()}, {now()[:10]}. `python tests/benchmarks/profiles.py` makes this file.
The model is {name} in {" and ".join(dtypes)}; by default it has 4 layers x 768 of random weights. Shares of memory are of the
weight file of the dtype.

## Memory and load

Added proportional set size: by predict after a run at 8 tokens, and by explain beside it after a run at 8 tokens. p50 is of
wall time at {LONGEST} tokens, of all profiles in turns. The share is of one processor, at {RATE} requests of 8 tokens a second.

| dtype | profile | predict | explain adds | p50 at {LONGEST} tokens | processor |
|---|---|---|---|---|---|
{chr(10).join(memory)}

## Time without packed weights

Processor time of one thread, in milliseconds with packed weights, and how many times as long a run takes that reads them in
place. `edge` does so for both graphs, `balanced` for explain.

| dtype | tokens | predict, packed | in place | explain, packed | in place |
|---|---|---|---|---|---|
{chr(10).join(rows)}

## I/O binding

Processor time of a run in milliseconds, and the share of it that a run takes whose outputs were allocated beforehand and
bound with the inputs.

| model | tokens | run | bound |
|---|---|---|---|
{chr(10).join(binding)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--long", type=Path)
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = given.bundle or exported(Path(folder) / "bert")
        long = given.long or edgexf.export(variant="linformer", output=Path(folder) / "linformer").path
        RESULT.write_text(report(path, long))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
