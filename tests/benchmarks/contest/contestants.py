"""The contestants of a case. In: a case, the bundles, threads. Out: functions that run the model once, and who is absent and why.

The eager model comes first, and the floor of its products last. A contestant that is not installed, or was not exported
without a reason, is absent without a word.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.contest.agreement import disagreement
from benchmarks.contest.cases import Case
from benchmarks.contest.compiled import compiled
from benchmarks.contest.foreign import reason
from benchmarks.contest.library import graph_of
from benchmarks.contest.models import MODELS
from benchmarks.contest.prepared import INT8_FILE, ORT_CPU_FILE, folder_of
from benchmarks.contest.rows import EAGER, FLOOR, Floor, Run, of_graph

from edgexf import names
from edgexf.bundle.graphs import ORT_CPU

DENSE = "hf-bert"
COMPILE, LIBRARY, OPENVINO = "compile", "library", "openvino"


@dataclass(frozen=True)
class Contest:
    """Who runs in turns.

    Attributes:
        found: contestants by name, in the order of the first round.
        notes: contestant -> why it is absent, or what is to be known of it.
    """

    found: dict[str, Run | Floor]
    notes: dict[str, str] = field(default_factory=dict)


def contest(bundles: Path, case: Case, threads: int, compiles: bool) -> Contest:
    """The contestants that this machine has; torch.compile's model only with `compiles`."""
    torch.set_num_threads(threads)
    module, given = case.model.make(case.layers), case.model.inputs(case.batch, case.tokens)
    folder = folder_of(bundles, case.model, case.layers)

    def call(called: Callable[..., Any]) -> Any:
        ids, mask = (torch.from_numpy(given[name]) for name in ("input_ids", "attention_mask"))
        with torch.no_grad():
            return called(ids, mask) if case.model.reference else called(input_ids=ids, attention_mask=mask)

    found: dict[str, Run | Floor] = {EAGER: lambda: call(module)}
    notes: dict[str, str] = {}
    found |= of_bundle(folder, case, given, threads)
    if (folder / ORT_CPU_FILE).is_file():
        add_if_right(found, notes, ORT_CPU, partial(of_graph, str(folder / ORT_CPU_FILE), given, threads), call(module))
    if importlib.util.find_spec("openvino") is not None and (folder / names.PREDICT_FILE).is_file():
        make = partial(of_openvino, folder / names.PREDICT_FILE, given, threads)
        add_if_right(found, notes, OPENVINO, make, call(module))
    dense = folder_of(bundles, MODELS[DENSE], case.layers) / names.PREDICT_FILE
    if not case.model.reference and case.model.name != DENSE and dense.is_file():
        found["dense"] = of_graph(str(dense), given, threads)
    if not case.model.reference:
        path, notes[LIBRARY] = graph_of(bundles, case)
        if path is not None:
            add_if_right(found, notes, LIBRARY, partial(of_graph, str(path), given, threads), call(module))
    if compiles:
        run, notes[COMPILE] = compiled(module, call)
        if run is not None:
            found[COMPILE] = run
    found[FLOOR] = floor(case, threads)
    return Contest(found, {name: why for name, why in notes.items() if why})


def of_bundle(folder: Path, case: Case, given: dict[str, Any], threads: int) -> dict[str, Run | Floor]:
    """The portable graphs of edgexf."""
    found: dict[str, Run | Floor] = {}
    for name, path in (("graph", names.PREDICT_FILE), ("int8", INT8_FILE)):
        if (folder / path).is_file():
            found[name] = of_graph(str(folder / path), given, threads)
    explain = folder / names.explain_files(["attnlrp"])["attnlrp"]
    if explain.is_file():
        target = {names.TARGET: torch.zeros(case.batch, 20 if case.model.reference else 4).numpy()}
        found["explain"] = of_graph(str(explain), {**given, **target}, threads)
    return found


def of_openvino(path: Path, given: dict[str, Any], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled_model = core.compile_model(core.read_model(path), "CPU", settings)
    kept = {value.get_any_name(): given[value.get_any_name()] for value in compiled_model.inputs}
    return lambda: [compiled_model(kept)[0]]


def add_if_right(
    found: dict[str, Run | Floor], notes: dict[str, str], name: str, make: Callable[[], Run], wanted: Any
) -> None:
    """Adds a contestant, unless it does not run at this shape, or answers otherwise than the eager model; then notes why."""
    try:
        run = make()
        notes[name] = disagreement(run(), wanted)
    except Exception as error:  # noqa: BLE001 (a runtime raises any class for a graph that it can't run)
        notes[name] = reason(error)
    if not notes[name]:
        found[name] = run


def floor(case: Case, threads: int) -> Floor:
    """The products of all rows of the batch: more products of attention, and longer ones of linear layers."""
    products = [
        product._replace(batch=product.batch * case.batch)
        if product.batch > 1
        else product._replace(rows=product.rows * case.batch)
        for product in case.model.products(case.layers, case.tokens)
    ]
    return Floor(products, threads)
