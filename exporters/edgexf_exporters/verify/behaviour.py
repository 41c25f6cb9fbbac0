"""Checks what must hold for the graphs besides their agreement with the eager model.

In: sessions of the graphs. Out: for each check, an empty string or what is wrong.

- Two runs of one input are bit-equal.
- A sample does not depend on its batch mates.
- Padding behind a row changes no answer of a custom module whose rule is ``invariant``.
- Relevance follows the input: it is not constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import onnxruntime as ort

from edgexf import names
from edgexf.bundle.golden import relative_difference
from edgexf.bundle.manifest import Tensor
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.sources.modules.padding import row_difference
from edgexf_exporters.verify.compare import explanations_compared, outputs_compared, reference, run, run_with
from edgexf_exporters.verify.differences.rounding import Compared, Wide, reached
from edgexf_exporters.verify.grid import Array, Cell, Feeds, batches, lengths

LONG = 512  # the longest row to which others are padded in the graph; longer ones cost seconds
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


def first_sample(source: Source, tensor: Tensor, array: Array) -> Array:
    """The array with its first sample only; the whole array if it has no axis of samples."""
    axis = source.samples(tensor)
    return array if axis is None else array.take([0], axis)
