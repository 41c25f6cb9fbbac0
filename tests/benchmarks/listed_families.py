"""Families that take the general way: heads of each, exported with an explanation over the full grid.

    python tests/benchmarks/listed_families.py                    the heads that results/listed_families.jsonl lacks
    python tests/benchmarks/listed_families.py --only albert,vit  the heads of these families, again
    python tests/benchmarks/listed_families.py --table            only the table, from the lines that are there

In: the families of `FAMILIES` and the heads that the library has of them. Out: a line of JSON for each head in
results/listed_families.jsonl, and the table listed_families.md. A small model with random weights is saved to a folder,
which a child exports with the default explanation and `--grid full`, within 240 s of a processor and 6 GiB. The first head of
each family comes first, so that a part says something of all.

`answers differ` is how much the answers to two inputs of an example differ, relative to the largest answer: a model that
answers everything alike would agree with any graph.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.census import (
    AGREES,
    BROKEN,
    DIFFERS,
    LOADED,
    OPSET,
    REFUSED,
    RESULTS,
    Row,
    class_of,
    in_a_child,
    small_model,
)
from benchmarks.families import worst_of
from image_families import PIXELS, small_image_model
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

import edgexf
from edgexf import names
from edgexf.errors import EdgexfError, VerificationError, said_by
from edgexf.pipeline.describe_bundle import UNEXPLAINED
from edgexf.report.markdown import markdown_table
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.hooks import frozen
from edgexf_exporters.sources.general.inputs import inputs_of

TEXT = (
    "eurobert", "nomic_bert", "gte", "jina_embeddings_v3", "roformer", "deberta-v2", "albert", "electra", "mobilebert",
    "squeezebert", "ernie", "layoutlm", "gpt2", "opt", "llama", "t5", "bart", "mbart", "marian", "pegasus",
)  # fmt: skip
IMAGES = {
    "vit": "ViT", "deit": "DeiT", "swin": "Swin", "convnext": "ConvNext", "efficientnet": "EfficientNet",
    "mobilenet_v2": "MobileNetV2", "resnet": "ResNet",
}  # fmt: skip
FAMILIES = (*TEXT, *IMAGES)
TABLES = (
    "SEQUENCE_CLASSIFICATION", "IMAGE_CLASSIFICATION", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM",
    "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE",
)  # fmt: skip
SECONDS = 240  # of a processor
NOISE = 0.1  # what is added to the library's weights, so that attention is not nearly uniform
LAYERS = (2, 6)  # of an ALBERT, whose layers are one


def heads_of(family: str) -> list[str]:
    """The classes of a family, that of the census first."""
    tables = [getattr(modeling_auto, f"MODEL_FOR_{table}_MAPPING_NAMES") for table in TABLES]
    listed = [table[family] for table in (*tables, modeling_auto.MODEL_MAPPING_NAMES) if family in table]
    named = [name for one in listed for name in ([one] if isinstance(one, str) else one)]
    return list(dict.fromkeys([class_of(family).__name__, *named]))


def heads() -> Iterator[tuple[str, str]]:
    """Yields (family, class): the first class of each family, then the second of each, and so on."""
    classes = {family: heads_of(family) for family in FAMILIES}
    for place in range(max(map(len, classes.values()))):
        yield from ((family, found[place]) for family, found in classes.items() if place < len(found))


def save(family: str, name: str, folder: Path) -> None:
    if family in IMAGES:
        small_image_model(IMAGES[family], name.removeprefix(IMAGES[family])).save_pretrained(folder)
        size = {"size": {"height": PIXELS, "width": PIXELS}}
        (folder / "preprocessor_config.json").write_text(json.dumps(size))
    else:
        small_model(family, getattr(transformers, name), folder, NOISE)


def spread(model: PreTrainedModel, processor: dict[str, Any]) -> float:
    """How much the answers to two inputs differ, relative to the largest answer."""
    with frozen(model), torch.no_grad():
        given = inputs_of(model, processor)
        answer = next(iter(named_outputs(model(**given.tensors, **given.settings)).values()))
    return float((answer[0] - answer[1]).abs().max() / answer.abs().max())


def exported(family: str, name: str) -> Row:
    """Exports one head, in this process."""
    with tempfile.TemporaryDirectory(prefix="listed-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        where = Path(folder) / "model"
        save(family, name, where)
        model = getattr(transformers, name).from_pretrained(where).eval()
        row: Row = {"answers_differ": spread(model, json.loads((where / "preprocessor_config.json").read_text()))}
        try:
            manifest = edgexf.export(str(where), output=Path(folder) / "out", grid="full").manifest
        except VerificationError as error:
            return {**row, "outcome": DIFFERS, "sentence": str(error)}
        except EdgexfError as error:
            return {**row, "outcome": REFUSED, "sentence": str(error)}
        except Exception as error:  # noqa: BLE001 (what is no sentence is told)
            return {**row, "outcome": BROKEN, "sentence": said_by(error)}
        rows = manifest.grid["rows"]
        return {
            **row,
            "outcome": AGREES,
            "cells": len(rows),
            "rounded": sum(bool(cell["rounded"]) for cell in rows),
            "worst": worst_of(rows),
            "explained": ", ".join(manifest.methods),
            "unexplained": manifest.provenance.get(UNEXPLAINED, ""),
        }


def shared_layers() -> Row:
    """The bytes of the weights of an ALBERT at two numbers of layers, and its softmaxes in both graphs: a layer that all
    layers share stands once in the file, and each is computed and explained.
    """
    import onnx

    found: Row = {}
    for layers in LAYERS:
        with tempfile.TemporaryDirectory(prefix="listed-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save("albert", "AlbertForSequenceClassification", Path(folder) / "model")
            config = AutoConfig.from_pretrained(Path(folder) / "model")
            config.num_hidden_layers = layers
            model = transformers.AlbertForSequenceClassification.from_pretrained(Path(folder) / "model", config=config)
            made = edgexf.export(model.eval(), output=Path(folder) / "out")
            count = sum(parameter.numel() for parameter in model.parameters())
            found[str(layers)] = {
                "bytes": (made.path / names.WEIGHTS_FILE).stat().st_size,
                "bytes of parameters": count * 4,
                **{
                    path: sum(node.op_type == "Softmax" for node in onnx.load(made.path / path).graph.node)
                    for path in (names.PREDICT_FILE, *names.explain_files(made.manifest.methods).values())
                },
            }
    return found


def table(rows: list[Row]) -> str:
    """The results as Markdown."""
    lines = [
        (
            row["type"], row["class"], row["outcome"], f"{row['worst']:.1e}" if "worst" in row else "-",
            str(row.get("cells", "-")), f"{row['answers_differ']:.2g}" if "answers_differ" in row else "-",
            said(row), f"{row['seconds']:.0f}",
        )
        for row in rows
        if "class" in row
    ]  # fmt: skip
    header = ("family", "class", "outcome", "worst difference", "cells", "answers differ", "explained, or why not", "s")
    agree, explained = (sum(bool(row.get(key)) for row in rows) for key in ("cells", "explained"))
    text = [
        f"# Families of the general way, transformers {transformers.__version__}",
        "",
        "Small models with random weights over the full grid, with the default explanation.",
        "`python tests/benchmarks/listed_families.py` makes this page, and goes on where it stopped.",
        f"{agree} of {len(lines)} heads are exported and agree; {explained} are explained.",
        "XLM-RoBERTa, MPNet and CamemBERT are lowered, so they stand in [families.md](families.md).",
        "",
        markdown_table(header, lines),
    ]
    for row in rows:
        if "shared" in row:
            text += ["## Layers of an ALBERT", "", *layers_table(row["shared"])]
    return "\n".join(text)


def layers_table(found: Row) -> list[str]:
    columns = list(next(iter(found.values())))
    lines = [(layers, *(f"{row[name]:,}" for name in columns)) for layers, row in found.items()]
    titles = [f"Softmax in {name}" if name.endswith(".onnx") else name for name in columns]
    said = "All layers share one layer: the weights stand once in the file, and every layer is in both graphs."
    return [said, "", markdown_table(("layers", *titles), lines)]


def said(row: Row) -> str:
    text = row.get("explained") or row.get("unexplained") or row.get("sentence", "-")
    return str(text).replace("|", "\\|").replace("\n", " ")


def read(path: Path) -> dict[str, Row]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {row.get("class", "shared"): row for row in map(json.loads, lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="families or classes with commas between them; they are done again")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--output", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    path, again = chosen.output / "listed_families.jsonl", set(filter(None, chosen.only.split(",")))
    found, order = read(path), list(heads())
    wanted = [one for one in order if again & {*one} or (not again and one[1] not in found)]
    if not chosen.table:
        for name in LOADED:
            import_module(name)
        import_module("edgexf_exporters.trace.prepare").decompositions(OPSET)
        for place, (family, name) in enumerate(wanted):
            row = {"type": family, "class": name, **in_a_child(partial(exported, family, name), SECONDS)}
            found[name] = row
            print(
                f"{place + 1}/{len(wanted)} {name}: {row['outcome']} {row['seconds']} s {said(row)[:300]}", flush=True
            )
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        if "shared" not in found or "albert" in again:
            found["shared"] = {"shared": shared_layers()}
    rows = [found[name] for _, name in sorted(order, key=lambda one: FAMILIES.index(one[0])) if name in found]
    rows += [found["shared"]] if "shared" in found else []
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (chosen.output / "listed_families.md").write_text(table(rows))


if __name__ == "__main__":
    main()
