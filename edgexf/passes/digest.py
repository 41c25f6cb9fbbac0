"""What tells a weight from another in every graph of a bundle: the hash of its shape and content."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def digest(value: ir.Value) -> bytes:
    """What tells a weight from another in every graph of a bundle: the hash of its shape and content."""
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"{value.name} is no constant")
    return hashed(tuple(tensor.numpy().shape), tensor.tobytes())


def digest_of(array: npt.NDArray[np.float32]) -> bytes:
    """The digest of a weight that holds this array."""
    return hashed(array.shape, np.ascontiguousarray(array).tobytes())


def hashed(shape: tuple[int, ...], content: bytes) -> bytes:
    return hashlib.sha256(",".join(map(str, shape)).encode() + b":" + content).digest()
