"""Checks what must hold for the graphs besides their agreement with the eager model.

In: sessions of the graphs. Out: for each check, an empty string or what is wrong.

- Two runs of one input are bit-equal.
- A sample does not depend on its batch mates.
- Padding behind a row changes no answer of a custom module whose rule is ``invariant``.
- Relevance follows the input: it is not constant.
- The graph agrees with the eager model also at sizes that a condition of the trace excludes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from types import CodeType

import onnxruntime as ort

from edgexf import names
from edgexf.bundle.golden import relative_difference
from edgexf.bundle.manifest import Tensor
from edgexf.bundle.signature import Signature
from edgexf.errors import ExportError
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.sources.modules.padding import row_difference
from edgexf_exporters.trace.guards import uncovered
from edgexf_exporters.verify.compare import explanations_compared, outputs_compared, reference, run, run_with
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import Array, Cell, Feeds, batches, lengths
from edgexf_exporters.verify.rounding import Compared, Wide, reached
from edgexf_exporters.verify.ties import TIE, Choices

MOST_UNCOVERED, MOST_LATER = 32, 16  # how many sizes are checked one by one, and how many of the later sizes at most
LONG, MOST_LONG = 512, 2  # a size over LONG costs seconds: how many of them are checked at most, with a single sample


BATCH_TOLERANCE = 1e-5  # the largest relative change of a sample by its batch mates


def check_behaviour(
    source: Source, block: int, predict: ort.InferenceSession, explain: Mapping[str, ort.InferenceSession]
) -> dict[str, str]:
    """Checks that runs repeat, that samples are independent of batch mates, and that relevance follows the input.

    `explain` holds the session of each explain graph by its method. Returns an empty string or what is wrong, by the name
    of the check.
    """
    chosen = "scattered" if source.limits.max_global else ""
    mask = "none" if source.mask is None else "right"
    cell = Cell(lengths(source, block)[-2:][0], batches(source)[-1], mask, 97, chosen)  # long, but not the longest
    feeds = cell.feeds(source)
    found = {"two runs are bit-equal": ""}
    answers = []
    for session in (predict, *explain.values()):
        given = {value.name: feeds[value.name] for value in session.get_inputs()}
        first, second = run(session, given), run(session, given)
        answers.append(first)
        for name in first:
            if first[name].tobytes() != second[name].tobytes():
                found["two runs are bit-equal"] = f"{name} differs between two runs"
        if names.RELEVANCE in first:
            turned = {name: value[::-1].copy() for name, value in given.items() if name in source.inputs}
            other = run(session, {**given, **turned})[names.RELEVANCE]
            constant = relative_difference(other, first[names.RELEVANCE]) < BATCH_TOLERANCE
            found.setdefault("relevance follows the input", "")
            if constant:
                found["relevance follows the input"] = "it is the same for two inputs"
    if batches(source)[0] == 1 and any(source.samples(tensor) is not None for tensor in source.tensors):
        sessions = {"": predict, **explain}
        found["a sample is independent of its batch mates"] = changed_by_batch(source, feeds, sessions, answers)
    return found


def changed_by_padding(source: Source, own: ModuleInputs, predict: ort.InferenceSession, tolerance: float) -> str:
    """The name of an output that padding behind a row changes at real tokens; empty if it changes none.

    Rows of different lengths run in one padded batch, and each alone.
    """
    axis, samples = own.signature.axis(names.SEQUENCE), own.signature.samples
    sizes = sorted({axis.least, *lengths(source, 1)[:-1]})
    total = lengths(source, 1)[-1]
    total = total if total <= LONG else sizes[-1]
    rows = [size for size in sizes if size <= total][-own.signature.axis(samples).most :]
    feeds = own.draw({samples: len(rows), names.SEQUENCE: total}, total, lambda row, _: rows[row])
    together = run_with(predict, feeds)
    alone = [
        run_with(predict, {name: array[place : place + 1, :size] for name, array in feeds.items()})
        for place, size in enumerate(rows)
    ]
    for output in source.outputs:
        name = output.name
        if not row_difference(together[name], [one[name] for one in alone], output.has_tokens) <= tolerance:
            return f"{name} changes where rows of {rows} are padded to {total}"
    return ""


def changed_by_batch(
    source: Source, feeds: Feeds, sessions: Mapping[str, ort.InferenceSession], answers: Sequence[Feeds]
) -> str:
    """The name of what changes if the first sample is alone; empty if nothing changes but by rounding.

    `sessions` holds the predict graph by an empty name, and the explain graphs by their methods. `answers` are their answers
    to `feeds`.
    """
    both = source.explained_by(path=True, weights=True)
    kinds = {tensor.name: tensor for tensor in (*source.tensors, *source.outputs, *both[0], *both[1])}
    one = {name: first_sample(source, kinds[name], array) for name, array in feeds.items() if name in kinds}
    methods = [method for method in sessions if method]
    eager_answer = cache(partial(reference, source, one, methods))
    in_float64 = Wide(source, reference).cached(one, methods, ())
    for (method, session), answer in zip(sessions.items(), answers, strict=True):
        alone = run_with(session, one)
        in_batch = {name: first_sample(source, kinds[name], array) for name, array in answer.items()}
        for pair in zip(
            *(compared(source, one, found, alone, method, methods) for found in (in_batch, alone)), strict=True
        ):
            kind = kinds.get(pair[0].name)
            if pair[0].difference <= BATCH_TOLERANCE or (kind is not None and source.samples(kind) is None):
                continue
            right = eager_answer()[pair[0].name]
            if source.has_argmax or not reached([replace(each, wanted=right) for each in pair], 0.0, *in_float64):
                return f"{pair[0].name} changes with the batch"
    return ""


def compared(
    source: Source, feeds: Feeds, found: Feeds, alone: Feeds, method: str, methods: Sequence[str]
) -> list[Compared]:
    """What a graph answers to the first sample, beside what it answers to this sample alone."""
    plain = bool(method) and methods[0] == method
    named = {names.relevance_of(method, plain): names.RELEVANCE, names.residual_of(method, plain): names.RESIDUAL}
    wanted = {**alone, **{new: alone[old] for new, old in named.items() if old in alone}}
    outputs = outputs_compared(source, found, wanted, source.real(feeds))
    return outputs + (explanations_compared(source, found, wanted, method, plain) if method else [])


def check_uncovered(
    source: Source, own: ModuleInputs, predict: ort.InferenceSession, guards: Sequence[CodeType], tolerance: float
) -> str:
    """What is wrong at sizes that a condition of the trace excludes; empty if nothing is wrong.

    Raises ExportError if the graph stops at one of them.

    It checks the first sizes, and an even sample of the others if they are many: many conditions are about memory only.
    """
    signature = own.signature
    usual = Cell(lengths(source, 1)[-2:][0], batches(source)[-1], "none", 1).sizes(signature)
    wide = Wide(source, reference)
    found = list(uncovered(guards, own.tensors, signature.axes, signature.samples, usual))
    for count, sizes in enumerate(sampled(found, signature)):
        feeds = own.draw(sizes, seed=count)
        where = ", ".join(f"{name} is {size}" for name, size in sizes.items())
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            answer, wanted = run_where(predict, feeds, where), eager(source, feeds)
        if met.closest <= TIE:
            continue  # a tie, which rounding decides; only in the grid does the model repeat the graph's choice
        found_here = outputs_compared(source, answer, wanted, source.real(feeds))
        wrong = [one for one in found_here if not one.difference <= tolerance]
        if wrong and not reached(found_here, tolerance, *wide.cached(feeds, (), met.made)):
            return f"{wrong[0].name} differs where {where}, since forward goes another way there; export each way by its own dynamic_shapes"
    return ""


def sampled(found: Sequence[dict[str, int]], signature: Signature) -> list[dict[str, int]]:
    """The first sizes of those found, and an even sample of the others. Few of them are long, and these are batches of one."""
    tokens = [axis.name for axis in signature.axes if axis.name != signature.samples]
    long = [sizes for sizes in found if max(sizes[name] for name in tokens) > LONG] if tokens else []
    short = [sizes for sizes in found if max(sizes[name] for name in tokens) <= LONG] if tokens else list(found)
    later = short[MOST_UNCOVERED:]
    kept = [*short[:MOST_UNCOVERED], *later[:: len(later) // MOST_LATER + 1]]
    one = {} if not signature.samples else {signature.samples: signature.axis(signature.samples).least}
    return kept + [{**sizes, **one} for sizes in long[:: len(long) // MOST_LONG + 1]]


def run_where(predict: ort.InferenceSession, feeds: dict[str, Array], where: str) -> dict[str, Array]:
    """Runs the graph at sizes that a condition of the trace excludes. Raises ExportError with `where` if it stops."""
    try:
        return run(predict, feeds)
    except ExportError as error:
        raise ExportError(
            f"a graph must run at all sizes that the module answers, got one that stops where {where}: forward goes "
            "another way there; fix an axis with dynamic_shapes, or compute without branches on sizes."
        ) from error


def first_sample(source: Source, tensor: Tensor, array: Array) -> Array:
    """The array with its first sample only; the whole array if it has no axis of samples."""
    axis = source.samples(tensor)
    return array if axis is None else array.take([0], axis)
