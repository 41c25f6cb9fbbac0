"""How the time and the memory of a run grow with length, for the efficient families of `speed.py`.

    python tests/benchmarks/growth.py --bundles FOLDER [--models hf-longformer,hf-bigbird] [--layers 4] [--write]

In: a folder that `speed.py --prepare` wrote. Out: a table, with `--write` also in `results/growth.md`.

    seconds    processor time of one run with one thread, the smallest of `RUNS`
    MB         the most resident memory during a run, over that of the loaded model before its first run
    exponent   x in time ~ length ** x, or memory ~ length ** x, between this length and the one before

Each length has a process of its own. A graph runs at lengths that its model takes, also beyond those that its export was asked
to verify. The memory of the packed weights counts as the model's. ModernBERT is no family of this table: every third of its layers has
full attention.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.contest.growth import slope
from benchmarks.contest.models import MODELS
from benchmarks.contest.prepared import folder_of

from edgexf import names
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

RESULT = Path(__file__).parent / "results" / "growth.md"
LENGTHS, RUNS = (1024, 2048, 4096, 8192, 16384), 2
DEFAULT = "hf-longformer,hf-bigbird,hf-reformer,hf-nystromformer"
RUN = f"""
import json, sys, time
import numpy as np, onnxruntime as ort
from pathlib import Path
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import run_options, session_options

session = ort.InferenceSession(sys.argv[1], session_options(Settings(threads=1)), providers=["CPUExecutionProvider"])

def run(length):
    ids = np.random.default_rng(length).integers(5, 1000, (1, length))
    given = {{"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}}
    given["global_attention_mask"] = (np.arange(length) == 0).astype(np.int64)[None]
    feeds = {{value.name: given[value.name] for value in session.get_inputs()}}
    start = time.process_time()
    session.run(None, feeds, run_options(length, "CPUExecutionProvider"))
    return time.process_time() - start

def memory(kind):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) * 1024

Path("/proc/self/clear_refs").write_text("5")  # the most from now on: loading had its own
loaded = memory("VmRSS")
seconds = min(run(int(sys.argv[2])) for _ in range({RUNS}))
print(json.dumps([seconds, memory("VmHWM") - loaded]))
"""


def measured(graph: Path, length: int) -> tuple[float, float]:
    """Seconds, and bytes over those of the loaded model."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(graph), str(length)], capture_output=True, text=True, check=True
    )
    seconds, more = json.loads(done.stdout)
    return seconds, more


def rows_of(name: str, layers: int, graph: Path) -> list[list[str]]:
    most = longest(MODELS[name].make(1))
    seconds, more = dict[int, float](), dict[int, float]()
    rows = []
    for length in (length for length in LENGTHS if length <= most):
        seconds[length], more[length] = measured(graph, length)
        click.echo(f"{name} at {length}: {seconds[length]:.2f} s, {more[length] / 1e6:.0f} MB", err=True)
        last = sorted(seconds)[-2:]
        of_time, of_memory = (exponent(values, last) for values in (seconds, more))
        rows.append(
            [
                name,
                str(layers),
                f"{length:,}",
                f"{seconds[length]:.2f}",
                of_time,
                f"{more[length] / 1e6:,.0f}",
                of_memory,
            ]
        )
    both = [exponent(values, sorted(seconds)) for values in (seconds, more)]
    return [*rows, [name, str(layers), f"{min(seconds):,} to {max(seconds):,}", "", both[0], "", both[1]]]


def exponent(values: dict[int, float], lengths: list[int]) -> str:
    if len(lengths) < 2:
        return "-"
    return f"{slope('', 0, {length: values[length] for length in lengths}).exponent:.2f}"


def longest(model: Any) -> int:
    """The most tokens of a model. Positions of some families begin behind the padding id."""
    padding = model.config.pad_token_id or 0
    return int(model.config.max_position_embeddings) - (padding + 1 if model.config.model_type == "longformer" else 0)


@click.command()
@click.option("--bundles", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--models", default=DEFAULT, show_default=True)
@click.option("--layers", default=4, show_default=True)
@click.option("--write", is_flag=True, help="Write results/growth.md too.")
def main(bundles: Path, models: str, layers: int, write: bool) -> None:
    """Measure, print and write a table."""
    rows: list[list[str]] = []
    for name in models.split(","):
        graph = folder_of(bundles, MODELS[name], layers) / names.PREDICT_FILE
        rows += rows_of(name, layers, graph)
    header = ("model", "layers", "length", "seconds", "exponent", "MB", "exponent")
    text = f"# Growth\n\n`python tests/benchmarks/growth.py --bundles FOLDER --models {models} --layers {layers}`; one thread; {machine()}\n\n{markdown_table(header, rows)}"
    if write:
        RESULT.write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
