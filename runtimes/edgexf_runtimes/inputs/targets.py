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
from edgexf.errors import InputError, UsageError

Array = npt.NDArray[Any]


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
    unknown = sorted(set(given) - set(wanted))
    if unknown:
        raise UsageError(
            f"an explanation's target must be given as {', '.join(wanted)}, got {', '.join(unknown)}; leave it out."
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
    weights = np.zeros(shape, dtype=np.float32) if value is None else np.asarray(value, dtype=np.float32)
    if weights.shape != shape or not np.isfinite(weights).all():
        raise InputError(
            f"{tensor.name} must be finite float32 {list(shape)}, got {list(weights.shape)}; give a weight for each of its entries."
        )
    return weights


def checked_position(
    value: Any, tensor: Tensor, sizes: Mapping[str, int], inputs: Mapping[str, Array], manifest: Manifest
) -> Array:
    """int64 [batch]: a real token of each row, counted from 0."""
    if value is None:
        raise UsageError(
            "an explanation of a model that answers at each token needs a position, got none; say which token's answer to explain."
        )
    (rows,) = (sizes[str(axis)] for axis in tensor.shape)
    position = np.asarray(value)
    if position.shape != (rows,) or position.dtype.kind not in "iu":
        raise InputError(
            f"position must be whole numbers [{rows}], got {position.dtype} {list(position.shape)}; give one for each row."
        )
    lengths = places(inputs, sizes, rows, manifest)
    if np.any((position < 0) | (position >= lengths)):
        raise InputError(
            f"position must be a real token, 0 to {(lengths - 1).tolist()} in each row, got {position.tolist()}; count the tokens from 0."
        )
    return position.astype(np.int64)


def places(inputs: Mapping[str, Array], sizes: Mapping[str, int], rows: int, manifest: Manifest) -> Array:
    """The number of tokens of each row that have an answer, int64 [rows]."""
    output = manifest.variants[0].outputs[0]
    (tokens,) = (axis for axis in output.shape[:-1] if axis != manifest.samples)
    if tokens == names.SEQUENCE and names.ATTENTION_MASK in inputs:
        lengths: Array = inputs[names.ATTENTION_MASK].sum(axis=-1)
        return lengths
    return np.full(rows, size_of(tokens, sizes))


def checked_baseline(value: Any, inputs: Mapping[str, Array], manifest: Manifest) -> Array:
    """Token ids of the first input's shape and dtype, within its vocabulary. If the first input holds values and not
    ids, finite values.
    """
    first = manifest.variants[0].inputs[0]
    ids = inputs[first.name]
    if ids.dtype.kind == "f":
        values = np.asarray([] if value is None else value, dtype=ids.dtype)
        if values.shape != ids.shape or not np.isfinite(values).all():
            raise InputError(
                f"{names.BASELINE} must be finite {ids.dtype} {list(ids.shape)}, as {first.name}, got {list(values.shape)}; say what the path starts from, such as zeros."
            )
        return values
    baseline = np.asarray(value) if value is not None else np.empty(0)
    below = manifest.limits.vocab if manifest.signature is None else manifest.signature.below.get(first.name)
    if baseline.shape != ids.shape or baseline.dtype.kind not in "iu":
        raise InputError(
            f"{names.BASELINE} must be token ids {list(ids.shape)}, as {first.name}, got {baseline.dtype} {list(baseline.shape)}; say what the path starts from."
        )
    if below is not None and (baseline.min() < 0 or baseline.max() >= below):
        raise InputError(
            f"{names.BASELINE} must be 0 to {below - 1}, got {baseline.min()} to {baseline.max()}; check its values."
        )
    return baseline.astype(ids.dtype)


def checked_path(value: Any) -> Array:
    """float32 [steps], each from 0 to 1."""
    path = np.asarray([] if value is None else value, dtype=np.float32)
    if path.ndim != 1 or path.size == 0 or not (np.isfinite(path).all() and path.min() >= 0 and path.max() <= 1):
        raise InputError(
            f"{names.PATH} must be points from 0 to 1, [steps], got {list(path.shape)}; give at least one."
        )
    return path
