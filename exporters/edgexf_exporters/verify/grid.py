"""The contract grid: graphs against the untouched eager model, over lengths, batches and masks.

In: a source as it was before the export, and sessions of its graphs. Out: a `GridResult`, a row for each
cell with the relative difference max |graph - eager| / max |eager| of outputs, relevance and residual on the
real tokens, and the checks that are no comparison. A row outside the tolerance fails; the caller refuses
the bundle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from types import CodeType
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from edgexf import names
from edgexf.bundle.golden import output_difference, relative_difference, residual_difference, thinned
from edgexf.bundle.manifest import Tensor
from edgexf.errors import ExportError, in_a_sentence
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.trace.guards import uncovered
from edgexf_exporters.verify.cells import NOMINAL_BLOCK, Array, Cell, Feeds, batches, cells, lengths
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.row_by_row import MODEL, compared_with, each_row
from edgexf_exporters.verify.ties import TIE, Choices

BROKEN_CONFIG = "mend its config, or save it again with its own"
BROKEN_MODULE = "mend what stops it there, or leave such sizes out with dynamic_shapes"
MOST_UNCOVERED = 32  # sizes that are looked at one by one, and as many of those behind them
BATCH_TOLERANCE = 1e-5  # how far a sample may depend on its batch mates, relative


@dataclass(frozen=True)
class Row:
    """A cell and what was measured there; differences are relative, and None without an explain graph.

    `against`: whose answer they are from, the `MODEL`'s or the `DEFINITION`'s that stands in for it. `ties`: choices that
    the graphs and the model break in different ways.
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
    """`checks` maps a check's name to what it found: an empty string is a pass. `growth` says what grows faster than the
    length in a module of one's own, which nothing was promised of.
    """

    grid: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    growth: str = ""

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


def answers(source: Source, inputs: Mapping[str, torch.Tensor]) -> Feeds:
    with torch.no_grad():
        return {name: output.numpy() for name, output in source.answer(inputs).items()}


def check_contract(source: Source) -> None:
    """Runs the eager model on a short and a longer input. ExportError where it fails, or answers with other shapes than
    its config promises.
    """
    for length in {source.limits.min_length, min(NOMINAL_BLOCK, source.limits.max_length)}:
        feeds = Cell(length, 2, "none", 1).feeds(source)
        with in_a_sentence("a model must run before it is exported", BROKEN_CONFIG):
            found = reference(source, feeds)
        sizes = {
            axis: size
            for tensor in source.tensors
            for axis, size in zip(tensor.shape, feeds[tensor.name].shape, strict=True)
        }
        for output in source.outputs:
            wanted = tuple(sizes.get(axis, axis) for axis in output.shape)
            if found[output.name].shape != wanted:
                raise ExportError(
                    f"{output.name} must have the shape that the config promises, {list(wanted)}, got {list(found[output.name].shape)}; "
                    "mend num_labels and id2label, or save the model again with its own config."
                )


def reference(source: Source, feeds: Feeds, methods: Sequence[str] = ()) -> Feeds:
    """What `eager` answers, of each row alone where the source asks for that."""
    if source.per_row is None:
        return eager(source, feeds, methods)
    return each_row(source, source.per_row, feeds, lambda row: eager(source, row, methods))


def run(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> Feeds:
    """All outputs by name. ExportError where ONNX Runtime stops: the graph is wrong at that shape."""
    outputs = [value.name for value in session.get_outputs()]
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
    with in_a_sentence(
        f"a graph must run at every shape of the grid (here {shapes})",
        "lower the module that this names without fixing its shapes",
    ):
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))


def run_with(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    """The outputs for those of the feeds that the graph takes."""
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
    """The result, and each cell with its feeds and eager outputs for golden.npz; without those that hang on a tie, which
    another device may break in its own way.

    `explain` are the sessions by their method. `choosing` makes the sessions of the same graphs, which also answer their discrete choices.
    """
    result, references = GridResult(grid, tolerance), []
    padding = "relevance of padding is exactly 0"
    for cell in cells(source, block, grid):
        feeds = cell.feeds(source)
        remedy = BROKEN_CONFIG if source.module_inputs is None else BROKEN_MODULE
        sentence = in_a_sentence(f"a model must answer every cell of the grid ({cell.name})", remedy)
        with sentence, Choices() if source.has_argmax else nullcontext(Choices()) as met:
            wanted = reference(source, feeds, list(explain))
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
    """The cell with the model repeating the choices of each graph in turn, where they are ties."""
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
    """The worst of all graphs in a cell; the first predicts, the others explain by `methods`. `real` is bool
    [batch, sequence]; `wanted` is what each must answer.
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


def check_behaviour(source: Source, block: int, sessions: Sequence[ort.InferenceSession]) -> dict[str, str]:
    """Two runs are bit-equal, a sample is independent of its batch mates, relevance follows the input."""
    chosen = "scattered" if source.limits.max_global else ""
    mask = "none" if source.mask is None else "right"
    cell = Cell(lengths(source, block)[-2:][0], batches(source)[-1], mask, 97, chosen)  # long, but not the longest
    feeds = cell.feeds(source)
    real = source.real(feeds)
    kinds = {
        tensor.name: tensor
        for tensor in (
            *source.tensors,
            *source.outputs,
            *itertools.chain(*source.explained_by(path=True, weights=True)),
        )
    }
    found = {"two runs are bit-equal": ""}
    for session in sessions:
        given = {value.name: feeds[value.name] for value in session.get_inputs()}
        first, second = run(session, given), run(session, given)
        for name in first:
            if first[name].tobytes() != second[name].tobytes():
                found["two runs are bit-equal"] = f"{name} differs between two runs"
        if batches(source)[0] == 1 and any(source.samples(tensor) is not None for tensor in source.tensors):
            found.setdefault("a sample is independent of its batch mates", "")
            alone = run(session, {name: first_sample(source, kinds[name], value) for name, value in given.items()})
            for name, answer in first.items():
                if (
                    output_difference(kinds[name], first_sample(source, kinds[name], answer), alone[name], real[:1])
                    > BATCH_TOLERANCE
                ):
                    found["a sample is independent of its batch mates"] = f"{name} changes with the batch"
        if names.RELEVANCE in first:
            turned = {name: value[::-1].copy() for name, value in given.items() if name in source.inputs}
            other = run(session, {**given, **turned})[names.RELEVANCE]
            constant = relative_difference(other, first[names.RELEVANCE]) < BATCH_TOLERANCE
            found.setdefault("relevance follows the input", "")
            if constant:
                found["relevance follows the input"] = "it is the same for two inputs"
    return found


def check_uncovered(
    source: Source, own: ModuleInputs, predict: ort.InferenceSession, guards: Sequence[CodeType], tolerance: float
) -> str:
    """What is wrong at sizes that no condition of the trace covers, empty where nothing is: at all of them, or at the first
    and an even sample of the others, since many a condition is about memory alone.
    """
    signature = own.signature
    usual = Cell(lengths(source, 1)[-2:][0], batches(source)[-1], "none", 1).sizes(signature)
    found = list(uncovered(guards, own.tensors, signature.axes, signature.samples, usual))
    later = found[MOST_UNCOVERED:]
    for count, sizes in enumerate(found[:MOST_UNCOVERED] + later[:: len(later) // MOST_UNCOVERED + 1]):
        feeds = own.draw(sizes, seed=count)
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            answer, wanted = run(predict, feeds), eager(source, feeds)
        if met.closest <= TIE:
            continue  # rounding may decide otherwise here: the cells of the grid are compared with the graph's choice
        real = source.real(feeds)
        for output in source.outputs:
            if not output_difference(output, answer[output.name], wanted[output.name], real) <= tolerance:
                return f"{output.name} differs where " + ", ".join(f"{name} is {size}" for name, size in sizes.items())
    return ""


def first_sample(source: Source, tensor: Tensor, array: Array) -> Array:
    """The array with its first sample alone; whole where it holds none."""
    axis = source.samples(tensor)
    return array if axis is None else array.take([0], axis)
