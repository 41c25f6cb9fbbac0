"""Speed that decides: each graph beside eager PyTorch, OpenVINO, dense attention, and the floor of its products.

    python tests/benchmarks/speed.py --prepare FOLDER           exports every bundle once (hours; a second call goes on)
    python tests/benchmarks/speed.py --quick --prepare FOLDER   exports the bundles of the reference models (minutes)
    python tests/benchmarks/speed.py --quick --bundles FOLDER   the four reference models at three lengths (minutes)
    python tests/benchmarks/speed.py --bundles FOLDER           all rows; a second call goes on where the first one stopped

Each row runs all contestants in turns, with one thread by processor time and with two threads by wall time. `contest.rows` says
when a row counts. In: bundles of `--prepare`. Out: a table; the full run writes ``results/speed.jsonl`` and ``results/speed.md``.

    floor     time of the products that the model can't do without, by ONNX Runtime, on the same shapes in the same rounds
    of floor  graph / floor, and explain graph / floor of its forward and reverse products

What is not installed, or was not exported, says "-". torch.compile and the graphs of transformers' own exporter are not
contestants yet.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.contest.models import MODELS, Model
from benchmarks.contest.rows import EAGER, EXPLAIN_FLOOR, FLOOR, Floor, Row, Run, measured, of_graph

import edgexf
from edgexf import names
from edgexf.errors import RefusedError
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

RESULTS = Path(__file__).parent / "results"
LENGTHS = (128, 512, 1024, 2048, 4096)
LONG = {"hf-longformer": (16384,), "hf-bigbird": (16384,), "hf-bert": (16384,)}  # 4 layers, one row of a batch
QUICK = (128, 512, 4096)
BATCHES = {8: (128, 512, 2048)}
LAYERS = {4: LENGTHS, 12: (512, 4096)}
COLUMNS = ("graph", "int8", "openvino", "dense", "explain")
DENSE = "hf-bert"


def folder_of(bundles: Path, model: Model, layers: int) -> Path:
    return bundles / (model.name if model.reference else f"{model.name}-{layers}")


def prepare(bundles: Path, quick: bool) -> None:
    """Exports what is not there yet: predict and explain graphs in float32 and int8; with `quick` the reference models."""
    for model in [model for model in MODELS.values() if model.reference or not quick]:
        for layers in (2,) if model.reference else LAYERS:
            target = folder_of(bundles, model, layers)
            if not (target / names.MANIFEST_FILE).is_file():
                click.echo(f"exporting {target.name}", err=True)
                if model.reference:
                    edgexf.export(variant=model.name, output=target)
                else:
                    edgexf.export(
                        model.make(layers),
                        output=target,
                        overwrite=True,
                        max_global=model.max_global,
                    )
            if not any(target.glob("onnx/model_quantized.onnx")):
                try:
                    edgexf.quantize(target, "int8", force=True)
                except RefusedError as error:  # leaves its column empty
                    click.echo(f"{target.name}: {error}", err=True)


def cases(quick: bool) -> Iterator[tuple[Model, int, int, int]]:
    """Models with layers, lengths and batches."""
    for model in MODELS.values():
        if model.reference or not quick:
            for layers, lengths in ({2: LENGTHS} if model.reference else LAYERS).items():
                for length in QUICK if quick else lengths:
                    yield model, layers, length, 1
            if not quick:
                first = 2 if model.reference else min(LAYERS)
                yield from ((model, first, length, batch) for batch, lengths in BATCHES.items() for length in lengths)
                yield from ((model, first, length, 1) for length in LONG.get(model.name, ()))


def contestants(
    bundles: Path, model: Model, layers: int, length: int, batch: int, threads: int
) -> dict[str, Run | Floor]:
    """The contestants that this machine has, the eager model first."""
    module = model.make(layers)
    tokens = length + 1 if model.reference else length  # the class token comes first
    given, folder = model.inputs(batch, tokens), folder_of(bundles, model, layers)
    positional = [torch.from_numpy(given[name]) for name in ("input_ids", "attention_mask")]

    def eager(called: Any = module) -> Any:
        with torch.no_grad():
            return (
                called(*positional)
                if model.reference
                else called(input_ids=positional[0], attention_mask=positional[1])
            )

    found: dict[str, Run | Floor] = {EAGER: eager}
    for name, path in (("graph", names.PREDICT_FILE), ("int8", "onnx/model_quantized.onnx")):
        if (folder / path).is_file():
            found[name] = of_graph(str(folder / path), given, threads)
    if (folder / names.explain_files(["attnlrp"])["attnlrp"]).is_file():
        columns = 20 if model.reference else 4
        target = {names.TARGET: torch.zeros(batch, columns).numpy()}
        found["explain"] = of_graph(
            str(folder / names.explain_files(["attnlrp"])["attnlrp"]), {**given, **target}, threads
        )
    if importlib.util.find_spec("openvino") is not None and (folder / names.PREDICT_FILE).is_file():
        found["openvino"] = of_openvino(folder / names.PREDICT_FILE, given, threads)
    dense = folder_of(bundles, MODELS[DENSE], layers) / names.PREDICT_FILE
    if not model.reference and model.name != DENSE and dense.is_file():
        found["dense"] = of_graph(str(dense), given, threads)
    products = [
        product._replace(batch=product.batch * batch)
        if product.batch > 1
        else product._replace(rows=product.rows * batch)
        for product in model.products(layers, tokens)
    ]
    return {**found, FLOOR: Floor(products, threads)}


def of_openvino(path: Path, given: dict[str, Any], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    kept = {value.get_any_name(): given[value.get_any_name()] for value in compiled.inputs}
    return lambda: compiled(kept)


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each row: times of eager, and ratios."""

    def cell(row: dict[str, Any], name: str) -> str:
        return f"{row['ratios'][name]:.2f}" if name in row["ratios"] else "-"

    header = (
        "model",
        "layers",
        "length",
        "batch",
        "threads",
        "eager ms",
        *(f"eager / {name}" for name in COLUMNS),
        "of floor",
        "explain of floor",
        "valid",
    )
    lines = []
    for row in rows:
        key, seconds = row["key"], row["seconds"]
        shares = [
            f"{seconds[name] / seconds[floor]:.2f}" if name in seconds else "-"
            for name, floor in (("graph", FLOOR), ("explain", EXPLAIN_FLOOR))
        ]
        numbers = (str(key[part]) for part in ("model", "layers", "length", "batch", "threads"))
        lines.append(
            (
                *numbers,
                f"{1e3 * seconds[EAGER]:.1f}",
                *(cell(row, name) for name in COLUMNS),
                *shares,
                row["invalid"] and f"INVALID: {row['invalid']}",
            )
        )
    return markdown_table(header, lines)


def run(bundles: Path, quick: bool, output: Path | None) -> list[dict[str, Any]]:
    """Measures the rows that `output` does not hold yet."""
    rows = (
        [json.loads(line) for line in output.read_text().splitlines()]
        if output is not None and output.is_file()
        else []
    )
    for model, layers, length, batch in cases(quick):
        for threads in (1, 2):
            key = {
                "model": model.name,
                "layers": layers,
                "length": length,
                "batch": batch,
                "threads": threads,
                "machine": machine(),
            }
            if any(row["key"] == key for row in rows) or not folder_of(bundles, model, layers).is_dir():
                continue
            row: Row = measured(key, contestants(bundles, model, layers, length, batch, threads), threads)
            rows.append(asdict(row))
            click.echo(table(rows[-1:]).splitlines()[-1], err=True)
            if output is not None:
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return rows


@click.command()
@click.option(
    "--prepare",
    "prepared",
    type=click.Path(file_okay=False, path_type=Path),
    help="Export all bundles into this folder.",
)
@click.option("--bundles", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A folder of --prepare.")
@click.option("--quick", is_flag=True, help="The reference models at three lengths; writes no file.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, show_default=True)
def main(prepared: Path | None, bundles: Path | None, quick: bool, output: Path) -> None:
    """Prepare bundles, or measure them and print a Markdown table."""
    if prepared is not None:
        prepare(prepared, quick)
    if bundles is None:
        if prepared is None:
            raise click.UsageError("give --prepare FOLDER, or --bundles FOLDER of an earlier --prepare")
        return
    rows = run(bundles, quick, None if quick else output / "speed.jsonl")
    text = f"{machine()}\n\n1 thread: processor time; 2 threads: wall time; medians. Ratios above 1: the contestant is faster than eager.\n\n{table(rows)}"
    click.echo(text)
    if not quick:
        (output / "speed.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
