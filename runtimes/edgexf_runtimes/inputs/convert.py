"""Turns a value that a caller gives into an array of numbers, after a look at its size.

In: any value. Out: an array as numpy makes it, or an InputError that names the input.

The size comes first: `numpy.broadcast_to` makes an array of 7 TiB out of 8 bytes, and its conversion to another dtype
would allocate all of them. The shape of nested lists follows from their first elements, because numpy refuses lists
that are no rectangle.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.errors import InputError, UsageError, enumerated

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

DEEPEST = 64  # axes that numpy has at most
NUMBERS = "biuf"  # kinds of dtypes: booleans, whole numbers with and without a sign, floats
TEXT = (str, bytes, bytearray, memoryview)


def joined(given: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of a call, by name. Raises UsageError for values without names."""
    if given is None:
        return inputs
    if not isinstance(given, Mapping):
        raise UsageError(
            f"inputs must be given by their names, got {type(given).__name__} without one; name it, such as input_ids=...."
        )
    twice = set(given) & set(inputs)
    if twice:
        raise UsageError(f"an input must be given once, got {enumerated(twice)} twice; leave one out.")
    return {**given, **inputs}


def shape_of(value: Any, deep: int = 0) -> Shape | None:
    """The shape of the array that numpy would make of a value, without making it; None if the value doesn't tell."""
    if isinstance(value, np.ndarray):
        shape: Shape = value.shape
        return shape
    if isinstance(value, Sequence) and not isinstance(value, TEXT):
        inner = shape_of(value[0], deep + 1) if len(value) and deep < DEEPEST else ()
        return None if inner is None else (len(value), *inner)
    try:
        return tuple(int(size) for size in value.shape)
    except Exception:  # noqa: BLE001 (a caller's object may raise anything; its conversion tells what)
        return None if hasattr(type(value), "__array__") else ()


def is_masked(value: Any) -> bool:
    """Whether a value is a masked array, or a list of them. numpy would drop their masks without a word."""
    module = sys.modules.get("numpy.ma")  # numpy imports it at its first use, and before that there are none
    if module is None:
        return False
    kind = module.MaskedArray
    return isinstance(value, kind) or (isinstance(value, list | tuple) and any(isinstance(one, kind) for one in value))


def described(value: Any, shape: Shape | None = None) -> str:
    """A value in a few words for an error."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return type(value).__name__ + (f" {list(shape)}" if shape else "")


def array_of(name: str, value: Any, rule: str, remedy: str) -> Array:
    """A value as an array of numbers. The `rule` says what `name` must be, and the `remedy` what to do.

    Raises InputError for a value of which numpy makes no array of numbers, and for a masked array, whose mask no graph
    reads.
    """
    if type(value) is np.ndarray:
        array: Array = value
    elif is_masked(value):
        raise InputError(f"{name} must be {rule}, got a masked array; give its values, such as .filled(0).")
    else:
        try:
            array = np.asarray(value)
        except Exception as error:  # an object's own __array__ may raise anything
            reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            what = f"{described(value)} ({type(error).__name__}: {reason})"
            raise InputError(f"{name} must be {rule}, got {what}; {remedy}.") from error
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"{name} must be {rule}, got {described(value if array.ndim == 0 else array)}; {remedy}.")
    return array


def sized(name: str, value: Any, rule: str, remedy: str) -> tuple[Any, Shape]:
    """A value and its shape. A value that doesn't tell its shape becomes an array."""
    shape = shape_of(value)
    if shape is not None:
        return value, shape
    array = array_of(name, value, rule, remedy)
    return array, array.shape


def shaped(name: str, value: Any, shape: Shape, dtype: Any, rule: str, remedy: str) -> Array:
    """A value as a finite array of a shape and a dtype; None keeps its own. Raises InputError for any other value.

    A float that is too large for the dtype becomes infinite, and is refused as one.
    """
    value, found = sized(name, value, rule, remedy)
    if found != shape:
        raise InputError(f"{name} must be {rule}, got {described(value, found)}; {remedy}.")
    array = array_of(name, value, rule, remedy)
    if array.shape != shape:  # lists of different lengths, of which the first one was right
        raise InputError(f"{name} must be {rule}, got {described(array)}; {remedy}.")
    with np.errstate(over="ignore"):
        array = array if dtype is None else array.astype(dtype, copy=False)
    if not np.isfinite(array).all():
        where = first_place(~np.isfinite(array))
        raise InputError(f"{name} must be {rule}, got {array[where]}{at(where)}; {remedy}.")
    return array


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or of numpy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def first_place(wrong: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))


def at(place: Sequence[int]) -> str:
    """The place of a value in words; empty for a number without axes."""
    return f" at {list(place)}" if place else ""


def count(shape: Shape) -> int:
    """The number of values. Python's whole numbers don't overflow where those of numpy would."""
    return prod(shape)
