"""Compares graphs with the untouched eager model in each cell of the contract grid.

In: a source as it was before the export, and sessions of its graphs. Out: a `GridResult`, with a row for each cell and
with checks. A row holds relative differences on the real tokens: max |graph - eager| / max |eager| of outputs and of
relevance, and the difference of residuals in relation to the sums that leave them (`edgexf.bundle.golden`). A row over
the tolerance fails, and the caller refuses the bundle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import onnxruntime as ort

from edgexf import names
from edgexf.bundle.golden import output_difference, relative_difference, residual_difference, thinned
from edgexf.errors import in_a_sentence
from edgexf_exporters.source import Source
from edgexf_exporters.verify.declared import undeclared
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import Array, Cell, Feeds, cells
from edgexf_exporters.verify.row_by_row import MODEL, compared_with, each_row
from edgexf_exporters.verify.ties import TIE, Choices

BROKEN_CONFIG = "mend its config, or save it again with its own"
DECLARED = "outputs have the sizes that the manifest declares"
UNDEFINED = "where the model itself answers no finite number, nothing is compared but an infinite one"
BROKEN_MODULE = "mend what stops it there, or leave such sizes out with dynamic_shapes"


@dataclass(frozen=True)
class Row:
    """A cell of the grid and the largest relative differences of all graphs in this cell.

    Attributes:
        length: the number of tokens of the inputs.
        batch: the number of samples.
        mask: the kind of the mask, as in `Cell`.
        outputs: the difference of the outputs.
        relevance: the difference of relevance and of attention weights; None without an explain graph.
        residual: the difference of residuals and of the values along a path; None without an explain graph.
        globals: the kind of global tokens, as in `Cell`.
        against: what the graphs are compared with: the `MODEL`, or the `DEFINITION` that stands in for the model.
        ties: how many ties the graphs and the model break in different ways.
    """

    length: int
    batch: int
    mask: str
    outputs: float
    relevance: float | None
    residual: float | None = None
    globals: str = ""
    against: str = MODEL
    ties: int = 0

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)


@dataclass
class GridResult:
    """What the grid found.

    Attributes:
        grid: the name of the grid, as in `GRIDS`.
        tolerance: the bound of every difference.
        rows: the cells.
        checks: what each check found, by the name of the check. An empty string is a pass.
        growth: what grows faster than the length in a custom module. It is no failure, because edgexf promises nothing
            about the growth of a custom module.
        undefined: what was not compared, because the model itself answers no finite number there; empty if all was.
    """

    grid: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    growth: str = ""
    undefined: str = ""

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.rows)

    @property
    def failures(self) -> list[str]:
        """One sentence for each row and check that fails."""
        rows = [
            f"length {row.length}, batch {row.batch}, mask {row.mask}{f', globals {row.globals}' if row.globals else ''}: {row.worst:.1e}{'' if row.worst < math.inf else ', values that are not finite or of another shape'}"
            for row in self.rows
            if not row.worst <= self.tolerance
        ]
        return rows + [f"{name}: {found}" for name, found in self.checks.items() if found]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "worst": self.worst}


def reference(source: Source, feeds: Feeds, methods: Sequence[str] = ()) -> Feeds:
    """What `eager` answers. It is asked for each row alone if the source requires it."""
    if source.per_row is None:
        return eager(source, feeds, methods)
    return each_row(source, source.per_row, feeds, lambda row: eager(source, row, methods))


def run(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> Feeds:
    """Runs a graph. Returns all outputs by name.

    Raises ExportError where ONNX Runtime stops: the graph is wrong at that shape.
    """
    outputs = [value.name for value in session.get_outputs()]
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
    with in_a_sentence(
        f"a graph must run at every shape of the grid (here {shapes})",
        "lower the module that this names without fixing its shapes",
    ):
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))


def run_with(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    """Runs a graph with the feeds that it takes, and ignores other feeds."""
    return run(session, {value.name: feeds[value.name] for value in session.get_inputs()})


def compare(
    source: Source,
    predict: ort.InferenceSession,
    explain: Mapping[str, ort.InferenceSession],
    grid: str,
    block: int,
    tolerance: float,
    choosing: Callable[[], Sequence[ort.InferenceSession]] | None = None,
) -> tuple[GridResult, list[tuple[Cell, Feeds]]]:
    """Compares the graphs with the model in each cell of a grid.

    Returns the result, and the cells for golden.npz, each with its feeds and eager outputs. Cells that depend on a tie
    are left out of golden.npz, because another device may break the tie differently.

    Args:
        source: the source with its untouched model.
        predict: the session of the predict graph.
        explain: the session of each explain graph, by its method.
        grid: ``quick`` or ``full``.
        block: the number of tokens in a block of the graphs.
        tolerance: the bound of every relative difference.
        choosing: makes sessions of the same graphs that also output the discrete choices of the graphs; None for a
            model without discrete choices.
    """
    result, references = GridResult(grid, tolerance), []
    padding = "relevance of padding is exactly 0"
    for cell in cells(source, block, grid):
        feeds = cell.feeds(source)
        remedy = BROKEN_CONFIG if source.module_inputs is None else BROKEN_MODULE
        sentence = in_a_sentence(f"a model must answer every cell of the grid ({cell.name})", remedy)
        with sentence, Choices() if source.has_argmax else nullcontext(Choices()) as met:
            wanted = reference(source, feeds, list(explain))
        if source.module_inputs is not None and not result.checks.get(DECLARED):
            result.checks[DECLARED] = undeclared(source, feeds, wanted)
        if any(not np.isfinite(wanted[output.name]).all() for output in source.outputs):
            result.undefined = UNDEFINED
        found = [run_with(session, feeds) for session in (predict, *explain.values())]
        row = measured(source, cell, source.real(feeds), found, [wanted] * len(found), list(explain))
        if choosing is not None and not row.worst <= tolerance:
            row = untied(source, cell, feeds, found, list(explain), choosing())
        result.rows.append(row)
        small = {output.name: thinned(output, wanted[output.name]) for output in source.outputs}
        if met.closest > TIE:
            taken = {value.name for session in (predict, *explain.values()) for value in session.get_inputs()}
            kept = {name: array for name, array in feeds.items() if name in taken}
            right = {name: array for name, array in wanted.items() if name != names.ATTENTION}  # relevance is its mean
            references.append((cell, {**kept, **right, **small}))
        for answer in found[1:]:
            result.checks.setdefault(padding, "")
            if np.any(answer[names.RELEVANCE][~source.shown(feeds)]):
                result.checks[padding] = f"it is not at length {cell.length}, mask {cell.mask}"
    if source.per_row is not None:
        itself = any(row.against == MODEL for row in result.rows)
        result.checks["the model itself answers a part of the grid"] = "" if itself else "it has no answer to any cell"
    return result, references


def untied(
    source: Source, cell: Cell, feeds: Feeds, found: Sequence[Feeds], methods: Sequence[str], choosing: Sequence[ort.InferenceSession]
) -> Row:  # fmt: skip
    """The row of a cell, where the model repeats the choices of each graph that are ties."""
    wanted, ties = [], 0
    for answer, session in zip(found, choosing, strict=True):
        again = run_with(session, feeds)
        same = all(again[name].tobytes() == value.tobytes() for name, value in answer.items())
        given = [value for name, value in again.items() if name not in answer] if same else []
        with Choices(given) as met:
            wanted.append(reference(source, feeds, methods))
        ties += met.broken
    return replace(measured(source, cell, source.real(feeds), found, wanted, methods), ties=ties)


def measured(
    source: Source, cell: Cell, real: Array, found: Sequence[Feeds], wanted: Sequence[Feeds], methods: Sequence[str]
) -> Row:
    """The row of a cell, with the largest differences of all graphs.

    `found` holds the outputs of each graph, and `wanted` what each graph must answer. The first graph predicts, the
    others explain by `methods`. `real` is bool [batch, sequence].
    """
    outputs = max(
        output_difference(output, answer[output.name], right[output.name], real)
        for answer, right in zip(found, wanted, strict=True)
        for output in source.outputs
    )
    relevance, residual = [], []
    for place, (method, answer, right) in enumerate(zip(methods, found[1:], wanted[1:], strict=True)):
        scores = right[names.relevance_of(method, place == 0)]
        relevance.append(relative_difference(answer[names.RELEVANCE], scores))
        left = right[names.residual_of(method, place == 0)]
        residual.append(residual_difference(answer[names.RESIDUAL], left, scores, source.row_axis))
        if names.PATH_VALUES in answer:
            along, wanted_along = answer[names.PATH_VALUES].T, right[names.PATH_VALUES].T
            residual.append(residual_difference(along, wanted_along, scores, source.row_axis))
        if names.ATTENTION in answer:
            relevance.append(relative_difference(answer[names.ATTENTION], right[names.ATTENTION]))
    worst = outputs, max(relevance, default=None), max(residual, default=None)
    return Row(cell.length, cell.batch, cell.mask, *worst, cell.globals, compared_with(source, real))
