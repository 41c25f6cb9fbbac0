"""Move the weights of several graphs into one external data file, each tensor once.

    before  model.onnx with its weights, explain.onnx with the same weights again
    after   model.onnx and explain.onnx without, model.onnx_data with each distinct tensor once

In: onnx_ir models. Out: the bytes of each file. Offsets of large tensors are multiples of a page, so that a runtime can
map the file (ONNX external data, IR specification). Offsets of small tensors are multiples of a cache line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath

import onnx_ir as ir

PAGE = 4096
LINE = 64
PAGED = 1 << 18  # bytes; smaller tensors would waste a notable part of a page
INLINE = 1024  # bytes; smaller tensors stay in the graph, where shape inference can read them


def share_weights(models: Mapping[str, ir.Model], data_file: str) -> dict[str, bytes]:
    """The bytes of the files by path: each model of `models` (path -> model), and `data_file` in the same folder."""
    data = bytearray()
    places: dict[bytes, int] = {}
    files = {}
    for path, model in models.items():
        for value in model.graph.initializers.values():
            if value.const_value is not None and value.const_value.nbytes >= INLINE:
                value.const_value = external(value.const_value, data, places, PurePosixPath(data_file).name)
        files[path] = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    files[data_file] = bytes(data)
    return files


def external(tensor: ir.TensorProtocol, data: bytearray, places: dict[bytes, int], location: str) -> ir.ExternalTensor:
    """`tensor` as a reference into `data`. Appends the content of the tensor if `data` does not hold it yet."""
    content = tensor.tobytes()
    digest = hashlib.sha256(content).digest()
    if digest not in places:
        data.extend(bytes(-len(data) % (PAGE if len(content) >= PAGED else LINE)))
        places[digest] = len(data)
        data.extend(content)
    return ir.ExternalTensor(
        location,
        places[digest],
        len(content),
        tensor.dtype,
        shape=ir.Shape(tensor.numpy().shape),
        name=tensor.name or "",
    )
