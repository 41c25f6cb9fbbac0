"""Checks the arrays that say what an explain graph explains, and fills in defaults.

In: arrays by name, as the caller gives them, and the inputs. Out: arrays of the graph's dtypes and shapes. Missing
weights become zeros, which stand for what the model predicts. The caller must give a position, a baseline and a path if
the graph takes them, because none of them has an obvious default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.formula import size_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.errors import InputError, UsageError, enumerated
from edgexf_runtimes.inputs.convert import described, first_place, shaped, sized

Array = npt.NDArray[Any]

MOST_STEPS = 1_000_000  # as many as the largest budget


def check_targets(
    given: Mapping[str, Any], inputs: Mapping[str, Array], manifest: Manifest, method: str
) -> dict[str, Array]:
    """Checks what the graph of `method` takes besides `inputs`. See `check_given` for errors."""
    return check_given(given, inputs, manifest, {tensor.name: tensor for tensor in manifest.targets(method)})


def check_given(
    given: Mapping[str, Any], inputs: Mapping[str, Array], manifest: Manifest, wanted: Mapping[str, Tensor]
) -> dict[str, Array]:
    """Checks the arrays of `wanted`, which a graph takes besides `inputs`.

    Raises InputError for arrays of another kind or shape, and UsageError for a missing position and for an array that
    is not wanted.
    """
    unknown = set(given) - set(wanted)
    if unknown:
        raise UsageError(
            f"an explanation's target must be given as {', '.join(wanted)}, got {enumerated(unknown)}; leave it out."
        )
    sizes = {
        str(axis): size
        for tensor in manifest.variants[0].inputs
        for axis, size in zip(tensor.shape, inputs[tensor.name].shape, strict=True)
    }
    if manifest.signature is not None:
        shapes = {tensor.name: tensor.shape for tensor in manifest.variants[0].inputs}
        sizes |= manifest.signature.sizes(shapes, {name: inputs[name].shape for name in shapes})
    found = {}
    for name, tensor in wanted.items():
        if name == names.POSITION:
            found[name] = checked_position(given.get(name), tensor, sizes, inputs, manifest)
        elif name == names.BASELINE:
            found[name] = checked_baseline(given.get(name), inputs, manifest)
        elif name == names.PATH:
            found[name] = checked_path(given.get(name))
        else:
            found[name] = checked_weights(given.get(name), tensor, sizes)
    return found


def checked_weights(value: Any, tensor: Tensor, sizes: Mapping[str, int]) -> Array:
    """float32 of the tensor's shape; zeros if `value` is None."""
    shape = tuple(size_of(axis, sizes) for axis in tensor.shape)
    if value is None:
        return np.zeros(shape, dtype=np.float32)
    rule = f"finite float32 {list(shape)}"
    return shaped(tensor.name, value, shape, np.float32, rule, "give a weight for each of its entries")


def checked_position(
    value: Any, tensor: Tensor, sizes: Mapping[str, int], inputs: Mapping[str, Array], manifest: Manifest
) -> Array:
    """int64 [batch]: a real token of each row, counted from 0."""
    if value is None:
        raise UsageError(
            "an explanation of a model that answers at each token needs a position, got none; say which token's answer to explain."
        )
    (rows,) = (sizes[str(axis)] for axis in tensor.shape)
    position = whole("position", value, (rows,), f"whole numbers [{rows}]", "give one for each row")
    first, behind = places(inputs, sizes, rows, manifest)
    wrong = (position < first) | (position >= behind)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"position must be a real token, {first[row]} to {behind[row] - 1}, got {position[row]} in row {row}; count the tokens from 0."
        )
    return position.astype(np.int64)


def whole(name: str, value: Any, shape: tuple[int, ...], rule: str, remedy: str) -> Array:
    """Whole numbers of a shape. Raises InputError for any other value."""
    array = shaped(name, value, shape, None, rule, remedy)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} must be {rule}, got {described(array)}; {remedy}.")
    return array


def places(inputs: Mapping[str, Array], sizes: Mapping[str, int], rows: int, manifest: Manifest) -> tuple[Array, Array]:
    """The first token of each row that has an answer, and the place behind the last one, int64 [rows] each."""
    output = manifest.variants[0].outputs[0]
    (tokens,) = (axis for axis in output.shape[:-1] if axis != manifest.samples)
    if tokens == names.SEQUENCE and names.ATTENTION_MASK in inputs:
        mask = inputs[names.ATTENTION_MASK]
        first = mask.argmax(axis=-1)
        return first, first + mask.sum(axis=-1)
    return np.zeros(rows, np.int64), np.full(rows, size_of(tokens, sizes))


def checked_baseline(value: Any, inputs: Mapping[str, Array], manifest: Manifest) -> Array:
    """Token ids of the first input's shape and dtype, within its vocabulary. If the first input holds values and not
    ids, finite values.
    """
    first = manifest.variants[0].inputs[0]
    ids = inputs[first.name]
    given = () if value is None else value
    if ids.dtype.kind == "f":
        rule = f"finite {ids.dtype} {list(ids.shape)}, as {first.name}"
        return shaped(
            names.BASELINE, given, ids.shape, ids.dtype, rule, "say what the path starts from, such as zeros"
        )  # fmt: skip
    rule = f"token ids {list(ids.shape)}, as {first.name}"
    baseline = whole(names.BASELINE, given, ids.shape, rule, "say what the path starts from")
    below = manifest.limits.vocab if manifest.signature is None else manifest.signature.below.get(first.name)
    if below is not None and (baseline.min() < 0 or baseline.max() >= below):
        place = first_place((baseline < 0) | (baseline >= below))
        raise InputError(
            f"{names.BASELINE} must be 0 to {below - 1}, got {baseline[place]} in row {place[0]}; check its values."
        )
    return baseline.astype(ids.dtype)


def checked_path(value: Any) -> Array:
    """float32 [steps], each from 0 to 1."""
    rule, remedy = "points from 0 to 1, [steps]", "give at least one"
    _, shape = sized(names.PATH, () if value is None else value, rule, remedy)
    if len(shape) != 1 or not 0 < shape[0] <= MOST_STEPS:
        raise InputError(f"{names.PATH} must be {rule}, 1 to {MOST_STEPS:,} of them, got {list(shape)}; {remedy}.")
    path = shaped(names.PATH, value, shape, np.float32, rule, remedy)
    wrong = (path < 0) | (path > 1)
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(f"{names.PATH} must be {rule}, got {path[place]} at [{place}]; correct it.")
    return path
