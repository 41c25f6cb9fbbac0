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
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort

from edgexf import names
from edgexf.bundle.golden import PARTS, output_difference, relative_difference, residual_difference, thinned
from edgexf.bundle.manifest import Tensor
from edgexf.errors import in_a_sentence
from edgexf.progress import Steps, no_steps
from edgexf_exporters.hard_values import kind_of
from edgexf_exporters.source import Source
from edgexf_exporters.verify.declared import undeclared
from edgexf_exporters.verify.differences.columns import OwnScales, Wrong
from edgexf_exporters.verify.differences.rounding import WORST, Compared, Wide, reached
from edgexf_exporters.verify.differences.ties import TIE, Choices
from edgexf_exporters.verify.differences.unspecified import UNSPECIFIED, depends_on_ties
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import Array, Cell, Feeds, cells
from edgexf_exporters.verify.row_by_row import MODEL, compared_with, each_row

BROKEN_CONFIG = "mend its config, or save it again with its own"
STATIC = "sizes that the files declare hold in every cell"
DECLARED = "outputs have the sizes that the manifest declares"
UNDEFINED = "where the model itself answers no finite number, nothing is compared but an infinite one"
KEPT_BYTES = 256 << 20  # of eager answers, for further graphs of a source
SHOWN = 3  # failures that an error shows; in later cells nobody asks whether a difference is rounding or a tie
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
        rounded: the tolerance that ``outputs``, ``relevance`` or ``residual`` asked for, where rounding alone exceeds the
            tolerance of the grid (`edgexf_exporters.verify.differences.rounding`).
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
    rounded: Mapping[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)

    def passes(self, tolerance: float) -> bool:
        """Whether each difference keeps the tolerance, or the tolerance that it asked for."""
        parts = {"outputs": self.outputs, "relevance": self.relevance or 0.0, "residual": self.residual or 0.0}
        return all(found <= max(tolerance, self.rounded.get(part, 0.0)) for part, found in parts.items())


@dataclass
class GridResult:
    """What the grid found.

    Attributes:
        grid: the name of the grid, as in `edgexf_exporters.options`.
        tolerance: the bound of every difference.
        rows: the cells.
        checks: what each check found, by the name of the check. An empty string is a pass.
        growth: what grows faster than the length in a custom module. It is no failure, because edgexf promises nothing
            about the growth of a custom module.
        undefined: what was not compared, because the model itself answers no finite number there; empty if all was.
        ties: what was not compared, because PyTorch's own answer is unspecified there; empty if all was.
    """

    grid: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    growth: str = ""
    undefined: str = ""
    ties: str = ""

    @property
    def worst(self) -> float:
        return max((row.worst for row in self.rows), default=0.0)

    @property
    def failures(self) -> list[str]:
        """One sentence for each check and row that fails. Checks come first, because they say what is wrong."""
        rows = [
            f"length {row.length}, batch {row.batch}, mask {row.mask}{f', globals {row.globals}' if row.globals else ''}: {row.worst:.1e}{'' if row.worst < math.inf else ', values that are not finite or of another shape'}"
            for row in self.rows
            if not row.passes(self.tolerance)
        ]
        return [f"{name}: {found}" for name, found in self.checks.items() if found] + rows

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "worst": self.worst}


def reference(source: Source, feeds: Feeds, methods: Sequence[str] = ()) -> Feeds:
    """What `eager` answers. It is asked for each row alone if the source requires it."""
    if source.per_row is None:
        return eager(source, feeds, methods)
    return each_row(source, source.per_row, feeds, lambda row: eager(source, row, methods))


class Answers:
    """What the eager model answers in each cell, with the choices that it met; up to `KEPT_BYTES` of it is kept.

    The further forms of a graph are compared with the same answers.
    """

    def __init__(self, source: Source, methods: Sequence[str], keeps: bool = False) -> None:
        self._source, self._methods = source, methods
        self._left = KEPT_BYTES if keeps else 0
        self._kept: dict[str, tuple[Feeds, Choices]] = {}

    def __call__(self, cell: Cell, feeds: Feeds) -> tuple[Feeds, Choices]:
        """Raises ExportError, naming the cell, where the model fails."""
        if cell.name in self._kept:
            return self._kept[cell.name]
        remedy = BROKEN_CONFIG if self._source.module_inputs is None else BROKEN_MODULE
        sentence = in_a_sentence(f"a model must answer every cell of the grid ({cell.name})", remedy)
        with sentence, Choices() if self._source.has_argmax else nullcontext(Choices()) as met:
            wanted = reference(self._source, feeds, self._methods)
        size = sum(array.nbytes for array in (*wanted.values(), *met.made))
        if size <= self._left:
            self._left -= size
            self._kept[cell.name] = wanted, met
        return wanted, met


def run(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> Feeds:
    """Runs a graph. Returns all outputs by name. ONNX Runtime then gives back the memory of the run: the model needs it next.

    Raises ExportError where ONNX Runtime stops: the graph is wrong at that shape.
    """
    outputs = [value.name for value in session.get_outputs()]
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
    with in_a_sentence(
        f"a graph must run at every shape of the grid (here {shapes})",
        "lower the module that this names without fixing its shapes",
    ):
        return dict(zip(outputs, session.run(outputs, dict(feeds), options), strict=True))


def run_with(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    """Runs a graph with the feeds that it takes, and ignores other feeds."""
    return run(session, {value.name: feeds[value.name] for value in session.get_inputs()})


def has_large_values(source: Source, cell: Cell) -> bool:
    """Whether a cell draws unusually large floats."""
    return source.module_inputs is not None and bool(source.module_inputs.large) and kind_of(cell.seed) == "large"


def compare(
    source: Source,
    predict: ort.InferenceSession,
    explain: Mapping[str, ort.InferenceSession],
    grid: str,
    block: int,
    tolerance: float,
    choosing: Callable[[], Sequence[ort.InferenceSession]] | None = None,
    steps: Steps = no_steps,
    answers: Answers | None = None,
) -> tuple[GridResult, list[tuple[Cell, Feeds]]]:
    """Compares the graphs with the model in each cell of a grid.

    Returns the result, and the cells for golden.npz, each with its feeds and eager outputs. Cells that depend on a tie
    are left out of golden.npz, because another device may break the tie differently. So are cells of unusually large
    values: quantized graphs are judged by golden.npz, and their ranges are those of real inputs.

    Args:
        source: the source with its untouched model.
        predict: the session of the predict graph.
        explain: the session of each explain graph, by its method.
        grid: ``quick`` or ``full``.
        block: the number of tokens in a block of the graphs.
        tolerance: the bound of every relative difference.
        choosing: makes sessions of the same graphs that also output the discrete choices of the graphs; None for a
            model without discrete choices.
        steps: called with the number of cells that are done, and with their total.
        answers: the answers of the model, where other graphs of the source were compared with them already.
    """
    result, references, methods, wide = GridResult(grid, tolerance), [], list(explain), Wide(source, reference)
    padding, scales, sessions = (
        "relevance of padding is exactly 0",
        OwnScales(source.outputs),
        (predict, *explain.values()),
    )
    wanted_cells = list(cells(source, block, grid))
    answers = answers or Answers(source, methods)
    for place, cell in enumerate(wanted_cells):
        steps(place, len(wanted_cells))
        feeds = cell.feeds(source)
        wanted, met = answers(cell, feeds)
        if source.module_inputs is not None and not result.checks.get(DECLARED):
            result.checks[DECLARED] = undeclared(source, feeds, wanted)
        if any(not np.isfinite(wanted[output.name]).all() for output in source.outputs):
            result.undefined = UNDEFINED
        found = [run_with(session, feeds) for session in sessions]
        result.checks[STATIC] = result.checks.get(STATIC) or misdeclared(sessions, found)
        asked = Asked(feeds, methods, [(wanted, met.made)] * len(found))
        refused = sum(not row.passes(tolerance) for row in result.rows) >= SHOWN
        row = measured(source, cell, found, asked, tolerance, None if refused else wide)
        if choosing is not None and not refused and not row.passes(tolerance):
            row = untied(source, cell, found, asked, choosing(), tolerance, wide)
        if not refused and not row.passes(tolerance) and tied(source, asked, wanted, tolerance):
            result.ties = UNSPECIFIED
            continue
        result.rows.append(row)
        scales.add(cell.name, found[0], wanted, source.real(feeds))
        small = {output.name: thinned(output, wanted[output.name]) for output in source.outputs}
        if met.closest > TIE and not has_large_values(source, cell):
            taken = {value.name for session in sessions for value in session.get_inputs()}
            kept = {name: array for name, array in feeds.items() if name in taken}
            right = {name: array for name, array in wanted.items() if name != names.ATTENTION}  # relevance is its mean
            asks = {names.ROUNDED: np.array([row.rounded.get(part, 0.0) for part in PARTS])} if row.rounded else {}
            references.append((cell, {**kept, **right, **small, **asks}))
        for answer in found[1:]:
            result.checks.setdefault(padding, "")
            if np.any(answer[names.RELEVANCE][~source.shown(feeds)]):
                result.checks[padding] = f"it is not at length {cell.length}, mask {cell.mask}"
    steps(len(wanted_cells), len(wanted_cells))
    if result.ties:
        result.checks["cells without ties were compared"] = "" if result.rows else "there is none"
    by_name = {cell.name: cell for cell in wanted_cells}
    result.checks["columns of the outputs agree at their own scales"] = next(
        (said for one in scales.wrong(tolerance) if (said := off_scale(source, predict, by_name[one.cell], one, wide))),
        "",
    )
    if source.per_row is not None:
        itself = any(row.against == MODEL for row in result.rows)
        result.checks["the model itself answers a part of the grid"] = "" if itself else "it has no answer to any cell"
    return result, references


def tied(source: Source, asked: Asked, wanted: Feeds, tolerance: float) -> bool:
    """Whether the eager answer depends on a choice among equal values that PyTorch leaves unspecified."""

    def alike(found: Array, right: Array) -> bool:
        return relative_difference(found, right) <= tolerance

    return depends_on_ties(lambda: reference(source, asked.feeds, asked.methods), wanted, alike)


def misdeclared(sessions: Sequence[ort.InferenceSession], found: Sequence[Feeds]) -> str:
    """The first output whose size is another number than the graph declares. A free size has a name."""
    for session, answers in zip(sessions, found, strict=True):
        for value in session.get_outputs():
            sizes = answers[value.name].shape
            fixed = [isinstance(wanted, int) for wanted in value.shape]
            if len(sizes) != len(fixed) or any(
                is_fixed and wanted != size for is_fixed, wanted, size in zip(fixed, value.shape, sizes, strict=True)
            ):
                return f"{value.name} has the shape {list(sizes)} where the file declares {value.shape}"
    return ""


def off_scale(source: Source, predict: ort.InferenceSession, cell: Cell, wrong: Wrong, wide: Wide) -> str:
    """Says that a column differs at its own scale; empty if the difference is rounding."""
    feeds = cell.feeds(source)
    with Choices() if source.has_argmax else nullcontext(Choices()) as met:
        wanted = reference(source, feeds)
    if met.closest <= TIE:
        return ""  # a tie, which rounding decides
    name, answer = wrong.output, run_with(predict, feeds)
    one = Compared("outputs", name, answer[name], wanted[name], wrong.measure)
    answers, draws = wide.cached(feeds, (), tuple(met.made))
    right = answers()
    if right is not None and not wrong.measure(wanted[name], right[name]) <= WORST:
        return ""  # the column is rounding alone, such as a sum of probabilities minus 1: it has no scale
    if reached([one], 0.0, answers, draws):
        return ""
    return f"column {wrong.column} of {name} differs by {one.difference:.1e} of its largest value, {wrong.scale:.1e}, at {cell.name}"


@dataclass(frozen=True)
class Asked:
    """What was asked in a cell: the inputs, the methods, and for each graph the eager answer with the choices in it."""

    feeds: Feeds
    methods: Sequence[str]
    right: Sequence[tuple[Feeds, Sequence[Array]]]


def untied(
    source: Source, cell: Cell, found: Sequence[Feeds], asked: Asked, choosing: Sequence[ort.InferenceSession], tolerance: float, wide: Wide
) -> Row:  # fmt: skip
    """The row of a cell, where the model repeats the choices of each graph that are ties."""
    right, ties = [], 0
    for answer, session in zip(found, choosing, strict=True):
        again = run_with(session, asked.feeds)
        same = all(again[name].tobytes() == value.tobytes() for name, value in answer.items())
        given = [value for name, value in again.items() if name not in answer] if same else []
        with Choices(given) as met:
            right.append((reference(source, asked.feeds, asked.methods), met.made))
        ties += met.broken
    return replace(measured(source, cell, found, replace(asked, right=right), tolerance, wide), ties=ties)


def measured(
    source: Source, cell: Cell, found: Sequence[Feeds], asked: Asked, tolerance: float, wide: Wide | None
) -> Row:
    """The row of a cell, with the largest differences of all graphs.

    `found` holds the outputs of each graph. The first graph predicts, the others explain by the methods of `asked`.
    Without `wide`, no difference counts as rounding.
    """
    real, parts, kept = source.real(asked.feeds), [], True
    rounded: dict[str, float] = {}
    for place, (answer, (wanted, made)) in enumerate(zip(found, asked.right, strict=True)):
        compared = outputs_compared(source, answer, wanted, real)
        if place > 0:
            compared += explanations_compared(source, answer, wanted, asked.methods[place - 1], place == 1)
        parts += compared
        asks = (
            {} if wide is None else reached(compared, tolerance, *wide.cached(asked.feeds, asked.methods, tuple(made)))
        )
        kept = kept and (bool(asks) or all(one.difference <= tolerance for one in compared))
        rounded |= {part: max(rounded.get(part, 0.0), most) for part, most in asks.items()}
    worst = {part: max((one.difference for one in parts if one.part == part), default=None) for part in PARTS}
    against = compared_with(source, real)
    return Row(
        cell.length, cell.batch, cell.mask, worst["outputs"] or 0.0, worst["relevance"], worst["residual"],
        cell.globals, against, rounded=rounded if kept else {},
    )  # fmt: skip


def outputs_compared(source: Source, answer: Feeds, wanted: Feeds, real: Array) -> list[Compared]:
    """The outputs of a graph. `real` is bool [batch, sequence]."""

    def measure(output: Tensor, found: Array, right: Array) -> float:
        return output_difference(output, found, right, real)

    return [
        Compared("outputs", one.name, answer[one.name], wanted[one.name], partial(measure, one))
        for one in source.outputs
    ]


def explanations_compared(source: Source, answer: Feeds, wanted: Feeds, method: str, plain: bool) -> list[Compared]:
    """What an explain graph of `method` gives besides the outputs. `plain` is for the first method, whose names are plain."""
    relevance, residual = names.relevance_of(method, plain), names.residual_of(method, plain)
    scores, rows = wanted[relevance], source.row_axis

    def left(found: Array, right: Array) -> float:
        return residual_difference(found, right, scores, rows)

    def along(found: Array, right: Array) -> float:
        return residual_difference(found.T, right.T, scores, rows)

    found = [
        Compared("relevance", relevance, answer[names.RELEVANCE], scores, relative_difference),
        Compared("residual", residual, answer[names.RESIDUAL], wanted[residual], left),
    ]
    if names.PATH_VALUES in answer:
        path = names.PATH_VALUES
        found.append(Compared("residual", path, answer[path], wanted[path], along))
    if names.ATTENTION in answer:
        weights = names.ATTENTION
        found.append(Compared("relevance", weights, answer[weights], wanted[weights], relative_difference))
    return found
