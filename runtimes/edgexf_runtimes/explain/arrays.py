"""Run-time methods on arrays, for any bundle that takes token ids: multiple choice, decoders, custom modules.

In: a predictor, inputs as `Session.run` takes them, and targets as `Session.run_explain` takes them. Out: what
`Session.run_explain` would answer: the outputs, relevance of the first input's shape, and residual [samples]. No
explain graph is needed.

`edgexf.bundle.heads` defines the explained value of each kind of head. Zeros stand for what is predicted, as in
`edgexf_exporters.targets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.heads import SPAN, UNNAMED, head_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.bundle.preprocess import gives_tokens
from edgexf.errors import InputError, UsageError, quoted
from edgexf.progress import Steps, check_steps
from edgexf_runtimes.explain import methods
from edgexf_runtimes.explain.coalitions import Outputs
from edgexf_runtimes.explain.perturbation import Method, Options, Value, attribute_row
from edgexf_runtimes.explain.target import cosine
from edgexf_runtimes.inputs.baseline import Baseline
from edgexf_runtimes.inputs.targets import check_given

if TYPE_CHECKING:
    from edgexf_runtimes.predictor import Predictor

Array = npt.NDArray[Any]
ENDS = dict(zip(SPAN.weights, SPAN.outputs, strict=True))


def attribute(
    predictor: Predictor,
    method: str,
    inputs: Mapping[str, Any],
    targets: Mapping[str, Any] | None = None,
    *,
    baseline: int | None = None,
    seed: int = 0,
    budget: int | None = None,
    span: int = 1,
    time_limit: float | None = None,
    progress: Steps | None = None,
) -> dict[str, Array]:
    """Explains with the run-time method named `method`.

    `targets` are as in `Session.run_explain`. `seed`, `budget`, `span` and `time_limit` are those of `Session.explain`. `baseline` is the id that replaces a token that is left out. By default
    it is the bundle's baseline, if the bundle reads text or files. Every token that a mask shows may be left out, even
    a special token, because arrays do not say which tokens are special.

    Raises UsageError for an unknown method, for options that it does not take, and for a bundle in which the samples or
    the token ids can't be identified. Raises InputError for arrays that don't fit.
    """
    found, manifest = methods.find(method), predictor.manifest
    if found is None:
        known = ", ".join(one.name for one in methods.METHODS)
        raise UsageError(f"a method of the runtime must be one of {known}, got {quoted(method)}; choose one of them.")
    check_mappings(inputs, targets)
    check_steps(progress)
    chosen = Options(seed, budget, span, time_limit)
    chosen.check(method, found.takes)
    first, samples = manifest.variants[0].inputs[0], manifest.samples
    arrays = predictor.checked(dict(inputs))
    kinds = {tensor.name: tensor for tensor in manifest.variants[0].inputs}
    turned = [name for name, tensor in kinds.items() if samples in tensor.shape[1:]]
    if first.shape[0] != samples or turned or arrays[first.name].dtype.kind not in "iu":
        raise UsageError(
            f"a method that leaves tokens out needs token ids first, and samples along the first axis, got {first.name} {first.dtype} {list(first.shape)}; explain by a compiled method."
        )
    given = check_given(dict({} if targets is None else targets), arrays, manifest, wanted(manifest, samples))
    token_id = predictor.baseline().token_id if baseline is None and gives_tokens(manifest.preprocess) else baseline
    if (
        not isinstance(token_id, int | np.integer)
        or isinstance(token_id, bool)
        or not 0 <= token_id < manifest.limits.vocab
    ):
        raise UsageError(
            f"baseline must be a token id, 0 to {manifest.limits.vocab - 1}, got {quoted(baseline)}; say what stands in for a token."
        )
    outputs = predictor.run(arrays)
    count = len(arrays[first.name])
    fixed = frozenset(name for name in arrays if samples not in kinds[name].shape)
    rows = []
    for row in range(count):
        alone = {name: array if name in fixed else array[row : row + 1] for name, array in arrays.items()}
        about = {name: array[row] for name, array in given.items()}
        value = value_of(manifest, about, shown(alone, first)[0], {name: array[row] for name, array in outputs.items()})
        rows.append(attribute_sample(predictor, found, alone, first, value, token_id, chosen, fixed, progress))
    relevance, whole = np.stack([scores for scores, _ in rows]), np.array([value for _, value in rows])
    residual = whole - relevance.reshape(count, -1).sum(axis=1, dtype=np.float64)
    return {**outputs, names.RELEVANCE: relevance, names.RESIDUAL: residual.astype(np.float32)}


def check_mappings(inputs: Any, targets: Any) -> None:
    """Raises UsageError for arrays without names."""
    for what, given in (("inputs", inputs), ("targets", {} if targets is None else targets)):
        if not isinstance(given, Mapping):
            raise UsageError(
                f"{what} must be a mapping of arrays by name, got {type(given).__name__}; name them, such as {{'input_ids': ids}}."
            )


def attribute_sample(
    predictor: Predictor, method: Method, inputs: Mapping[str, Array], first: Tensor, value: Value, token_id: int,
    options: Options, fixed: frozenset[str], progress: Steps | None,
) -> tuple[Array, float]:  # fmt: skip
    """Relevance of one sample's tokens, float32 of their shape, and the explained value."""
    ids = inputs[first.name][0]
    places = np.flatnonzero(shown(inputs, first)[0].reshape(-1)).tolist()
    if not places:
        raise InputError("a sample must hold a token that can be left out, got a mask that shows none; give it one.")
    replacement = Baseline(token_id, str(token_id))
    found = attribute_row(
        predictor, method, inputs, places, replacement, lambda _: value, options, progress, first.name, fixed
    )
    return found.scores.reshape(ids.shape), found.explained


def shown(inputs: Mapping[str, Array], first: Tensor) -> npt.NDArray[np.bool_]:
    """Which tokens a mask shows, bool of the first input's shape. Without a mask of that shape, all tokens."""
    ids, mask = inputs[first.name], inputs.get(names.ATTENTION_MASK)
    return np.ones(ids.shape, dtype=bool) if mask is None or mask.shape != ids.shape else mask > 0


def wanted(manifest: Manifest, samples: str) -> dict[str, Tensor]:
    """The arrays that say what is explained, by name. Raises UsageError for outputs that are neither logits nor vectors
    of samples.
    """
    outputs = manifest.variants[0].outputs
    head = head_of(outputs, samples)
    if head is None or not head.rows_first:
        raise UsageError(
            f"an explanation needs logits or vectors of samples, got {outputs[0].name} {list(outputs[0].shape)}; call session.run with arrays."
        )
    return {tensor.name: tensor for tensor in head.targets}


def value_of(manifest: Manifest, given: Mapping[str, Array], real: Array, outputs: Outputs) -> Value:
    """The explained value of a sample as a function of its outputs.

    The `outputs` of the unchanged sample decide what is predicted. `real` is bool, of the shape of the sample's tokens.
    """
    first = manifest.variants[0].outputs[0].name
    head = head_of(manifest.variants[0].outputs, manifest.samples)
    if names.TARGET_START in given:
        asked = any(np.any(weights) for weights in given.values())
        best = {name: one_hot(np.where(real, outputs[logits], -inf)) for name, logits in ENDS.items()}
        weights = given if asked else best
        return lambda other: sum(dot(weights[name], other[logits]) for name, logits in ENDS.items())
    target, place = given[names.TARGET].astype(np.float64), given.get(names.POSITION)
    if head is not None and head.kind in UNNAMED:
        read = reader(first, place, None)
        chosen = target if np.any(target) else one_hot(read(outputs))
        return lambda other: dot(chosen, read(other))
    return cosine(target, reader(first, place, real), outputs)


def reader(name: str, place: Array | None, real: Array | None) -> Callable[[Outputs], Array]:
    """Reads a vector from an output: at a `place`, as the mean at the `real` tokens, or the whole output."""
    if place is not None:
        return lambda outputs: outputs[name][int(place)]
    if real is not None:
        return lambda outputs: outputs[name][real].astype(np.float64).mean(axis=0)
    return lambda outputs: outputs[name]


def one_hot(logits: Array) -> Array:
    """1 at the largest logit and 0 elsewhere, float64."""
    found: Array = (np.arange(len(logits)) == int(logits.argmax())).astype(np.float64)
    return found


def dot(one: Array, other: Array) -> float:
    return float(one.astype(np.float64) @ other.astype(np.float64))
