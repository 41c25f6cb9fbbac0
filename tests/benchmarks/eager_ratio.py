"""Compares the latency of each exported variant with its eager PyTorch model, interleaved in one process.

    python tests/benchmarks/eager_ratio.py FOLDER_OF_BUNDLES [--length 4096] [--runs 30] [--output FILE]

FOLDER_OF_BUNDLES holds one bundle for each variant, named as the variant. Each round runs the eager model, the predict
graph, the eager explanation (forward and torch autograd) and the explain graph, in this order. Each ratio is the median
over the rounds of eager time / graph time within one round. Above 1 the exported graph is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

import edgexf
from edgexf.models.encoder import Encoder
from edgexf.models.weights import load, shipped
from edgexf.report.markdown import markdown_table
from edgexf_exporters import VARIANTS
from edgexf_runtimes.device.session_options import available_threads

WARM_UP = 3


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def eager_explanation(encoder: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    embeddings = encoder.tokens(ids).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(encoder.classify(embeddings, mask).max(-1).values.sum(), embeddings)
    return (gradient * embeddings).sum(-1)


def measure(name: str, bundle: Path, length: int, runs: int, threads: int) -> tuple[str, ...]:
    """Measures one variant and returns its row of the table."""
    encoder = load(shipped(name)).requires_grad_(False)
    array = np.random.default_rng(0).integers(0, 256, (1, length + 1))
    array[0, 0] = 257
    ids, mask = torch.from_numpy(array), torch.ones(array.shape, dtype=torch.int64)
    with edgexf.load(bundle, threads=threads) as session:

        def eager() -> torch.Tensor:
            with torch.no_grad():
                return encoder(ids, mask)

        contestants = (
            eager,
            lambda: session.run(input_ids=array),
            lambda: eager_explanation(encoder, ids, mask),
            lambda: session.run_explain(input_ids=array),
        )
        for run in contestants * WARM_UP:
            run()
        times = [[seconds(run) for run in contestants] for _ in range(runs)]
    medians = [statistics.median(row[i] for row in times) * 1e3 for i in range(4)]
    ratios = [statistics.median(row[i] / row[i + 1] for row in times) for i in (0, 2)]
    return (
        name,
        *(f"{median:.1f}" for median in medians[:2]),
        f"{ratios[0]:.2f}",
        *(f"{median:.1f}" for median in medians[2:]),
        f"{ratios[1]:.2f}",
    )


@click.command()
@click.argument("bundles", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--length", default=4096, show_default=True, help="Bytes.")
@click.option("--runs", default=30, show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table here.")
def main(bundles: Path, length: int, runs: int, output: Path | None) -> None:
    """Measure every variant in turn and print a Markdown table."""
    threads = available_threads()
    torch.set_num_threads(threads)
    header = (
        "variant",
        "eager ms",
        "predict ms",
        "eager / predict",
        "eager autograd ms",
        "explain ms",
        "autograd / explain",
    )
    table = markdown_table(
        header,
        [
            measure(variant.name, bundles / variant.name, length, runs, threads)
            for variant in VARIANTS
            if variant.reference
        ],
    )
    text = f"{length:,} bytes, batch 1, {threads} threads, {runs} interleaved runs, medians; ratios above 1: the graph is faster.\n\n{table}"
    print(text)
    if output is not None:
        output.write_text(text)


if __name__ == "__main__":
    main()
