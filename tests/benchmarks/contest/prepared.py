"""What `speed.py` measures on disk. In: a choice of models. Out: a folder of bundles, and the graphs of `library`."""

from __future__ import annotations

import itertools
from pathlib import Path

import click
from benchmarks.contest.cases import Choice
from benchmarks.contest.library import prepare_library
from benchmarks.contest.models import Model

import edgexf
from edgexf import names
from edgexf.bundle.graphs import ORT_CPU, candidate_file
from edgexf.errors import RefusedError

INT8_FILE = "onnx/model_quantized.onnx"
ORT_CPU_FILE = candidate_file(names.PREDICT_FILE, ORT_CPU)


def folder_of(bundles: Path, model: Model, layers: int) -> Path:
    return bundles / (model.name if model.reference else f"{model.name}-{layers}")


def prepare(bundles: Path, choice: Choice, longest: int | None = None) -> None:
    """Exports what is not there yet: predict and explain graphs in float32 and int8, and graphs of transformers' exporter.

    Bundles of families are verified for inputs of up to `longest` tokens, by default as long as the model takes them.
    """
    for model, layers in choice.folders():
        target = folder_of(bundles, model, layers)
        if not (target / names.MANIFEST_FILE).is_file():
            click.echo(f"exporting {target.name}", err=True)
            export(model, layers, target, longest)
        if not (target / INT8_FILE).is_file():
            try:
                edgexf.quantize(target, "int8", force=True)
            except RefusedError as error:  # leaves its column empty
                click.echo(f"{target.name}: {error}", err=True)
    of_transformers = [case for case in choice.cases() if not case.model.reference]
    for _, cases in itertools.groupby(of_transformers, lambda case: (case.model.name, case.layers)):
        prepare_library(bundles, list(cases))


def export(model: Model, layers: int, target: Path, longest: int | None) -> None:
    if model.reference:
        edgexf.export(variant=model.name, output=target, ops=ORT_CPU)
    else:
        edgexf.export(
            model.make(layers),
            output=target,
            overwrite=True,
            max_global=model.max_global,
            max_length=longest,
            ops=ORT_CPU,
        )
