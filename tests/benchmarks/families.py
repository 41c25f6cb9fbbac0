"""Measures the full matrix: every family and head that edgexf lowers, over the full grid.

    python tests/benchmarks/families.py --output tests/benchmarks/results [--again VARIANT]

Three parts:

    heads     The trained reference models run over the quick grid. Small models with random weights
              (`tests/families.py`, `tests/modules.py`) are exported with `--grid full`. The result is the worst
              relative difference of the outputs, and of relevance and residual where the head has explanations, of
              those that float64 did not find to be rounding.
    float64   Each family runs once over the quick grid in float64. Rounding there is about 1e-15, or 1e-7 for a library
              whose softmax is float32.
    layers    Layers of the published sizes are exported (width 768, 12 heads, window 512, block or chunk 64, or 64
              landmarks). The results are the nodes a layer and the largest intermediate tensor of one row.
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
import torch
import transformers
from torch.export import Dim
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))
import modules
from families import small

import edgexf
from edgexf import names
from edgexf.report.markdown import markdown_table
from edgexf_exporters import VARIANTS
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.float64 import worst_difference
from edgexf_exporters.verify.graph_checks import sizes

ENCODER = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")
DENSE = ("Bert", "DistilBert", "Roberta", "XLMRoberta", "Camembert", "MPNet")
HEADS = {
    "Longformer": (*ENCODER, "ForMultipleChoice"),
    **dict.fromkeys(
        ("LED", "BigBirdPegasus"), ("Encoder", "Model", "ForConditionalGeneration", "ForQuestionAnswering")
    ),
    **dict.fromkeys(("BigBird", "Nystromformer", *DENSE, "Funnel"), (*ENCODER, "ForMultipleChoice")),
    "Esm": ("Model", "ForSequenceClassification", "ForTokenClassification", "ForMaskedLM"),
    "Reformer": ("Model", "ForSequenceClassification", "ForQuestionAnswering", "ForMaskedLM", "ModelWithLMHead"),
    "ModernBert": (*ENCODER, "ForMultipleChoice"),
    "ModernBertDecoder": ("Model", "ForSequenceClassification", "ForCausalLM"),
    "LongT5": ("EncoderModel",),
}
LAYERS = ("Longformer", "LED", "BigBird", "BigBirdPegasus", "Nystromformer", "Reformer", "Bert", "ModernBert")
LENGTHS = (1024, 4096)
MODULES = {  # a module of tests/modules.py: the variant of its attention
    "source and target": "torch-nn",
    "[sequence, batch]": "torch-nn",
    "linformer classifier": "linformer-pypi",
    "linformer LM": "linformer-pypi",
    "causal reformer": "reformer-pypi",
    "padded reformer": "reformer-pypi",
    "reformer LM": "reformer-pypi",
    "nearby": "local-attention-pypi",
    "landmarks": "nystrom-attention-pypi",
}
IMAGES = {"Swin": "hf-swin", "Swinv2": "hf-swinv2"}  # a family for images: the variant of its attention
SIDES = {"pixel_values": {0: Dim("batch"), 2: Dim("height", min=16, max=40), 3: Dim("width", min=16, max=40)}}
Results = dict[str, dict[str, Any]]


def most_global(family: str) -> int | None:
    return 3 if family in ("Longformer", "LED") else None


def cases() -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Yields (variant, head, export options, builder).

    Reference models are exported by name over the quick grid, all others over the full grid.
    """
    for variant in VARIANTS:
        if variant.reference:
            yield variant.name, variant.tasks[0], {"variant": variant.name}, None
    for family, heads in HEADS.items():
        for head in heads:
            options = {"grid": "full", "max_global": most_global(family)}
            yield (
                f"hf-{family.lower()}",
                f"{family}{head}",
                options,
                lambda family=family, head=head: small(family, head, layers=2),
            )
    for kind, variant_name in MODULES.items():
        yield (
            variant_name,
            kind,
            {"grid": "full", "example_inputs": modules.small(kind)[1]},
            lambda kind=kind: modules.small(kind)[0],
        )

    for family, variant_name in IMAGES.items():
        yield (
            variant_name,
            f"{family}ForImageClassification",
            {
                "grid": "full",
                "example_inputs": (torch.randn(2, 3, 37, 30),),
                "dynamic_shapes": SIDES,
                "explain": ("attnlrp",),
            },
            lambda family=family: of_images(family),
        )


def of_images(family: str) -> Any:
    """Builds a small model of images with random weights, whose biases begin with zeros."""
    config = getattr(transformers, f"{family}Config")(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=4, num_labels=3
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForImageClassification")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def head_row(options: dict[str, Any], build: Any) -> list[Any]:
    """Returns the number of grid cells, the worst relative difference, and the explanation methods of the head."""
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        source = None if build is None else build()
        if isinstance(source, PreTrainedModel) and "example_inputs" not in options:
            source.save_pretrained(Path(folder, "model"))
            source = Path(folder, "model")
        manifest = edgexf.export(source, output=Path(folder, "out"), **options).manifest
    return [len(manifest.grid["rows"]), worst_of(manifest.grid["rows"]), ", ".join(manifest.methods) or "-"]


def worst_of(rows: list[dict[str, Any]]) -> float:
    """The worst relative difference that is not rounding: of values that the grid did not judge in float64."""
    parts = ("outputs", "relevance", "residual")
    return max(
        float(row[part]) for row in rows for part in parts if row[part] is not None and part not in row["rounded"]
    )


def published(family: str, layers: int) -> Any:
    """Builds layers of the published sizes, with a small vocabulary."""
    sizes = {"vocab_size": 1000, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    if family == "Longformer":
        return transformers.LongformerModel(
            transformers.LongformerConfig(
                **sizes, num_hidden_layers=layers, attention_window=512, max_position_embeddings=4098,
                pad_token_id=1, bos_token_id=0, sep_token_id=2,
            ), add_pooling_layer=False,
        )  # fmt: skip
    if family == "Reformer":
        return transformers.ReformerModel(
            transformers.ReformerConfig(
                vocab_size=1000, hidden_size=768, num_attention_heads=12, feed_forward_size=3072, attn_layers=["lsh"] * layers,
                axial_pos_embds_dim=[256, 512], num_hashes=2,
            )
        )  # fmt: skip
    if family == "BigBird":
        return transformers.BigBirdModel(transformers.BigBirdConfig(**sizes, num_hidden_layers=layers))
    if family == "BigBirdPegasus":
        config = transformers.BigBirdPegasusConfig(
            vocab_size=1000, d_model=768, encoder_layers=layers, decoder_layers=1, encoder_attention_heads=12,
            encoder_ffn_dim=3072, decoder_ffn_dim=3072,
        )  # fmt: skip
        return transformers.BigBirdPegasusModel(config).get_encoder()
    if family == "ModernBert":
        kinds = ["full_attention", "sliding_attention"][:layers]
        return transformers.ModernBertModel(
            transformers.ModernBertConfig(
                vocab_size=1000,
                num_hidden_layers=layers,
                layer_types=kinds,
                pad_token_id=0,
                bos_token_id=1,
                max_position_embeddings=4096,
            )
        )
    if family in DENSE:
        config = getattr(transformers, f"{family}Config")(
            **sizes, num_hidden_layers=layers, max_position_embeddings=4098
        )
        return getattr(transformers, f"{family}Model")(config)
    if family == "Nystromformer":
        return transformers.NystromformerModel(
            transformers.NystromformerConfig(
                **sizes, num_hidden_layers=layers, max_position_embeddings=4096, segment_means_seq_len=4096
            )
        )
    config = transformers.LEDConfig(
        vocab_size=1000, d_model=768, encoder_layers=layers, decoder_layers=1, encoder_attention_heads=12,
        encoder_ffn_dim=3072, decoder_ffn_dim=3072, attention_window=1024, max_encoder_position_embeddings=4096,
    )  # fmt: skip
    return transformers.LEDModel(config).get_encoder()


def layer_row(family: str) -> list[Any]:
    """Returns the number of nodes a layer, and the MB of the largest intermediate tensor at each of `LENGTHS`."""
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
    return [nodes[1] - nodes[0], *(round(size * 4 / 1e6, 1) for size in largest)]


def table(found: Results) -> str:
    """Returns the results as Markdown."""
    heads = [
        (variant, head, f"{count:,}", f"{worst:.1e}", explained)
        for variant, rows in found["heads"].items()
        for head, (count, worst, explained) in rows.items()
    ]
    wide = [(family, f"{worst:.1e}") for family, worst in found["float64"].items()]
    layers = [(family, str(row[0]), *(f"{size:,.1f}" for size in row[1:])) for family, row in found["layers"].items()]
    header = ("family", "nodes a layer", *(f"largest tensor at {length:,}, MB" for length in LENGTHS))
    return (
        "## Every head\n\n"
        + markdown_table(("variant", "head", "cells", "worst difference", "explained"), heads)
        + "\n## Lowering against library in float64, quick grid\n\n"
        + markdown_table(("family", "worst difference"), wide)
        + "\n## Layers of width 768, one row\n\n"
        + markdown_table(header, layers)
    )


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of families.json and .md."
)
@click.option("--again", multiple=True, help="Measure this variant anew; by default what the file lacks is measured.")
def main(output: Path, again: tuple[str, ...]) -> None:
    """Measure what families.json lacks, and write it and families.md after each row."""
    transformers.logging.set_verbosity_error()
    file = output / "families.json"
    found: Results = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"heads": {}, "float64": {}, "layers": {}}
    )
    for variant in again:
        found["heads"].pop(variant, None)

    def keep(part: dict[str, Any], name: str, value: Any) -> None:
        part[name] = value
        print(name, json.dumps(value), flush=True)
        ordered = {variant.name: found["heads"][variant.name] for variant in VARIANTS if variant.name in found["heads"]}
        file.write_text(json.dumps({**found, "heads": ordered}, indent=1) + "\n", encoding="utf-8")
        (output / "families.md").write_text(table({**found, "heads": ordered}), encoding="utf-8")

    for variant, head, options, build in cases():
        rows = found["heads"].setdefault(variant, {})
        if head not in rows:
            keep(rows, head, head_row(options, build))
    for family in HEADS:
        if family not in found["float64"]:
            head = "Model" if "Model" in HEADS[family] else HEADS[family][0]
            keep(found["float64"], family, worst_difference(from_model(small(family, head, 2), most_global(family))))
    for family in LAYERS:
        if family not in found["layers"]:
            keep(found["layers"], family, layer_row(family))


if __name__ == "__main__":
    main()
