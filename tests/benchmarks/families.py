"""The full matrix: every family and head of transformers that edgexf lowers, over the full grid.

    python tests/benchmarks/families.py [--output FOLDER]

The trained reference models over the quick grid.
Small models with random weights (`tests/families.py`), exported with `--grid full`: the worst relative difference of
outputs, and of relevance and residual where the head is explained. Once a family the grid in float64, where rounding
is about 1e-15, or 1e-7 for a library whose softmax is float32. Then the graphs of layers as they are published (width
768, 12 heads, window 512 or block 64): nodes a layer, and the largest intermediate tensor of one row.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import onnx
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
from families import small

import edgexf
from edgexf import names
from edgexf.report import markdown_table
from edgexf_exporters import VARIANTS
from edgexf_exporters.checkpoint import from_model
from edgexf_exporters.double import worst_difference
from edgexf_exporters.inspect_graph import sizes

ENCODER = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")
DENSE = ("Bert", "DistilBert", "Roberta")
HEADS = {
    "Longformer": (*ENCODER, "ForMultipleChoice"),
    "LED": ("Encoder", "Model", "ForConditionalGeneration", "ForQuestionAnswering"),
    **dict.fromkeys(("BigBird", *DENSE, "Funnel"), (*ENCODER, "ForMultipleChoice")),
}
LENGTHS = (1024, 4096)
LAYERS = ("Longformer", "LED", "BigBird", *DENSE)  # Funnel's scores of 4,096 tokens at 8,192 distances take gigabytes


def most_global(family: str) -> int | None:
    return 3 if family in ("Longformer", "LED") else None


def cases() -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Variant, head, and how it is exported: the reference models by name over the quick grid, the others over the full."""
    for variant in VARIANTS:
        if variant.reference:
            yield variant.name, variant.heads[0], {"variant": variant.name}, None
    for family, heads in HEADS.items():
        for head in heads:
            options = {"grid": "full", "max_global": most_global(family)}
            yield f"hf-{family.lower()}", f"{family}{head}", options, small(family, head, layers=2)


def matrix() -> list[tuple[str, str, int, float, str]]:
    """A row for each variant and head: cells of the grid, the worst relative difference, how it is explained."""
    rows = []
    for variant, head, options, model in cases():
        with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
            source = None
            if model is not None:
                source = Path(folder, "model")
                model.save_pretrained(source)
            manifest = edgexf.export(source, output=Path(folder, "out"), **options).manifest
        explained = ", ".join(manifest.methods) or "-"
        rows.append((variant, head, len(manifest.grid["rows"]), manifest.grid["worst"], explained))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def published(family: str, layers: int) -> Any:
    """Layers as they are published, of a small vocabulary."""
    sizes = {"vocab_size": 1000, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    if family == "Longformer":
        return transformers.LongformerModel(
            transformers.LongformerConfig(
                **sizes, num_hidden_layers=layers, attention_window=512, max_position_embeddings=4098,
                pad_token_id=1, bos_token_id=0, sep_token_id=2,
            ), add_pooling_layer=False,
        )  # fmt: skip
    if family == "BigBird":
        return transformers.BigBirdModel(transformers.BigBirdConfig(**sizes, num_hidden_layers=layers))
    if family in DENSE:
        config = getattr(transformers, f"{family}Config")(
            **sizes, num_hidden_layers=layers, max_position_embeddings=4098
        )
        return getattr(transformers, f"{family}Model")(config)
    config = transformers.LEDConfig(
        vocab_size=1000, d_model=768, encoder_layers=layers, decoder_layers=1, encoder_attention_heads=12,
        encoder_ffn_dim=3072, decoder_ffn_dim=3072, attention_window=1024, max_encoder_position_embeddings=4096,
    )  # fmt: skip
    return transformers.LEDModel(config).get_encoder()


def layer_row(family: str) -> tuple[str, ...]:
    """Nodes a layer, and the elements of the largest intermediate at `LENGTHS`."""
    nodes, largest = [], []
    for layers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
            model = published(family, layers).eval()
            most = None if most_global(family) is None else 1
            made = edgexf.export(model, output=Path(folder, "out"), max_global=most)
            path = made.path / names.PREDICT_FILE
            nodes.append(len(onnx.load(str(path), load_external_data=False).graph.node))
            inputs = made.manifest.variants[0].inputs
            largest = [max(sizes(path, inputs, length).values()) for length in LENGTHS]
    row = (family, str(nodes[1] - nodes[0]), *(f"{size * 4 / 1e6:,.1f}" for size in largest))
    print(json.dumps(row), flush=True)
    return row


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Also write families.md and .json here."
)
def main(output: Path | None) -> None:
    """Run the matrix and print Markdown tables."""
    transformers.logging.set_verbosity_error()
    rows = matrix()
    cells = [
        (variant, head, f"{count:,}", f"{worst:.1e}", explained) for variant, head, count, worst, explained in rows
    ]
    text = "## Every head\n\n"
    text += markdown_table(("variant", "head", "cells", "worst difference", "explained"), cells)
    wide = [
        (family, f"{worst_difference(from_model(small(family, 'Model', 2), most_global(family))):.1e}")
        for family in HEADS
    ]
    text += "\n## Lowering against library in float64, quick grid\n\n" + markdown_table(
        ("family", "worst difference"), wide
    )
    header = ("family", "nodes a layer", *(f"largest tensor at {length:,}, MB" for length in LENGTHS))
    text += "\n## Layers of width 768, one row\n\n" + markdown_table(header, [layer_row(family) for family in LAYERS])
    print(text)
    if output is not None:
        (output / "families.md").write_text(text, encoding="utf-8")
        reached = {name: max(row[3] for row in rows if row[0] == name) for name, *_ in rows}
        (output / "families.json").write_text(json.dumps(reached, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
