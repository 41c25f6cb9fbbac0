"""A provider other than cpu, for real: placement, agreement with the eager model, and time beside the cpu provider.

    python tests/benchmarks/providers.py openvino BUNDLE... [--lengths 128,512,4096] [--runs 30]

In an environment whose onnxruntime has the provider, such as onnxruntime-openvino in place of onnxruntime, or beside
onnxruntime with a plugin library. Neither torch nor onnx is needed. Both sessions run in turn in one process, with the same
number of threads; a ratio is the median of the ratios of neighbours, so that a busy machine slows both. Prints Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

import edgexf
from edgexf.errors import EdgexfError
from edgexf_runtimes import Session
from edgexf_runtimes.device.device import cpu_info, installed
from edgexf_runtimes.device.distributions import installed_packages
from edgexf_runtimes.golden import cells_of, compared, inputs_of

PLUGINS = {"openvino": "onnxruntime-ep-openvino", "webgpu": "onnxruntime-ep-webgpu"}


def ratios(one: Session, other: Session, length: int, runs: int, method: str) -> tuple[float, float, float]:
    """The median of `one`'s time over `other`'s at a length, and its quartiles."""
    ids = np.random.default_rng(length).integers(0, 256, (1, length))
    ids[:, 0] = 257
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def timed(session: Session) -> float:
        start = time.perf_counter()
        session.run(feeds) if method == "predict" else session.run_explain(feeds, method=method)
        return time.perf_counter() - start

    for session in (one, other, one, other):
        timed(session)
    found = [timed(one) / timed(other) for _ in range(runs)]
    low, middle, high = statistics.quantiles(found, n=4)
    return middle, low, high


def shares(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("provider")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--lengths", default="128,512,4096")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    plugin = PLUGINS.get(asked.provider, "")
    also = f", {plugin} {installed(plugin)}" if plugin and installed(plugin) != "not installed" else ""
    print(
        f"{cpu_info('model name')}, {' and '.join(installed_packages())} {ort.__version__}{also}, {asked.threads} threads, fp32.\n"
    )
    lengths = [int(length) for length in asked.lengths.split(",")]
    print(
        "| bundle | graph | nodes | time | worst golden difference | " + " | ".join(f"x{n:,}" for n in lengths) + " |"
    )
    print("|---|---|---|---|---:|" + "---:|" * len(lengths))
    for path in asked.bundles:
        with (
            edgexf.load(path, "fp32", asked.threads, asked.provider) as there,
            edgexf.load(path, "fp32", asked.threads, "cpu") as cpu,
        ):
            for method in ("predict", *there.manifest.methods):
                try:
                    print(row(there, cpu, method, lengths, asked.runs), flush=True)
                except EdgexfError as error:
                    print(f"| {path.name} | {method} | {' '.join(str(error).split())} |", flush=True)


def row(there: Session, cpu: Session, method: str, lengths: list[int], runs: int) -> str:
    placed = there.placement(method)
    cells = [ratios(there, cpu, length, runs, method) for length in lengths]
    figures = [f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in cells]
    parts = [
        there.path.name,
        method,
        shares(placed.nodes),
        shares(placed.time),
        f"{worst(there, method):.1e}",
        *figures,
    ]
    return f"| {' | '.join(parts)} |"


def worst(session: Session, method: str) -> float:
    """The largest difference of a graph from the eager model, over all golden cells."""
    graph, found = session.manifest.graph(method, session.dtype), []
    for cell, tensors in cells_of(session.path, session.whole).items():
        feeds = inputs_of(graph, tensors)
        answer = session.run(feeds) if method == "predict" else session.run_explain(feeds, method=method)
        found.append(compared(session.manifest, graph, cell, tensors, answer).worst)
    return max(found)


if __name__ == "__main__":
    main()
