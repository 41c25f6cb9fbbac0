"""The verdict on an export: the same files that will be written, against the untouched eager model.

In: a source, its graphs, a function that makes files of graphs, and a function that opens a file. Out: a `Verdict`: the
graphs that the bundle gets, their files, the result of the grid with every check, and golden.npz.

    graphs -> files -> sessions -> contract grid, behaviour, structure -> Verdict
                       and again for the graphs of each candidate
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgexf import bundle, names
from edgexf.bundle.golden import pack
from edgexf.bundle.graphs import candidate_file
from edgexf.errors import ExportError
from edgexf.products import ROWS
from edgexf.progress import Steps, no_steps
from edgexf_exporters.capture import conditions_at
from edgexf_exporters.graphs import Graphs, Written, alike
from edgexf_exporters.source import Source
from edgexf_exporters.verify import graph_checks
from edgexf_exporters.verify.behaviour import changed_by_padding, check_behaviour
from edgexf_exporters.verify.branches.settle import settle
from edgexf_exporters.verify.branches.shortcuts import shortcut
from edgexf_exporters.verify.compare import SHOWN, Answers, GridResult, compare
from edgexf_exporters.verify.differences import ties
from edgexf_exporters.verify.grid import Cell, Feeds

GOLDEN_BYTES = 1_000_000
OUTSIDE = "sizes that the trace does not cover agree"

Files = Mapping[str, bytes]
Build = Callable[[Graphs], Files]
References = list[tuple[Cell, Feeds]]
OpenSession = Callable[[Path], ort.InferenceSession]


@dataclass(frozen=True)
class Verdict:
    """The graphs of a source, and what their verification found.

    Attributes:
        graphs: the graphs that the bundle gets: all of them, or the predict graph only.
        files: the files that were verified, by their path in the bundle.
        source: the source, whose axes keep to what the graph answers.
        result: every cell of the contract grid, and every check.
        golden: the bytes of golden.npz, a sample of the grid's cells.
    """

    graphs: Graphs
    files: Files
    source: Source
    result: GridResult
    golden: bytes


def judge(
    source: Source, graphs: Graphs, build: Build, open_session: OpenSession, grid: str, asked: bool, steps: Steps = no_steps
) -> Verdict:  # fmt: skip
    """Builds the files of graphs, and compares them with the source's own model on the grid.

    If the untouched model can't be explained by the same rules, the explain graphs are left out, and the result holds
    the reason. If the user `asked` for an explanation by name, this is an ExportError instead. An explanation that
    differs is a failure in both cases. `steps` is called before each cell of the grid. Raises ExportError where the model or a graph fails in a cell.
    """
    files = build(graphs)
    try:
        return Verdict(graphs, files, *compared(source, graphs, files, open_session, grid, steps))
    except ExportError as error:
        if asked or not graphs.explain:
            raise
        graphs = graphs.without_explain(str(error))
    files = build(graphs)
    return Verdict(graphs, files, *compared(source, graphs, files, open_session, grid, steps))


def compared(
    source: Source, graphs: Graphs, files: Files, open_session: OpenSession, grid: str, steps: Steps
) -> tuple[Source, GridResult, bytes]:
    """The source with its settled contract, the result of the grid for these files, and the bytes of golden.npz."""
    tolerance = source.variant.tolerance
    paths = {names.PREDICT: names.PREDICT_FILE, **names.explain_files(graphs.explain)}
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for path, data in files.items():
            bundle.write_synced(Path(folder, path), data)
        opened = Opened(Path(folder), paths, open_session)
        # Before the grid, because it decides which sizes the grid has, and says why cells of the grid fail.
        found = settle(source, opened.predict, graphs, partial(conditions_at, source), tolerance)
        source = found.source
        if found.wrong:  # at such sizes ONNX Runtime may stop with words of its own
            return source, GridResult(grid, tolerance, checks={OUTSIDE: found.wrong}), b""
        answers = Answers(source, list(opened.explain), bool(graphs.candidates))
        result, references = on_grid(source, graphs, opened, grid, steps, answers)
        result.checks[OUTSIDE] = ""
        if source.module_inputs is not None:
            if graphs.tracing_branch:
                shortcut_found = shortcut(source, source.module_inputs, opened.predict, tolerance)
                said = f"{shortcut_found}: forward goes another way while it is traced, {graphs.tracing_branch}"
                result.checks["special inputs take the way of the trace"] = said if shortcut_found else ""
            if source.limits.padding == "invariant":
                changed = changed_by_padding(source, source.module_inputs, opened.predict, tolerance)
                result.checks["padding behind a row changes no answer"] = changed
            result.growth = graph_checks.growth(Path(folder, names.PREDICT_FILE), source.module_inputs)
        judged: list[tuple[Written, str]] = []  # forms of one content are judged once
        for form, written in graphs.candidates.items():
            if not any(alike(written, other) for other, _ in judged):
                there = {method: candidate_file(path, form.name) for method, path in paths.items()}
                again = Opened(Path(folder), there, open_session)
                other_result, theirs = on_grid(source, graphs, again, grid, steps, answers, form.rows)
                references = most_rounded(references, theirs)
                judged.append((written, "; ".join(other_result.failures[:SHOWN])))
            said = next(said for other, said in judged if alike(written, other))
            result.checks[f"the graphs of {form.name} pass the same grid and checks"] = said
    # Batch 1 comes first, since the same bytes then hold more lengths.
    sampled = sorted(references, key=lambda reference: reference[0].batch)
    if not sampled and result.failures:  # no cell was compared
        return source, result, b""
    return source, result, pack({cell.name: tensors for cell, tensors in sampled}, GOLDEN_BYTES)


def most_rounded(first: References, second: References) -> References:
    """The first cells, each with the larger tolerance that graphs of either form ask for where rounding exceeds the usual one."""
    asked = {cell.name: tensors[names.ROUNDED] for cell, tensors in second if names.ROUNDED in tensors}
    return [
        (cell, {**tensors, names.ROUNDED: np.maximum(tensors.get(names.ROUNDED, 0.0), asked[cell.name])})
        if cell.name in asked
        else (cell, tensors)
        for cell, tensors in first
    ]


class Opened:
    """Sessions of a source's graphs in one form, from files by method in a folder.

    Attributes:
        predict: the session of the predict graph.
        explain: the session of each explain graph, by its method.
    """

    def __init__(self, folder: Path, paths: Mapping[str, str], open_session: OpenSession) -> None:
        self.files = {path: Path(folder, path) for path in paths.values()}
        self._open, self._predict_file = open_session, Path(folder, paths[names.PREDICT])
        sessions = {method: open_session(Path(folder, path)) for method, path in paths.items()}
        self.predict = sessions.pop(names.PREDICT)
        self.explain = sessions

    @cached_property
    def choosing(self) -> list[ort.InferenceSession]:
        """Sessions of the same graphs that also output the discrete choices of the graphs."""
        count = len(ties.choices(onnx.load(str(self._predict_file), load_external_data=False)))
        return [self._open(ties.with_choices(file, count)) for file in self.files.values()]


def on_grid(
    source: Source, graphs: Graphs, opened: Opened, grid: str, steps: Steps, answers: Answers, rows: int = ROWS
) -> tuple[GridResult, References]:
    """Compares sessions with the model in each cell, and adds the checks of behaviour and structure. `rows`: of a slice.

    Returns the result, and the cells for golden.npz.
    """
    variant = source.variant
    asked = (lambda: opened.choosing) if source.has_argmax else None
    result, references = compare(
        source, opened.predict, opened.explain, grid, graphs.step, variant.tolerance, asked, steps, answers
    )
    result.checks |= check_behaviour(source, graphs.step, opened.predict, opened.explain)
    whole = math.lcm(graphs.step, rows) if source.sliced else graphs.step  # lengths without a rest of a slice
    for path, file in opened.files.items():
        graph = onnx.load(str(file), load_external_data=False)
        result.checks[f"no random operator in {path}"] = graph_checks.random_operators(graph)
        if variant.subquadratic:
            grows = graph_checks.quadratic_tensors(file, source.tensors, whole, source.limits)
            if grows is not None:
                result.checks[f"nothing grows as length squared in {path}"] = grows
    return result, references
