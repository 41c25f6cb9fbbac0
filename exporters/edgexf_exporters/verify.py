"""The contract grid: graphs against the untouched eager model, over lengths, batches and masks.

In: a source as it was before the export, and sessions of its graphs. Out: a `GridResult`, a row for each
cell with the relative difference max |graph - eager| / max |eager| of outputs, relevance and residual on the
real tokens, and the checks that are no comparison. A row outside the tolerance fails; the caller refuses
the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import nn

from edgexf import names
from edgexf.errors import ExportError, UsageError
from edgexf.golden import output_difference, relative_difference, residual_difference, thinned
from edgexf.manifest import Limits
from edgexf_exporters.source import Source
from edgexf_exporters.ties import TIE, Choices
from edgexf_exporters.trace import in_a_sentence

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

GRIDS = ("quick", "full")
GLOBALS = ("none", "first", "scattered")  # global tokens: none, the first one, as many as the model takes, anywhere
MASKS = ("none", "right", "one")  # no padding; padding behind a third of the tokens; one real token
BROKEN_CONFIG = "mend its config, or save it again with its own"
CHOICES = 2  # and one more in every other cell of a multiple-choice model
DECODED = (1, 5, 32)  # tokens that a decoder has written, in turn; for the longest input as many as it may
NOMINAL_BLOCK = 64  # a model without blocks is checked around this length
BATCH_TOLERANCE = 1e-5  # how far a sample may depend on its batch mates, relative


@dataclass(frozen=True)
class Cell:
    """One point of the grid; a seed makes its tokens. `globals` is "" for a model without global tokens."""

    length: int
    batch: int
    mask: str
    seed: int
    globals: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (f"length{self.length}", f"batch{self.batch}", self.mask, self.globals)))

    def feeds(self, source: Source) -> Feeds:
        """The source's inputs int64 [batch, length], each row its own padding; target float32 [batch, classes]."""
        chance = np.random.default_rng(self.seed)
        choices = CHOICES + self.seed % 2 if source.choices else 1
        rows = self.batch * choices
        ids = chance.integers(0, source.limits.vocab, (rows, self.length))
        ids[ids == source.padding_id] = (source.padding_id + 1) % source.limits.vocab  # it stands at padding alone
        ids[:, 0] = source.first_id
        real = np.full(rows, self.length)
        if self.mask == "right":
            real = np.maximum(self.length - self.length // 3 - np.arange(rows) * (self.length // 8), 1)
        if self.mask == "one":
            real = np.ones(rows, dtype=np.int64)
        mask = (np.arange(self.length) < real[:, None]).astype(np.int64)
        values = {
            names.INPUT_IDS: np.where(mask > 0, ids, source.padding_id),
            names.ATTENTION_MASK: mask,
            names.GLOBAL_ATTENTION_MASK: self.global_mask(real, source.limits.max_global, chance),
            names.TOKEN_TYPE_IDS: chance.integers(0, max(source.limits.token_types, 1), ids.shape),
        }
        sizes = (self.batch, choices, self.length) if source.choices else ids.shape
        feeds = {name: values[name].reshape(sizes) for name in source.inputs if name in values}
        if source.decoder is not None:
            most, whole = source.decoder.max_length, self.length == source.limits.max_length
            longest = most if whole else min(most, DECODED[self.seed % len(DECODED)])
            written = chance.integers(0, source.limits.vocab, (self.batch, longest))
            written[:, 0] = source.decoder.start_id
            feeds[names.DECODER_INPUT_IDS] = written
        return feeds if source.classes is None else {**feeds, names.TARGET: self.target(source.classes)}

    def global_mask(self, real: Array, most: int, chance: np.random.Generator) -> Array:
        """int64 [rows, length]; a scattered set is another one in each row, and of another size."""
        chosen = np.zeros((len(real), self.length), dtype=np.int64)
        chosen[:, 0] = self.globals == "first"
        if self.globals == "scattered":
            for row, tokens in enumerate(real):
                chosen[row, chance.permutation(tokens)[: max(most - row, 1)]] = 1
        return chosen

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
    """A cell and what was measured there; differences are relative, and None without an explain graph. `ties`: choices that
    the graphs and the model break in different ways.
    """

    length: int
    batch: int
    mask: str
    outputs: float
    relevance: float | None
    residual: float | None = None
    globals: str = ""
    ties: int = 0

    @property
    def worst(self) -> float:
        return max(self.outputs, self.relevance or 0.0, self.residual or 0.0)


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
            f"length {row.length}, batch {row.batch}, mask {row.mask}{f', globals {row.globals}' if row.globals else ''}: {row.worst:.1e}"
            for row in self.rows
            if not row.worst <= self.tolerance
        ]
        return rows + [f"{name}: {found}" for name, found in self.checks.items() if found]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "worst": self.worst}


def lengths(limits: Limits, block: int) -> list[int]:
    """Where algorithms break: the shortest, around a block, several blocks and a rest, the longest."""
    block = block if block > 1 else NOMINAL_BLOCK
    wanted = {limits.min_length, block - 1, block, block + 1, 3 * block + 5, limits.max_length}
    if limits.switch:
        wanted |= {limits.switch - 1, limits.switch, limits.switch + 1}
    return sorted(length for length in wanted if limits.min_length <= length <= limits.max_length)


def check_grid(grid: str) -> None:
    if grid not in GRIDS:
        raise UsageError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}; choose one of them.")


def cells(limits: Limits, block: int, grid: str) -> Iterator[Cell]:
    """The grid; `quick` takes batch 1 and two masks at the longest length, and in each cell one of the global sets.

    They take turns, so that each meets every batch and mask at some length. All of them in every cell are three times
    the work, and the eager model's work is most of an export of a large model.
    """
    seed, full = 0, grid == "full"
    for turn, length in enumerate(lengths(limits, block)):
        short = full or length < limits.max_length
        batches, masks = (1, 3) if short else (1,), MASKS if short else MASKS[:2]
        for (place, batch), (row, mask) in product(enumerate(batches), enumerate(masks)):
            taken = GLOBALS if full else (GLOBALS[(turn + place + row) % len(GLOBALS)],)
            for chosen in taken if limits.max_global else ("",):
                seed += 1
                yield Cell(length, batch, mask, seed, chosen)


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
            found = answers(source, {name: torch.from_numpy(feeds[name]) for name in source.inputs})
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


def eager(source: Source, feeds: Feeds, explain: bool) -> Feeds:
    """What the graphs must answer: the outputs, and gradient x input and residual, from the eager model and torch autograd."""
    inputs = {name: torch.from_numpy(feeds[name]) for name in source.inputs}
    if not explain:
        return answers(source, inputs)
    leaves: list[torch.Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with source.around(source.module):  # the reverse pass too: a reversible model runs its layers again
        with source.embedding.register_forward_hook(leaf):
            outputs = source.answer(inputs)
        (embeddings,) = leaves
        values = [
            row[weights.bool()] @ weights[weights.bool()] if weights.any() else row.max()
            for row, weights in zip(outputs[names.LOGITS], torch.from_numpy(feeds[names.TARGET]), strict=True)
        ]
        explained = torch.stack(values)  # [batch]
        (gradient,) = torch.autograd.grad(explained.sum(), embeddings)
    mask = inputs[names.ATTENTION_MASK]
    relevance = (gradient * embeddings.detach()).sum(-1)[:, : mask.shape[1]] * mask  # a library may pad behind
    residual = (explained - relevance.sum(-1)).detach()
    plain = {name: output.detach().numpy() for name, output in outputs.items()}
    return {**plain, names.RELEVANCE: relevance.numpy(), names.RESIDUAL: residual.numpy()}


def run(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> Feeds:
    """All outputs by name. ExportError where ONNX Runtime stops: the graph is wrong at that shape."""
    outputs = [value.name for value in session.get_outputs()]
    shape = feeds[names.INPUT_IDS].shape
    with in_a_sentence(
        f"a graph must run at every shape of the grid (here batch {shape[0]}, length {shape[-1]})",
        "lower the module that this names without fixing its shapes",
    ):
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))


def run_with(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    """The outputs for those of the feeds that the graph takes."""
    return run(session, {value.name: feeds[value.name] for value in session.get_inputs()})


def compare(
    source: Source,
    predict: ort.InferenceSession,
    explain: Sequence[ort.InferenceSession],
    grid: str,
    block: int,
    tolerance: float,
    choosing: Callable[[], Sequence[ort.InferenceSession]] | None = None,
) -> tuple[GridResult, list[tuple[Cell, Feeds]]]:
    """The result, and each cell with its feeds and eager outputs for golden.npz; without those that hang on a tie, which
    another device may break in its own way.

    `choosing` makes the sessions of the same graphs, which also answer their discrete choices.
    """
    result, references = GridResult(grid, tolerance), []
    padding = "relevance of padding is exactly 0"
    for cell in cells(source.limits, block, grid):
        feeds = cell.feeds(source)
        sentence = in_a_sentence(f"a model must answer every cell of the grid ({cell.name})", BROKEN_CONFIG)
        with sentence, Choices() if source.chooses else nullcontext(Choices()) as met:
            wanted = eager(source, feeds, bool(explain))
        found = [run_with(session, feeds) for session in (predict, *explain)]
        real = feeds[names.ATTENTION_MASK] > 0
        row = measured(source, cell, real, found, [wanted] * len(found))
        if choosing is not None and not row.worst <= tolerance:
            row = untied(source, cell, feeds, found, choosing())
        result.rows.append(row)
        small = {output.name: thinned(output, wanted[output.name]) for output in source.outputs}
        if met.closest > TIE:
            references.append((cell, {**feeds, **wanted, **small}))
        for answer in found[1:]:
            result.checks.setdefault(padding, "")
            if np.any(answer[names.RELEVANCE][feeds[names.ATTENTION_MASK] == 0]):
                result.checks[padding] = f"it is not at length {cell.length}, mask {cell.mask}"
    return result, references


def untied(
    source: Source, cell: Cell, feeds: Feeds, found: Sequence[Feeds], choosing: Sequence[ort.InferenceSession]
) -> Row:
    """The cell with the model repeating the choices of each graph in turn, where they are ties."""
    wanted, ties = [], 0
    for answer, session in zip(found, choosing, strict=True):
        again = run_with(session, feeds)
        same = all(again[name].tobytes() == value.tobytes() for name, value in answer.items())
        given = [value for name, value in again.items() if name not in answer] if same else []
        with Choices(given) as met:
            wanted.append(eager(source, feeds, len(found) > 1))
        ties += met.broken
    return replace(measured(source, cell, feeds[names.ATTENTION_MASK] > 0, found, wanted), ties=ties)


def measured(source: Source, cell: Cell, real: Array, found: Sequence[Feeds], wanted: Sequence[Feeds]) -> Row:
    """The worst of all graphs in a cell; the first predicts, the others explain. `real` is bool [batch, sequence]; `wanted`
    is what each must answer.
    """
    outputs = max(
        output_difference(output, answer[output.name], eager[output.name], real)
        for answer, eager in zip(found, wanted, strict=True)
        for output in source.outputs
    )
    explained = list(zip(found, wanted, strict=True))[1:]
    relevance = [relative_difference(answer[names.RELEVANCE], eager[names.RELEVANCE]) for answer, eager in explained]
    residual = [
        residual_difference(answer[names.RESIDUAL], eager[names.RESIDUAL], eager[names.RELEVANCE])
        for answer, eager in explained
    ]
    worst = outputs, max(relevance, default=None), max(residual, default=None)
    return Row(cell.length, cell.batch, cell.mask, *worst, cell.globals)


def check_behaviour(source: Source, block: int, sessions: Sequence[ort.InferenceSession]) -> dict[str, str]:
    """Two runs are bit-equal, a sample is independent of its batch mates, relevance follows the input."""
    chosen = "scattered" if source.limits.max_global else ""
    cell = Cell(lengths(source.limits, block)[-2:][0], 3, "right", 97, chosen)  # long, but not the longest
    feeds = cell.feeds(source)
    real = feeds[names.ATTENTION_MASK] > 0
    kinds = {output.name: output for output in (*source.outputs, *source.explained[1])}
    found = {"two runs are bit-equal": "", "a sample is independent of its batch mates": ""}
    for session in sessions:
        given = {value.name: feeds[value.name] for value in session.get_inputs()}
        first, second = run(session, given), run(session, given)
        alone = run(session, {name: value[:1] for name, value in given.items()})
        for name in first:
            if first[name].tobytes() != second[name].tobytes():
                found["two runs are bit-equal"] = f"{name} differs between two runs"
            if output_difference(kinds[name], first[name][:1], alone[name], real[:1]) > BATCH_TOLERANCE:
                found["a sample is independent of its batch mates"] = f"{name} changes with the batch"
        if names.RELEVANCE in first:
            turned = {name: value[::-1].copy() for name, value in given.items() if name in source.inputs}
            other = run(session, {**given, **turned})[names.RELEVANCE]
            constant = relative_difference(other, first[names.RELEVANCE]) < BATCH_TOLERANCE
            found.setdefault("relevance follows the input", "")
            if constant:
                found["relevance follows the input"] = "it is the same for two inputs"
    return found
