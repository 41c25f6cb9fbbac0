"""Compares captum and the compiled graphs on Hugging Face models, interleaved in one process.

    python tests/benchmarks/libraries.py --output tests/benchmarks/results [--family F]... [--again]

The models are classifiers of two layers x 256 with the published windows and blocks and random weights, and
all-MiniLM-L6-v2 (six layers x 384) with its real weights. For each family and length the script measures:

    eager      a prediction by the library's eager model
    predict    the predict graph
    captum     captum's gradient x input from the token embedding (`LayerGradientXActivation`)
    gradient   the gradient x input graph
    attnlrp    the AttnLRP graph

The relevance of captum and of the gradient graph must agree, or the run fails. Results that libraries.json in the
output folder already holds are not measured again.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import transformers
from captum.attr import LayerGradientXActivation

import edgexf
from edgexf import names
from edgexf.bundle.golden import relative_difference
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.session_options import available_threads

sys.path.insert(0, str(Path(__file__).parents[1]))
import minilm

SIZES = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024, "vocab_size": 1000,
    "num_labels": 5,
}  # fmt: skip
CONFIGS: Mapping[str, Callable[[], Any]] = {
    "BERT": lambda: transformers.BertConfig(**SIZES, max_position_embeddings=4096),
    "Longformer": lambda: transformers.LongformerConfig(
        **SIZES, attention_window=512, max_position_embeddings=4098, pad_token_id=1, bos_token_id=0, sep_token_id=2
    ),
    "BigBird": lambda: transformers.BigBirdConfig(**SIZES, max_position_embeddings=4096),
    "Funnel": lambda: transformers.FunnelConfig(
        block_sizes=[1, 1], d_model=256, n_head=4, d_head=64, d_inner=1024, vocab_size=1000, num_labels=5,
        max_position_embeddings=4096,
    ),
}  # fmt: skip
REAL = "all-MiniLM-L6-v2"  # with a head of random weights
FAMILIES = (*CONFIGS, REAL)
LENGTHS = (512, 4096)
RUNS, WARM_UP = 9, 2
TOLERANCE = 1e-4
PARTS = ("eager", "predict", "captum", "gradient", "attnlrp")


def classifier(family: str) -> Any:
    """Builds a classifier in eval mode.

    Random weights are larger than the library draws them, so that attention is not nearly uniform.
    """
    torch.manual_seed(0)
    if family == REAL:
        real = transformers.AutoModelForSequenceClassification.from_pretrained(minilm.source(), num_labels=5)
        return real.eval().requires_grad_(False)
    model = transformers.AutoModelForSequenceClassification.from_config(CONFIGS[family]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(model: Any, session: Any, length: int) -> dict[str, float]:
    """Returns the medians of milliseconds and of the ratios of neighbouring runs."""
    ids = torch.from_numpy(np.random.default_rng(length).integers(5, 900, (1, length)))
    given = {names.INPUT_IDS: ids, names.ATTENTION_MASK: torch.ones_like(ids)}
    arrays = {name: tensor.numpy() for name, tensor in given.items()}

    def eager() -> torch.Tensor:
        with torch.no_grad():
            return model(**given).logits

    label = int(eager().argmax())
    embedding = model.get_input_embeddings()
    # No weight needs a gradient, so the hook makes the embedding's output require one.
    hook = embedding.register_forward_hook(lambda _, __, vectors: vectors.requires_grad_(True))
    attribution = LayerGradientXActivation(lambda tokens: model(tokens, given[names.ATTENTION_MASK]).logits, embedding)
    contestants: dict[str, Callable[[], Any]] = {
        "eager": eager,
        "predict": lambda: session.run(**arrays),
        "captum": lambda: attribution.attribute(ids, target=label).sum(-1).detach().numpy(),
        "gradient": lambda: session.run_explain(**arrays, method="gradient"),
        "attnlrp": lambda: session.run_explain(**arrays, method="attnlrp"),
    }
    apart = relative_difference(contestants["gradient"]()[names.RELEVANCE], contestants["captum"]())
    if not apart <= TOLERANCE:
        raise AssertionError(f"captum and the graph must agree within {TOLERANCE}, got {apart} at {length} tokens")
    for run in list(contestants.values()) * WARM_UP:
        run()
    times = [{who: seconds(run) for who, run in contestants.items()} for _ in range(RUNS)]
    hook.remove()
    found = {who: statistics.median(row[who] for row in times) * 1e3 for who in PARTS}
    pairs = (
        ("eager", "predict"),
        ("captum", "gradient"),
        ("captum", "attnlrp"),
        ("gradient", "predict"),
        ("attnlrp", "predict"),
    )
    return found | {
        f"{one} / {other}": statistics.median(row[one] / row[other] for row in times) for one, other in pairs
    }


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    rows = [(family, length, row) for family in FAMILIES for length, row in found.get(family, {}).items()]
    columns = list(dict.fromkeys(name for *_, row in rows for name in row))
    header = ("family", "tokens", *(name if "/" in name else f"{name} ms" for name in columns))
    cells = [
        (family, f"{int(length):,}", *(f"{row[name]:.2f}" if "/" in name else f"{row[name]:.1f}" for name in columns))
        for family, length, row in rows
    ]
    text = f"Batch 1, {available_threads()} threads, {RUNS} interleaved runs, medians; ratios of neighbouring runs.\n\n"
    return text + markdown_table(header, cells)


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the results."
)
@click.option("--family", multiple=True, type=click.Choice(FAMILIES), help="By default all.")
@click.option("--again", is_flag=True, help="Measure what is chosen anew, also where the file holds it.")
def main(output: Path, family: tuple[str, ...], again: bool) -> None:
    """Measure what libraries.json lacks, and write it and libraries.md after each family."""
    torch.set_num_threads(available_threads())
    file = output / "libraries.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in family or FAMILIES:
        if name in found and not again:
            continue
        with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
            classifier(name).save_pretrained(Path(folder, "model"))
            edgexf.export(Path(folder, "model"), output=Path(folder, "out"), explain=("gradient", "attnlrp"))
            with edgexf.load(Path(folder, "out")) as session:
                found[name] = {
                    str(length): measure(classifier(name), session, length)  # a short input changes BigBird for good
                    for length in LENGTHS
                    if length <= session.manifest.limits.max_length
                }
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
        (output / "libraries.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
