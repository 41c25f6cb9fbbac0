"""Checks what must hold for the graphs besides their agreement with the eager model.

In: sessions of the graphs. Out: for each check, an empty string or what is wrong.

- Two runs of one input are bit-equal.
- A sample does not depend on its batch mates.
- Relevance follows the input: it is not constant.
- The graph agrees with the eager model also at sizes that a condition of the trace excludes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from types import CodeType

import onnxruntime as ort

from edgexf import names
from edgexf.bundle.golden import output_difference, relative_difference
from edgexf.bundle.manifest import Tensor
from edgexf.bundle.signature import Signature
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.trace.guards import uncovered
from edgexf_exporters.verify.compare import run
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import Array, Cell, batches, lengths
from edgexf_exporters.verify.ties import TIE, Choices

MOST_UNCOVERED, MOST_LATER = 32, 16  # how many sizes are checked one by one, and how many of the later sizes at most
LONG, MOST_LONG = 512, 2  # a size over LONG costs seconds: how many of them are checked at most, with a single sample


BATCH_TOLERANCE = 1e-5  # the largest relative change of a sample by its batch mates


def check_behaviour(source: Source, block: int, sessions: Sequence[ort.InferenceSession]) -> dict[str, str]:
    """Checks that runs repeat, that samples are independent of batch mates, and that relevance follows the input.

    Returns an empty string or what is wrong, by the name of the check.
    """
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
                if source.samples(kinds[name]) is not None and (
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
    """What is wrong at sizes that a condition of the trace excludes; empty if nothing is wrong.

    It checks the first sizes, and an even sample of the others if they are many: many conditions are about memory only.
    """
    signature = own.signature
    usual = Cell(lengths(source, 1)[-2:][0], batches(source)[-1], "none", 1).sizes(signature)
    found = list(uncovered(guards, own.tensors, signature.axes, signature.samples, usual))
    for count, sizes in enumerate(sampled(found, signature)):
        feeds = own.draw(sizes, seed=count)
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            answer, wanted = run(predict, feeds), eager(source, feeds)
        if met.closest <= TIE:
            continue  # a tie, which rounding decides; only in the grid does the model repeat the graph's choice
        real = source.real(feeds)
        for output in source.outputs:
            if not output_difference(output, answer[output.name], wanted[output.name], real) <= tolerance:
                where = ", ".join(f"{name} is {size}" for name, size in sizes.items())
                return f"{output.name} differs where {where}, since forward goes another way there; export each way by its own dynamic_shapes"
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


def first_sample(source: Source, tensor: Tensor, array: Array) -> Array:
    """The array with its first sample only; the whole array if it has no axis of samples."""
    axis = source.samples(tensor)
    return array if axis is None else array.take([0], axis)
