"""Checks the inputs of a custom module, whose axes and ranges its signature describes.

In: arrays by name, as the caller gives them. Out: arrays of the graph's dtypes and shapes, or an error that names the
input, the rule and the row.

A mask of a custom module may hold any numbers of its dtype, and its rows may hide everything: the graph answers them as
the module does. What the module itself leaves without an answer is found after the run (`edgexf_runtimes.finite`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.formula import formula, known, size_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.bundle.signature import Signature
from edgexf.errors import InputError, UsageError
from edgexf_runtimes.inputs.contract import Contract, kinds_of
from edgexf_runtimes.inputs.convert import Shape, array_of, at, count, described, first_place, sized
from edgexf_runtimes.inputs.limits import CallLimits

Array = npt.NDArray[Any]
RESHAPE = "convert or reshape it"


class OwnChecks:
    """Checks the inputs of a custom module. Raises UsageError for a limit of rows if the module has no rows."""

    def __init__(self, manifest: Manifest, signature: Signature, limits: CallLimits, contract: Contract) -> None:
        self._wanted = {tensor.name: tensor for tensor in manifest.variants[0].inputs}
        self._shapes = {name: tensor.shape for name, tensor in self._wanted.items()}
        self._signature, self._call, self._contract = signature, limits, contract
        self._max_global = manifest.limits.max_global
        if limits.batch is not None and not signature.samples:
            raise UsageError(
                f"a limit of rows is for models whose inputs have rows, got {limits.batch} for {manifest.name}; limit its bytes."
            )

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """The inputs of the graph, by name.

        Raises UsageError for names other than the module's inputs. Raises InputError for an array of another kind, for
        a size that its axis does not allow, for an id that is out of range, and for numbers that are not finite and with
        which the bundle was not verified.
        """
        values, shapes = self._sized(given)
        sizes = self._signature.sizes(self._shapes, shapes)
        for name, shape in shapes.items():
            for called, size in zip(self._shapes[name], shape, strict=True):
                check_axis(name, shape, called, sizes, size, self._signature)
        samples = sizes.get(self._signature.samples, 0)
        bytes_in_all = sum(count(shape) * np.dtype(self._wanted[name].dtype).itemsize for name, shape in shapes.items())
        self._call.check(samples, bytes_in_all)
        arrays = {name: self._array(self._wanted[name], value, shapes[name]) for name, value in values.items()}
        for name, array in arrays.items():
            self._check_values(name, array, sizes)
        return arrays

    def _sized(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Shape]]:
        """The inputs and their shapes, with the right number of axes. Nothing is converted that tells its shape."""
        found = {name: value for name, value in given.items() if value is not None}
        if set(found) != set(self._wanted):
            got = ", ".join(map(str, found)) or "none"
            raise UsageError(f"inputs must be the model's ({', '.join(self._wanted)}), got {got}; give these.")
        values, shapes = {}, {}
        for name, tensor in self._wanted.items():
            values[name], shapes[name] = sized(name, found[name], rule_of(tensor), RESHAPE)
            if len(shapes[name]) != len(tensor.shape):
                raise wrong_kind(tensor, described(found[name], shapes[name]))
        return values, shapes

    def _array(self, tensor: Tensor, value: Any, shape: Shape) -> Array:
        """A value in the dtype of the graph. Raises InputError if the dtype can't hold it."""
        given = array_of(tensor.name, value, rule_of(tensor), RESHAPE)
        if given.shape != shape or not np.can_cast(given.dtype, tensor.dtype, "same_kind"):
            raise wrong_kind(tensor, described(given))
        with np.errstate(over="ignore"):  # a float that is too large becomes infinite
            array = given.astype(tensor.dtype, copy=False)
        wrong = (
            array != given
            if array.dtype != given.dtype and given.dtype.kind in "iu" and array.dtype.kind in "iu"
            else None
        )
        if array.dtype.kind == "f" and array.dtype != given.dtype:
            wrong = np.isinf(array) & np.isfinite(given)
        if wrong is not None and wrong.any():
            place = first_place(wrong)
            raise InputError(
                f"{tensor.name} must fit into {tensor.dtype}, got {given[place]}{self._where(tensor.name, place)}; check its values."
            )
        return array

    def _check_values(self, name: str, array: Array, sizes: Mapping[str, int]) -> None:
        signature = self._signature
        if name == names.GLOBAL_ATTENTION_MASK and self._max_global:
            self._check_globals(name, array)
        if name in signature.below:
            self._check_range(name, array, 0, signature.below[name] - 1, "")
        if name in signature.within:
            within = signature.within[name]
            reason = f", as {within.axis} is {sizes[within.axis]}"
            self._check_range(name, array, within.least, within.most(sizes), reason)
        if array.dtype.kind == "f" and np.count_nonzero(np.isfinite(array)) != array.size:
            self._check_finite(name, array)

    def _check_range(self, name: str, array: Array, least: int, most: int, reason: str) -> None:
        wrong = (array < least) | (array > most)
        if wrong.any():
            place = first_place(wrong)
            raise InputError(
                f"{name} must be {least} to {most}{reason}, got {array[place]}{self._where(name, place)}; check its values."
            )

    def _check_globals(self, name: str, array: Array) -> None:
        counts = (array > 0).sum(axis=-1)
        if counts.max(initial=0) > self._max_global:
            place = first_place(counts == counts.max())
            raise InputError(
                f"a row may have at most {self._max_global} global tokens, got {counts.max()}{self._where(name, place)}; choose fewer, or export with --max-global {counts.max()}."
            )

    def _check_finite(self, name: str, array: Array) -> None:
        """Raises InputError for NaN and infinite numbers, but for those with which the bundle was verified."""
        met = self._contract.not_finite(name)
        other = kinds_of(array) - met
        if other:
            wrong = (
                np.isnan(array)
                if "nan" in other
                else ~np.isfinite(array) & ~np.isin(array, [float(one) for one in met])
            )
            place = first_place(wrong)
            also = f" or {', '.join(sorted(met))}" if met else ""
            raise InputError(
                f"{name} must be finite numbers{also}, as the bundle was verified with, got {array[place]}{self._where(name, place)}; correct its values."
            )

    def _where(self, name: str, place: tuple[int, ...]) -> str:
        """The row of a place in an input, or the place itself in an input without rows."""
        shape, samples = self._shapes[name], self._signature.samples
        if samples and samples in shape and shape.index(samples) < len(place):
            return f" in row {place[shape.index(samples)]}"
        return at(place)


def rule_of(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def wrong_kind(tensor: Tensor, got: str) -> InputError:
    return InputError(f"{tensor.name} must be {rule_of(tensor)}, got {got}; {RESHAPE}.")


def check_axis(
    name: str, shape: Shape, called: int | str, sizes: Mapping[str, int], size: int, signature: Signature
) -> None:
    """Raises InputError for a size that its axis does not allow."""
    if isinstance(called, int):
        if size != called:
            raise InputError(f"{name} must have {called} entries where it has {size}, got {list(shape)}; reshape it.")
        return
    if not known(called, sizes):
        raise InputError(f"{name} must have {called} entries, got {size} in {list(shape)}; reshape it.")
    wanted = size_of(called, sizes)
    if size != wanted:
        raise InputError(f"inputs must agree on {called}, got {wanted} and {size} in {name}; make them alike.")
    for axis in map(signature.axis, formula(called).names):
        if not axis.allows(sizes[axis.name]):
            steps = f" in steps of {axis.step}" if axis.step > 1 else ""
            raise InputError(
                f"{axis.name} must be {axis.least} to {axis.most}{steps}, got {sizes[axis.name]} in {name}; cut it, or export with dynamic_shapes that allow it."
            )
