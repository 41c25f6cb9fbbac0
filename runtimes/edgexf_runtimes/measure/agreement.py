"""Measures how far two graphs of one model agree. Both run the same inputs, and their answers are compared.

In: two sessions of a bundle, and rows of inputs. Out: a `Compared` for each input, with the largest relative difference
and the share of equal answers. For explanations, a `Relevance` for each row, with the correlation of the ranks and the
share of the strongest tokens that both have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.golden import output_difference
from edgexf.bundle.heads import CLASSES, SPAN
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.dtypes import FP32
from edgexf.report.ranks import spearman
from edgexf_runtimes.session import Session

Array = npt.NDArray[Any]
PATH_STEPS = 4  # of integrated gradients; the path starts from replacements alone
LEAST_TOKENS = 10  # a row needs more tokens for its explanations to be compared; twice the strongest
ENDLESS = 1e9  # stands for a difference that is not finite, because JSON can't hold it
STRONGEST = 5  # tokens of an explanation that are compared by name
MOST_KEPT = 256 << 20


@dataclass(frozen=True)
class Case:
    """The inputs of one run.

    Attributes:
        arrays: the inputs by name.
        targets: the arrays that say what is explained, by an explain graph's names.
        label: the right column of the first output's only row, or None if it is not known.
    """

    arrays: Mapping[str, Array]
    targets: Mapping[str, Array] = field(default_factory=dict)
    label: int | None = None

    @property
    def length(self) -> int:
        """The number of tokens. For a custom module, the size of the first input's second axis, or of its only axis."""
        first = next(iter(self.arrays.values()))
        return int(first.shape[-1 if names.INPUT_IDS in self.arrays else min(1, first.ndim - 1)])


@dataclass(frozen=True)
class Compared:
    """How far two answers to one case agree.

    Attributes:
        length: the length of the case.
        error: max |difference| / max |fp32| over outputs and real tokens.
        agreement: the mean share of equal answers over outputs.
        right: whether fp32 and the other graph give the known label; None without a label.
    """

    length: int
    error: float
    agreement: float
    right: tuple[bool, bool] | None = None


@dataclass(frozen=True)
class Relevance:
    """How far two explanations of one row agree.

    Attributes:
        correlation: the Spearman correlation of the ranks.
        overlap: the share of the `STRONGEST` tokens that both explanations have in common.
    """

    correlation: float
    overlap: float


class Answers:
    """The answers of a session to cases that are asked repeatedly. It keeps up to `MOST_KEPT` bytes of answers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.kept: dict[int, tuple[Case, dict[str, Array]]] = {}
        self.bytes = 0

    def __call__(self, case: Case) -> dict[str, Array]:
        if id(case) in self.kept:  # the case is kept too, so no other case has its id
            return self.kept[id(case)][1]
        found = self.session.run(case.arrays)
        size = sum(array.nbytes for array in found.values())
        if self.bytes + size <= MOST_KEPT:
            self.kept[id(case)], self.bytes = (case, found), self.bytes + size
        return found


def compare(reference: Answers, other: Session, case: Case) -> Compared:
    manifest = other.manifest
    wanted, found = reference(case), other.run(case.arrays)
    real = real_tokens(manifest, case.arrays)
    outputs = manifest.variants[0].outputs
    error = max(output_difference(output, found[output.name], wanted[output.name], real) for output in outputs)
    error = min(error, ENDLESS)
    shares = [agreement(output, wanted[output.name], found[output.name], real, manifest.scores) for output in outputs]
    right = None
    if case.label is not None:
        best = [int(answer[outputs[0].name][0].argmax()) for answer in (wanted, found)]
        right = best[0] == case.label, best[1] == case.label
    return Compared(case.length, error, float(np.mean(shares)), right)


def real_tokens(manifest: Manifest, arrays: Mapping[str, Array]) -> Array:
    """Which tokens are real, bool of the first input's shape. For a custom module, all of them."""
    first = arrays[manifest.variants[0].inputs[0].name]
    mask = arrays.get(names.ATTENTION_MASK) if manifest.signature is None else None
    return np.ones(first.shape, dtype=bool) if mask is None else np.asarray(mask) > 0


def agreement(output: Tensor, wanted: Array, found: Array, real: Array, scores: str = "softmax") -> float:
    """The share of equal answers of one output; 0 if the output is not finite.

    - integers and booleans: equal values
    - an answer's start or end: the same best place
    - logits of classes that exclude each other (``softmax``): the same best class, at each real token if there are
      tokens
    - logits of independent classes, or a single logit: the same sign
    - logits that are numbers (``none``): 1 - the relative error
    - vectors: the mean cosine of what a row holds, averaged over its real tokens
    """
    if not np.isfinite(found).all():
        return 0.0
    if wanted.dtype.kind in "iub":
        return float(np.mean(wanted == found))
    if output.name in SPAN.outputs:
        return float(np.mean(wanted.argmax(axis=-1) == found.argmax(axis=-1)))
    tokens = output.has_tokens and wanted.shape[:2] == real.shape
    logits = output.name in CLASSES.outputs
    if logits and wanted.shape[-1] > 1 and scores == "softmax":
        same = wanted.argmax(axis=-1) == found.argmax(axis=-1)
        return float(np.mean(same[real] if tokens and same.shape == real.shape else same))
    if logits and scores == "none":
        scale = max(float(np.abs(wanted).max()), float(np.finfo(np.float32).tiny))
        return float(np.mean(1 - np.minimum(np.abs(found - wanted) / scale, 1)))
    if logits:
        return float(np.mean((wanted > 0) == (found > 0)))
    if tokens:
        weights = real[(...,) + (None,) * (wanted.ndim - 2)]
        wanted, found = (np.where(weights, array, 0).sum(axis=1) for array in (wanted, found))
    return float(np.mean(cosines(wanted.reshape(len(wanted), -1), found.reshape(len(found), -1))))


def cosines(wanted: Array, found: Array) -> Array:
    """The cosine of each row, [rows]. It is 1 if both rows are 0, and 0 if only one of them is."""
    lengths = np.linalg.norm(wanted, axis=1), np.linalg.norm(found, axis=1)
    scale = lengths[0] * lengths[1]
    both = np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, 0.0)
    return np.where(scale > 0, (wanted * found).sum(axis=1) / np.where(scale > 0, scale, 1), both)


def telling(manifest: Manifest, case: Case) -> Array:
    """Which rows have enough real tokens for ranks to mean something, bool [rows]. In a short row, all tokens are among
    the strongest.
    """
    real = real_tokens(manifest, case.arrays)
    if manifest.signature is not None:
        return np.array([real.size > LEAST_TOKENS])
    counts: Array = real.reshape(len(real), -1).sum(axis=1)
    return np.asarray(counts > LEAST_TOKENS)


def compare_relevance(reference: Session, other: Session, method: str, case: Case) -> list[Relevance]:
    """Compares two explanations of each row of a case that is `telling`, over the row's real tokens.

    If the case names no target, both explain the class that fp32 predicts. For heads other than logits of classes, each
    explains what its own graph predicts. If the model answers at each token and the case names no position, both
    explain the answer at the last token.
    """
    manifest = reference.manifest
    targets = targets_for(reference, method, case)
    answers = [session.run_explain({**case.arrays, **targets}, method=method) for session in (reference, other)]
    rows = manifest.graph(method, FP32).row_axis
    one, two = (np.moveaxis(answer[names.RELEVANCE], rows, 0) for answer in answers)
    real, wanted = real_tokens(manifest, case.arrays), telling(manifest, case)
    found = []
    for place, (first, second) in enumerate(zip(one, two, strict=True)):
        mask = real[place] if len(real) == len(one) and real[place].shape == first.shape else np.ones(first.shape, bool)
        if wanted[min(place, len(wanted) - 1)]:
            found.append(agreement_of(first[mask], second[mask]))
    return found


def targets_for(reference: Session, method: str, case: Case) -> dict[str, Array]:
    """What an explain graph takes besides the inputs: the targets of the case, and defaults for missing ones."""
    manifest = reference.manifest
    wanted = {tensor.name for tensor in manifest.targets(method)}
    targets = {name: array for name, array in case.targets.items() if name in wanted}
    if names.TARGET in wanted and not np.any(targets.get(names.TARGET, 0)):
        targets.update(predicted(reference, case))
    if names.POSITION in wanted and names.POSITION not in targets:
        written = case.arrays.get(names.DECODER_INPUT_IDS)
        real = real_tokens(manifest, case.arrays)
        last = real.shape[-1] - 1 - real[..., ::-1].argmax(axis=-1)
        targets[names.POSITION] = last if written is None else np.full(len(written), written.shape[1] - 1)
    if names.PATH in wanted and names.PATH not in targets:
        ids = case.arrays[names.INPUT_IDS]
        start = 0 if manifest.preprocess is None else reference.baseline().token_id
        targets[names.BASELINE] = np.full_like(ids, start)
        targets[names.PATH] = ((np.arange(PATH_STEPS) + 0.5) / PATH_STEPS).astype(np.float32)
    return targets


def predicted(session: Session, case: Case) -> dict[str, Array]:
    """The target for the class that fp32 predicts, so that both graphs explain it. Empty for other heads."""
    if session.head.kind != CLASSES:
        return {}
    answer = session.run(case.arrays)[session.head.output.name]
    target = np.zeros_like(answer)
    target[np.arange(len(answer)), answer.argmax(axis=-1)] = 1
    return {names.TARGET: target}


def agreement_of(first: Array, second: Array) -> Relevance:
    """Compares two arrays of scores, of at least one token.

    The result is 0 if the second array is not finite. If one of them has no order, because it is constant, the result
    is 1 for equal arrays and 0 otherwise.
    """
    if not np.isfinite(second).all():
        return Relevance(0.0, 0.0)
    count = min(STRONGEST, first.size)
    one, two = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    tops = [set(np.argsort(-np.abs(scores), kind="stable")[:count].tolist()) for scores in (one, two)]
    found = spearman(one, two)
    if found is None:  # one side is constant: equal arrays agree, and a constant is no explanation
        return Relevance(1.0, 1.0) if np.array_equal(one, two) else Relevance(0.0, 0.0)
    return Relevance(found, len(tops[0] & tops[1]) / count)


def mean_relevance(found: Sequence[Relevance]) -> Relevance:
    return Relevance(float(np.mean([one.correlation for one in found])), float(np.mean([one.overlap for one in found])))
