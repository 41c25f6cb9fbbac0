"""How often a right export is refused, and how often a wrong one is let pass, over random weights.

Exports fifty two-layer models of each family, each with other random weights, explained by AttnLRP. Then it does the same
with graphs that explain by another rule than they say: CP-LRP in place of AttnLRP. None of the first and all of the
second must be refused.

    python tests/benchmarks/seeds.py --family bert --seeds 50 [--wrong-rule]

Writes a line for each seed to results/seeds.jsonl, and goes on where it stopped.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LongformerConfig,
    LongformerForSequenceClassification,
    PreTrainedModel,
)

import edgexf
from edgexf.errors import VerificationError
from edgexf_exporters import graphs
from edgexf_exporters.explain.methods import METHODS
from edgexf_runtimes.device.device import describe

RESULTS = Path(__file__).parent / "results" / "seeds.jsonl"
SIZES: dict[str, Any] = {
    "vocab_size": 2000, "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024,
}  # fmt: skip
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES, max_position_embeddings=128)),
    "longformer": lambda: LongformerForSequenceClassification(
        LongformerConfig(
            **SIZES, max_position_embeddings=258, attention_window=[32, 32], pad_token_id=1, sep_token_id=2
        )
    ),
}


def wrong(method: Any, *rest: Any) -> Any:
    """Differentiates by another method than the one that was asked for."""
    return RIGHT(METHODS["cplrp" if method is METHODS["attnlrp"] else "attnlrp"], *rest)


RIGHT = graphs.differentiate


def tried(family: str, seed: int, wrong_rule: bool) -> dict[str, Any]:
    """Exports a model and says what came of it."""
    torch.manual_seed(seed)
    model = FAMILIES[family]()
    found: dict[str, Any] = {"family": family, "seed": seed, "wrong_rule": wrong_rule}
    with tempfile.TemporaryDirectory() as folder, patch.object(graphs, "differentiate", wrong if wrong_rule else RIGHT):
        try:
            made = edgexf.export(model, output=Path(folder, "out"), explain="attnlrp")
        except VerificationError as error:
            return {**found, "refused": True, "why": str(error)[:200]}
    rows = made.manifest.grid["rows"]
    return {
        **found, "refused": False, "worst": made.manifest.grid["worst"],
        "rounded": sum(bool(row["rounded"]) for row in rows), "cells": len(rows),
    }  # fmt: skip


@click.command()
@click.option("--family", type=click.Choice(list(FAMILIES)), required=True)
@click.option("--seeds", default=50, show_default=True)
@click.option("--wrong-rule", is_flag=True, help="Explain by CP-LRP in place of AttnLRP, in the graph only.")
def main(family: str, seeds: int, wrong_rule: bool) -> None:
    """Export models with random weights, and write what came of each."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    done = {(line["family"], line["seed"], line["wrong_rule"]) for line in lines}
    about = describe()
    machine = f"{about['processor']}, {', '.join(about['instruction sets'])}"
    for seed in range(seeds):
        if (family, seed, wrong_rule) not in done:
            line = {**tried(family, seed, wrong_rule), "machine": machine}
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")
            click.echo(line)


if __name__ == "__main__":
    main()
