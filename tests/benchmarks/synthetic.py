"""Measures how often each method finds the decisive tokens, on tasks where they are known, for all four attentions.

    python tests/benchmarks/synthetic.py --output tests/benchmarks/results

`tests/synthetic.py` defines the tasks, the models and the measure: the precision of the most relevant tokens. It is
measured on 400 rows for three seeds. Relevance comes from the untouched eager model under each method's rules. Every
export compares its graphs with the same eager relevance. `tests/exporters/explain/test_faithfulness.py` demands a
precision of 0.95 from the graph of the model with full attention.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from rich.progress import track

from edgexf import names
from edgexf.models.encoder import Encoder
from edgexf.report.markdown import markdown_table
from edgexf.spec import (
    AttentionSpec,
    FullAttentionSpec,
    HashedAttentionSpec,
    ProjectedAttentionSpec,
    WindowedAttentionSpec,
)
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.hooks import frozen
from edgexf_exporters.sources.reference import from_encoder
from edgexf_exporters.verify.eager import eager

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import DECISIVE, Rows, precision, telling, train

SEEDS = (0, 1, 2)
ROWS = 400
ATTENTIONS: dict[str, AttentionSpec] = {
    "transformer": FullAttentionSpec(),
    "longformer": WindowedAttentionSpec(window=8),
    "reformer": HashedAttentionSpec(buckets=4, rounds=2, chunk=8),
    "linformer": ProjectedAttentionSpec(rank=8),
}


def methods_for(encoder: Encoder) -> list[str]:
    """Returns the methods that compile for the encoder's attention and need one run, so no path methods."""
    attends = bool(from_encoder(encoder).mixing)
    return [name for name, method in METHODS.items() if not method.path and (attends or not method.attends)]


def scores(encoder: Encoder, rows: Rows, method: str) -> np.ndarray:
    """Returns the relevance of the right label, float32 [rows, tokens]."""
    target = np.eye(len(encoder.spec.labels), dtype=np.float32)[rows.labels]
    feeds = {names.INPUT_IDS: rows.ids, names.ATTENTION_MASK: np.ones_like(rows.ids), names.TARGET: target}
    with frozen(encoder):
        return eager(from_encoder(encoder), feeds, (method,))[names.RELEVANCE]


def right(encoder: Encoder, rows: Rows) -> float:
    """Returns the share of rows for which the model predicts the right label."""
    ids = torch.from_numpy(rows.ids)
    with torch.no_grad():
        return float((encoder(ids, torch.ones_like(ids)).argmax(-1).numpy() == rows.labels).mean())


def measured(name: str, task: str) -> list[tuple[str, ...]]:
    """Returns a line with the accuracy of the models, and a line for each method with the precision of each seed."""
    rows = telling(task, ROWS, seed=1_000)
    encoders = [train(task, ATTENTIONS[name], seed) for seed in SEEDS]
    lines = [(name, task, "the model is right", *(f"{right(encoder, rows):.3f}" for encoder in encoders))]
    for method in methods_for(encoders[0]):
        found = [precision(scores(encoder, rows, method), rows, DECISIVE[task]) for encoder in encoders]
        lines.append((name, task, method, *(f"{value:.3f}" for value in found)))
    guesses = [np.random.default_rng(seed).random(rows.ids.shape).astype(np.float32) for seed in SEEDS]
    return [*lines, (name, task, "random", *(f"{precision(guess, rows, DECISIVE[task]):.3f}" for guess in guesses))]


def table(lines: Sequence[tuple[str, ...]]) -> str:
    header = ("attention", "task", "method", *(f"seed {seed}" for seed in SEEDS))
    return (
        f"# Decisive tokens\n\nPrecision of the most relevant tokens, {ROWS} rows.\n\n{markdown_table(header, lines)}"
    )


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of synthetic.md."
)
def main(output: Path) -> None:
    torch.set_num_threads(1)
    cases = [(name, task) for name in ATTENTIONS for task in DECISIVE]
    lines = [line for case in track(cases, description="attentions and tasks") for line in measured(*case)]
    (output / "synthetic.md").write_text(table(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
