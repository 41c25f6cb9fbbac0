"""The contestant `library`: graphs that transformers' own exporter writes, with its fusions for ONNX Runtime where they work.

In: a model of transformers, and the shapes at which it is measured. Out, in the folder ``library`` beside the bundles:

    MODEL-LAYERS.onnx               the graph for any batch and length
    MODEL-LAYERS-BATCHxLENGTH.onnx  a graph for one shape, where no graph for any shape could be written
    the same names with .txt        why a graph is missing, or has no fusions

A graph counts as written only if it answers as the eager model does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from benchmarks.contest.agreement import disagreement
from benchmarks.contest.cases import Case
from benchmarks.contest.foreign import quiet, reason
from benchmarks.contest.rows import of_graph

FOLDER = "library"
EXAMPLE, OTHER = (2, 1024), (1, 512)  # batch and length: the graph for any shape is exported at one, and tried at both
FUSIONS = ("cpu", None)
Shape = tuple[int, int]


def place(bundles: Path, case: Case, fixed: bool) -> Path:
    shape = f"-{case.batch}x{case.length}" if fixed else ""
    return bundles / FOLDER / f"{case.model.name}-{case.layers}{shape}.onnx"


def prepare_library(bundles: Path, cases: list[Case]) -> None:
    """Exports one model for the shapes of its cases, if that was not done yet."""
    first = cases[0]
    (bundles / FOLDER).mkdir(parents=True, exist_ok=True)
    length = max(EXAMPLE[1], first.model.step)
    shapes = [(EXAMPLE[0], length)] + ([OTHER] if OTHER[1] % first.model.step == 0 else [])
    if not once(first, place(bundles, first, fixed=False), shapes, dynamic=True):
        for case in cases:
            once(case, place(bundles, case, fixed=True), [(case.batch, case.length)], dynamic=False)


def once(case: Case, path: Path, shapes: list[Shape], dynamic: bool) -> bool:
    """Whether the graph is there: with fusions or, where these fail, without. Writes what failed beside the graph."""
    if not path.is_file() and not path.with_suffix(".txt").is_file():
        failed: dict[str, None] = {}
        for fusions in FUSIONS:
            why = export(case, path, shapes, dynamic, fusions)
            if not why:
                break
            failed[why] = None
        if failed:
            fused = "without fusions: " if path.is_file() else ""
            path.with_suffix(".txt").write_text(f"{fused}{'; '.join(failed)}\n", encoding="utf-8")
    return path.is_file()


def export(case: Case, path: Path, shapes: list[Shape], dynamic: bool, fusions: str | None) -> str:
    """Writes a graph; what is wrong with it, in which case no file stays."""
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    data = path.with_name(f"{path.name}.data")
    try:
        with quiet():
            model: Any = case.model.make(case.layers)
            sample: dict[str, Any] = {name: torch.from_numpy(value) for name, value in asked(case, shapes[0]).items()}
            config = OnnxConfig(dynamic=dynamic, ort_fusions=fusions)  # type: ignore[arg-type]
            program = OnnxExporter().export(model, sample, config=config).program
            OnnxExporter.save_program(program, path)
        why = next(filter(None, (wrong_at(case, path, shape) for shape in shapes)), "")
    except Exception as error:  # noqa: BLE001 (an exporter of others raises any class)
        why = reason(error)
    if why:
        for file in (path, data):
            file.unlink(missing_ok=True)
    return why


def asked(case: Case, shape: Shape) -> dict[str, Any]:
    """What the eager model is given at a shape."""
    given = case.model.inputs(*shape)
    return {name: given[name] for name in ("input_ids", "attention_mask")}


def wrong_at(case: Case, path: Path, shape: Shape) -> str:
    """What is wrong with the graph's answer at a shape."""
    given = asked(case, shape)
    with torch.no_grad():
        wanted = case.model.make(case.layers)(**{name: torch.from_numpy(value) for name, value in given.items()})
    where = "x".join(map(str, shape))
    try:
        wrong = disagreement(of_graph(str(path), given, threads=1)(), wanted)
    except Exception as error:  # noqa: BLE001 (onnxruntime raises any class for a graph that it can't run)
        wrong = reason(error)
    return f"at {where}: {wrong}" if wrong else ""


def graph_of(bundles: Path, case: Case) -> tuple[Path | None, str]:
    """The graph for a case, and why there is none or what is to be known of it."""
    why = ""
    for path, kind in (
        (place(bundles, case, fixed=False), ""),
        (place(bundles, case, fixed=True), "for one shape alone"),
    ):
        text = path.with_suffix(".txt")
        told = text.read_text(encoding="utf-8").strip() if text.is_file() else ""
        if path.is_file():
            return path, "; ".join(filter(None, (kind, told)))
        why = told or why
    return None, why or "it was not exported by --prepare"
