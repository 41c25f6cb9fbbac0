"""Compares the graphs that edgexf and other exporters make of the same two models.

    python tests/benchmarks/peers.py ENVIRONMENT [--output FILE]

ENVIRONMENT is a folder for a separate virtual environment, which the first run creates. It is separate because
optimum-onnx 0.1.0 needs transformers below 4.58. The exporter of transformers runs in the environment of this script,
once with dynamic shapes and once with static shapes. The two models are classifiers of Longformer and BigBird with the
published block sizes (window 512, block 64), two layers x 256 and random weights. Every graph runs at lengths and batch
sizes that an application meets. Its outputs are compared with the untouched eager model: a cell agrees if the
difference is within 1e-4 of the largest logit.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers

import edgexf
from edgexf.report.markdown import markdown_table

PEERS = ("optimum-onnx[onnxruntime]==0.1.0", "transformers<4.58", "torch>=2.13,<2.14", "onnxscript>=0.7", "requests")
CELLS = ((128, 1), (512, 1), (513, 3), (1024, 1), (1024, 2), (1024, 3), (2000, 2), (4096, 1))
TRACED = 1024
TOLERANCE = 1e-4
TURNS = 5
OWN = """
import sys, torch, transformers
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter
model = transformers.AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
ids = torch.randint(5, 900, (2, int(sys.argv[4])))
inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
made = OnnxExporter().export(model, inputs, config=OnnxConfig(dynamic=sys.argv[3] == "dynamic"))
made.save_pretrained(sys.argv[2])
"""


def models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Saves the classifiers and yields (family, folder)."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024,
        "vocab_size": 1000, "num_labels": 5,
    }  # fmt: skip
    longformer = transformers.LongformerConfig(
        **sizes, attention_window=512, max_position_embeddings=4098, pad_token_id=1, bos_token_id=0, sep_token_id=2
    )
    big_bird = transformers.BigBirdConfig(**sizes, max_position_embeddings=4096)
    for name, config in (("Longformer", longformer), ("BigBird", big_bird)):
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
        yield name, folder / name


def ours(checkpoint: Path, out: Path) -> str:
    try:
        edgexf.export(checkpoint, output=out, explain=())
    except edgexf.errors.EdgexfError as error:
        return str(error)
    return ""


def run(*command: str) -> str:
    """Runs a command. Returns the first error in the output of a failed command, and '' for a successful command."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = re.findall(r"^(?:(?:\w+\.)+\w+|\w*Error): .*$", f"{done.stdout}\n{done.stderr}", re.MULTILINE)
    return "" if done.returncode == 0 else [*errors, f"exit code {done.returncode}"][0]


def exported(checkpoint: Path, folder: Path, environment: Path) -> Iterator[tuple[str, Path, str]]:
    """Yields (exporter, folder of the graph, error message or '')."""
    yield "edgexf", folder / "edgexf", ours(checkpoint, folder / "edgexf")
    command = str(environment / "bin" / "optimum-cli"), "export", "onnx", "--task", "text-classification"
    yield "optimum-onnx", folder / "optimum", run(*command, "--model", str(checkpoint), str(folder / "optimum"))
    for kind in ("dynamic", "static"):
        out = folder / kind
        said = run(sys.executable, "-c", OWN, str(checkpoint), str(out), kind, str(TRACED))
        yield f"transformers, {kind}", out, said


def compared(checkpoint: Path, folder: Path) -> list[float | None]:
    """Returns the relative difference from the eager model for each cell, or None where the graph does not run."""
    session = session_of(folder)
    return [difference(session, checkpoint, *cell) for cell in CELLS]


def session_of(folder: Path) -> ort.InferenceSession:
    (path,) = [path for path in folder.rglob("*.onnx") if path.name != "explain.onnx"]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feeds(session: ort.InferenceSession, length: int, batch: int) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the inputs. All rows but the first are padded. The first token is global, as is the library's default."""
    ids = np.random.default_rng(length).integers(5, 900, (batch, length))
    mask = (np.arange(length) < np.linspace(length, length // 2, batch)[:, None]).astype(np.int64)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids, "global_attention_mask": 0 * ids}
    given["global_attention_mask"][:, 0] = 1
    return {value.name: given[value.name] for value in session.get_inputs()}


def difference(session: ort.InferenceSession, checkpoint: Path, length: int, batch: int) -> float | None:
    given = feeds(session, length, batch)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()  # BigBird flips itself
    named = {name: torch.from_numpy(array) for name, array in given.items() if name != "global_attention_mask"}
    with torch.no_grad():
        wanted = model(**named).logits.numpy()
    try:
        found = session.run(None, given)[0]
    except Exception:  # noqa: BLE001 (the binding raises its own types; the failure is the result)
        return None
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def milliseconds(sessions: dict[str, ort.InferenceSession]) -> dict[str, float]:
    """Returns the median time of interleaved runs on one row of 4,096 tokens."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(TURNS + 1):
        for name, session in sessions.items():
            given = feeds(session, 4096, 1)
            start = time.perf_counter()
            session.run(None, given)
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def rows_of(family: str, checkpoint: Path, folder: Path, environment: Path) -> list[tuple[str, ...]]:
    said, sessions, results = {}, {}, {}
    for name, out, problem in exported(checkpoint, folder, environment):
        said[name] = problem
        if not problem:
            sessions[name] = session_of(out)
            results[name] = compared(checkpoint, out)
            print(json.dumps({"family": family, "exporter": name, "cells": results[name]}), flush=True)
        else:
            print(json.dumps({"family": family, "exporter": name, "said": problem[:200]}), flush=True)
    runnable = {name: sessions[name] for name in sessions if results[name][-1] is not None}
    times = milliseconds(runnable)
    return [row(family, name, said[name], results.get(name), folder, times) for name in said]


def row(
    family: str, name: str, problem: str, found: list[float | None] | None, folder: Path, times: dict[str, float]
) -> tuple[str, ...]:
    if found is None:
        return family, name, f"no graph: {problem.partition(':')[0].rpartition('.')[2]}", "-", "-", "-", "-"
    ran = [value for value in found if value is not None]
    agree = sum(value <= TOLERANCE for value in ran)
    place = {"edgexf": "edgexf", "optimum-onnx": "optimum"}.get(name, name.rpartition(" ")[2])
    (path,) = [path for path in (folder / place).rglob("*.onnx") if path.name != "explain.onnx"]
    nodes = len(onnx.load(str(path), load_external_data=False).graph.node)
    ratio = f"{times[name] / times['edgexf']:.2f}" if name in times else "-"
    worst = f"{max(ran):.1e}" if ran else "-"
    return family, name, f"{agree} of {len(found)}", f"{len(found) - len(ran)}", worst, f"{nodes:,}", ratio


@click.command()
@click.argument("environment", type=click.Path(file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table here.")
def main(environment: Path, output: Path | None) -> None:
    """Export both models by every exporter, compare, and print a Markdown table."""
    transformers.logging.set_verbosity_error()
    if not (environment / "bin" / "optimum-cli").exists():
        venv.create(environment, with_pip=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", *PEERS], check=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for family, checkpoint in models(Path(folder)):
            rows += rows_of(family, checkpoint, Path(folder, f"{family}-graphs"), environment)
    header = ("model", "exporter", "cells that agree", "cells that fail", "worst difference", "nodes", "time / edgexf")
    cells = ", ".join(f"{length:,} x {batch}" for length, batch in CELLS)
    text = (
        f"Tokens x rows: {cells}. Difference relative to the largest logit; agreement within {TOLERANCE:g}. Time of "
        f"one row of 4,096 tokens over edgexf's, medians of {TURNS} interleaved runs.\n\n{markdown_table(header, rows)}"
    )
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
