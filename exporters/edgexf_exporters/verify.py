"""The contract grid: graphs against the untouched eager model, over lengths, batches and masks.

In: an encoder as it was before the export, and sessions of its graphs. Out: a `GridResult`, a row for
each cell with the relative difference max |graph - eager| / max |eager| of logits, relevance and residual, and
the checks that are no comparison. A row outside the tolerance fails; the caller refuses the bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch

from edgexf import names
from edgexf.errors import UsageError
from edgexf.golden import relative_difference, residual_difference
from edgexf.models.encoder import Encoder
from edgexf.spec import CLASS_ID, EncoderSpec
from edgexf_exporters.trace import in_a_sentence

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

GRIDS = ("quick", "full")
MASKS = ("none", "right", "one")  # no padding; padding behind a third of the tokens; one real token
NOMINAL_BLOCK = 64  # a model without blocks is checked around this length
BATCH_TOLERANCE = 1e-5  # how far a sample may depend on its batch mates, relative


@dataclass(frozen=True)
class Cell:
    """One point of the grid; a seed makes its tokens."""

    length: int
    batch: int
    mask: str
    seed: int

    def feeds(self, spec: EncoderSpec) -> Feeds:
        """input_ids and attention_mask int64 [batch, length], each row its own padding; target float32 [batch, classes]."""
        chance = np.random.default_rng(self.seed)
        ids = chance.integers(0, min(256, spec.vocabulary), (self.batch, self.length))
        ids[:, 0] = min(CLASS_ID, spec.vocabulary - 1)
        real = np.full(self.batch, self.length)
        if self.mask == "right":
            real = np.maximum(self.length - self.length // 3 - np.arange(self.batch) * (self.length // 8), 1)
        if self.mask == "one":
            real = np.ones(self.batch, dtype=np.int64)
        mask = (np.arange(self.length) < real[:, None]).astype(np.int64)
        return {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask, names.TARGET: self.target(len(spec.labels))}

    def target(self, classes: int) -> Array:
        """In turn: zeros (the predicted class), one class, one class against another."""
        target = np.zeros((self.batch, classes), dtype=np.float32)
        for row in range(self.batch):
            kind, chosen = (self.seed + row) % 3, (self.seed + 5 * row) % classes
            if kind > 0:
                target[row, chosen] = 1.0
            if kind > 1:
                target[row, (chosen + 1) % classes] = -1.0
        return target


@dataclass(frozen=True)
class Row:
    """A cell and what was measured there; differences are relative, and None without an explain graph."""

    length: int
    batch: int
    mask: str
    logits: float
    relevance: float | None
    residual: float | None = None

    @property
    def worst(self) -> float:
        return max(self.logits, self.relevance or 0.0, self.residual or 0.0)


@dataclass
class GridResult:
    """`checks` maps a check's name to what it found: an empty string is a pass."""

    grid: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.rows)

    @property
    def failures(self) -> list[str]:
        """One sentence for each row and check that fails."""
        rows = [
            f"length {row.length}, batch {row.batch}, mask {row.mask}: {row.worst:.1e}"
            for row in self.rows
            if not row.worst <= self.tolerance
        ]
        return rows + [f"{name}: {found}" for name, found in self.checks.items() if found]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "worst": self.worst}


def lengths(spec: EncoderSpec, block: int) -> list[int]:
    """Where algorithms break: the shortest, around a block, several blocks and a rest, the longest."""
    block = block if block > 1 else NOMINAL_BLOCK
    wanted = {2, block - 1, block, block + 1, 3 * block + 5, spec.max_length}
    return sorted(length for length in wanted if 2 <= length <= spec.max_length)


def check_grid(grid: str) -> None:
    if grid not in GRIDS:
        raise UsageError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}; choose one of them.")


def cells(spec: EncoderSpec, block: int, grid: str) -> Iterator[Cell]:
    """The grid; `quick` takes batch 1 and two masks at the longest length."""
    seed = 0
    for length in lengths(spec, block):
        short = grid == "full" or length < spec.max_length
        for batch in (1, 3) if short else (1,):
            for mask in MASKS if short else MASKS[:2]:
                seed += 1
                yield Cell(length, batch, mask, seed)


def eager(encoder: Encoder, feeds: Feeds, explain: bool) -> Feeds:
    """What the graphs must answer: logits, and gradient x input and residual, from the eager model and torch autograd."""
    ids, mask, target = (
        torch.from_numpy(feeds[name]) for name in (names.INPUT_IDS, names.ATTENTION_MASK, names.TARGET)
    )
    if not explain:
        with torch.no_grad():
            return {names.LOGITS: encoder(ids, mask).numpy()}
    embeddings = encoder.tokens(ids).detach().requires_grad_(True)
    logits = encoder.classify(embeddings, mask)
    values = [
        row[weights.bool()] @ weights[weights.bool()] if weights.any() else row.max()
        for row, weights in zip(logits, target, strict=True)
    ]
    explained = torch.stack(values)  # [batch]
    (gradient,) = torch.autograd.grad(explained.sum(), embeddings)
    relevance = (gradient * embeddings.detach()).sum(-1) * mask
    residual = (explained - relevance.sum(-1)).detach()
    return {names.LOGITS: logits.detach().numpy(), names.RELEVANCE: relevance.numpy(), names.RESIDUAL: residual.numpy()}


def run(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> Feeds:
    """All outputs by name. ExportError where ONNX Runtime stops: the graph is wrong at that shape."""
    outputs = [value.name for value in session.get_outputs()]
    shape = next(iter(feeds.values())).shape
    with in_a_sentence(
        f"a graph must run at every shape of the grid (here batch {shape[0]}, length {shape[1]})",
        "lower the module that this names without fixing its shapes",
    ):
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))


def run_with(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    """The outputs for those of the feeds that the graph takes."""
    return run(session, {value.name: feeds[value.name] for value in session.get_inputs()})


def compare(
    encoder: Encoder,
    predict: ort.InferenceSession,
    explain: Sequence[ort.InferenceSession],
    grid: str,
    block: int,
    tolerance: float,
) -> tuple[GridResult, list[tuple[Cell, Feeds]]]:
    """The result, and each cell with its feeds and eager outputs for golden.npz."""
    result, references = GridResult(grid, tolerance), []
    padding = "relevance of padding is exactly 0"
    for cell in cells(encoder.spec, block, grid):
        feeds = cell.feeds(encoder.spec)
        wanted = eager(encoder, feeds, bool(explain))
        found = [run_with(session, feeds) for session in (predict, *explain)]
        result.rows.append(measured(cell, found, wanted))
        references.append((cell, {**feeds, **wanted}))
        for answer in found[1:]:
            result.checks.setdefault(padding, "")
            if np.any(answer[names.RELEVANCE][feeds[names.ATTENTION_MASK] == 0]):
                result.checks[padding] = f"it is not at length {cell.length}, mask {cell.mask}"
    return result, references


def measured(cell: Cell, found: Sequence[Feeds], wanted: Feeds) -> Row:
    """The worst of all graphs in a cell; the first predicts, the others explain."""
    logits = max(relative_difference(answer[names.LOGITS], wanted[names.LOGITS]) for answer in found)
    relevance = [relative_difference(answer[names.RELEVANCE], wanted[names.RELEVANCE]) for answer in found[1:]]
    residual = [
        residual_difference(answer[names.RESIDUAL], wanted[names.RESIDUAL], wanted[names.RELEVANCE])
        for answer in found[1:]
    ]
    return Row(cell.length, cell.batch, cell.mask, logits, max(relevance, default=None), max(residual, default=None))


def check_behaviour(spec: EncoderSpec, block: int, sessions: Sequence[ort.InferenceSession]) -> dict[str, str]:
    """Two runs are bit-equal, a sample is independent of its batch mates, relevance follows the input."""
    cell = Cell(lengths(spec, block)[-2:][0], 3, "right", 97)  # long, but not the longest
    feeds = cell.feeds(spec)
    found = {"two runs are bit-equal": "", "a sample is independent of its batch mates": ""}
    for session in sessions:
        given = {value.name: feeds[value.name] for value in session.get_inputs()}
        first, second = run(session, given), run(session, given)
        alone = run(session, {name: value[:1] for name, value in given.items()})
        for name in first:
            if first[name].tobytes() != second[name].tobytes():
                found["two runs are bit-equal"] = f"{name} differs between two runs"
            if relative_difference(first[name][:1], alone[name]) > BATCH_TOLERANCE:
                found["a sample is independent of its batch mates"] = f"{name} changes with the batch"
        if names.RELEVANCE in first:
            other = run(session, {**given, names.INPUT_IDS: given[names.INPUT_IDS][::-1].copy()})[names.RELEVANCE]
            constant = relative_difference(other, first[names.RELEVANCE]) < BATCH_TOLERANCE
            found.setdefault("relevance follows the input", "")
            if constant:
                found["relevance follows the input"] = "it is the same for two inputs"
    return found
