"""The time of each task at 128 tokens: edgexf beside the pipelines of transformers and of optimum's ORTModel.

    python tests/benchmarks/task_times.py --reference-python PYTHON [--count 60] [--models FOLDER]

A worker process for each environment answers requests over pipes, one at a time, and takes the time itself. The workers
take turns with the same inputs, in an order drawn for each input. Before each turn all rest, since idle threads of ONNX
Runtime spin for about 30 ms after a run, and would take a processor from the next worker. The first request after a rest
takes up to twice as long, so a worker answers each input twice, and the second time counts. edgexf is measured twice: in its default profile, where idle
threads sleep, and in profile `latency`, where they spin as those of optimum's session do.

`--reference-python` is a Python of an environment with ``pip install
"optimum-onnx[onnxruntime]==0.1.0" "transformers==4.57.*" "torch>=2.13,<2.14"``: it runs optimum's pipelines on the bundle's
own ONNX files, and question answering of transformers, which transformers 5 has taken out. Results go to
results/task_times.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import real_texts
from tasks import LABELS, QA, Pipeline, bundle_of

from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

TOKENS = 128
WARM = 5  # requests before any is counted
REST = 0.05  # seconds before each turn
RESULTS = Path(__file__).parent / "results" / "task_times.md"
WORKER = Path(__file__).with_name("task_worker.py")
CASES = (
    ("single-label", "text-classification", {}),
    ("entities", "token-classification", {"aggregation_strategy": "simple"}),
    ("answers", QA, {}),
    ("words", "fill-mask", {}),
    ("entailment", "zero-shot-classification", {"candidate_labels": LABELS}),
    ("features", "feature-extraction", {}),
)


def request(task: str, text: str) -> tuple[list[Any], dict[str, Any]]:
    if task == QA:
        return [], {"question": "What is it about?", "context": text}
    return [f"{text} [MASK]" if task == "fill-mask" else text], {}


def of_length(count: int, bundle: Path, extra: int) -> list[str]:
    """Texts that have 128 tokens together with `extra` ones, special tokens included, or at most one less."""
    import edgexf

    with edgexf.load(bundle) as session:
        found = []
        for document in real_texts.documents(count, 8):
            (window,) = session.tokenizer.encode(document, truncate=True)
            end = window.places.spans[min(TOKENS - extra, len(window.ids) - 1) - 2, 1]
            found.append(document[:end])
    return found


def ratios(ours: list[float], theirs: list[float]) -> str:
    """The median ratio of paired times, and its quartiles."""
    found = [other / own for own, other in zip(ours, theirs, strict=True)]
    low, high = np.quantile(found, [0.25, 0.75])
    return f"{statistics.median(found):.2f} ({low:.2f} to {high:.2f})"


def row(model: str, task: str, options: dict[str, Any], old: str, models: Path, count: int) -> list[str]:
    bundle, checkpoint = bundle_of(model, models), models / model
    texts = of_length(count, bundle, {QA: 9, "fill-mask": 3, "zero-shot-classification": 8}.get(task, 2))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(closing(Pipeline(python, task, path, child=WORKER, kind=kind)))
            for python, path, kind in (
                (sys.executable, bundle, "edgexf"),
                (sys.executable, bundle, "edgexf latency"),
                (old if task == QA else sys.executable, checkpoint, "transformers"),
                (old, bundle, "optimum"),
            )
        ]
        times: list[list[float]] = [[] for _ in workers]
        orders = np.random.default_rng(0)
        for turn, text in enumerate([*texts[:WARM], *texts]):
            args, kwargs = request(task, text)
            for place in orders.permutation(len(workers)).tolist():
                time.sleep(REST)
                workers[place](args, {**kwargs, **options})
                seconds, _ = workers[place](args, {**kwargs, **options})
                if turn >= WARM:
                    times[place].append(seconds)
        versions = [worker.versions for worker in workers]
    own, latency, eager, optimum = times
    return [
        task, f"{statistics.median(own) * 1e3:.1f}", ratios(own, eager), ratios(own, optimum), ratios(latency, eager),
        ratios(latency, optimum), versions[2]["version"], versions[3]["version"],
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reference-python", required=True)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--models", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        models, rows = chosen.models or Path(made), []
        models.mkdir(exist_ok=True)
        for model, task, options in CASES:
            rows.append(row(model, task, options, chosen.reference_python, models, chosen.count))
            print(" | ".join(rows[-1]), flush=True)
    header = [
        "task", "edgexf ms", "transformers / edgexf", "optimum's pipeline / edgexf", "transformers / edgexf, latency",
        "optimum's pipeline / edgexf, latency", "transformers", "optimum's onnxruntime",
    ]  # fmt: skip
    RESULTS.write_text(
        f"# Time of each task at {TOKENS} tokens\n\n"
        f"`python tests/benchmarks/task_times.py --reference-python PYTHON --count {chosen.count}` on {machine()}. Six layers of width\n"
        "384 (all-MiniLM-L6-v2), float32, two threads in every worker. Median of paired ratios, with quartiles.\n\n"
        + markdown_table(header, rows)
    )


if __name__ == "__main__":
    main()
