"""Identify a weight in every graph of a bundle by a hash.

In: an initializer or an array. Out: the SHA-256 of its shape and content.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

SMALLEST = 1024  # elements; a smaller weight costs less than the nodes that would unpack it


def digest(value: ir.Value) -> bytes:
    """The hash of a weight's shape and content. ValueError for a value that is not constant."""
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"{value.name} is no constant")
    return hashed(tuple(tensor.numpy().shape), tensor.tobytes())


def digest_of(array: npt.NDArray[np.float32]) -> bytes:
    """The `digest` of a weight that holds this array."""
    return hashed(array.shape, np.ascontiguousarray(array).tobytes())


def hashed(shape: tuple[int, ...], content: bytes) -> bytes:
    return hashlib.sha256(",".join(map(str, shape)).encode() + b":" + content).digest()
