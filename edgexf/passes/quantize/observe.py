"""Sample what flows into the layers of a graph, on a few inputs.

In: an onnx_ir model whose linear layers are products, and inputs. Out: for each weight a sample of the rows that it
multiplies, by digest. Memory is bounded: about `ROWS` rows of each layer are kept, and a run outputs the values of at
most `AT_ONCE` layers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgexf.passes.quantize.balance import ActivationSample, Floats
from edgexf.passes.quantize.weights import Kind, find

ROWS = 512  # of a layer's inputs, shared among the runs; each run adds the row with its largest value
AT_ONCE = 16
Feeds = Mapping[str, np.ndarray[Any, Any]]


def observe(model: ir.Model, inputs: Iterable[Feeds]) -> dict[bytes, ActivationSample]:
    """Samples what each layer multiplies, over all inputs, by the digest of the weight. Adds outputs to the model."""
    digests: dict[str, list[bytes]] = {}
    for weight in find(model.graph)[0]:
        for use in weight.uses:
            left = use.node.inputs[0]
            constant = left is not None and left.const_value is not None
            if use.kind is Kind.PRODUCT and left is not None and use.axis == weight.axis and use.whole and not constant:
                digests.setdefault(left.name or "", []).append(weight.digest)
    session = answering(model, set(digests))
    batches = list(inputs)
    share = max(ROWS // max(len(batches), 1), 1)
    found: dict[bytes, list[ActivationSample]] = {}
    names = sorted(digests)
    for feeds in batches:
        for start in range(0, len(names), AT_ONCE):
            part = names[start : start + AT_ONCE]
            made = [name for name in part if name not in feeds]
            arrays = {**feeds, **dict(zip(made, session.run(made, dict(feeds)), strict=True))} if made else feeds
            for name in part:
                array = arrays[name]
                seen = sampled(array.reshape(-1, array.shape[-1]), share)
                for digest in digests[name]:
                    found.setdefault(digest, []).append(seen)
    return {
        digest: ActivationSample(
            np.concatenate([one.rows for one in each]),
            np.max([one.largest for one in each], axis=0),
            min(one.low for one in each),
            max(one.high for one in each),
        )
        for digest, each in found.items()
    }


def sampled(rows: Floats, count: int) -> ActivationSample:
    """`count` rows, evenly spread, and the row with the largest value; sizes and limits are of all rows."""
    sizes = np.abs(rows)
    even = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)
    places = np.unique(np.append(even, sizes.max(axis=1).argmax()))
    return ActivationSample(rows[places], sizes.max(axis=0), float(rows.min()), float(rows.max()))


def answering(model: ir.Model, names: set[str]) -> ort.InferenceSession:
    """A session of the model that also outputs the values in `names`. Adds outputs to the model."""
    outputs = {value.name for value in model.graph.outputs}
    for node in model.graph:
        for value in node.outputs:
            if value.name in names - outputs:
                value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
                model.graph.outputs.append(value)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # The session keeps the weights open, and Windows does not remove such a file: there it stays.
    with tempfile.TemporaryDirectory(prefix="edgexf-", ignore_cleanup_errors=os.name == "nt") as folder:
        path = Path(folder, "model.onnx")
        ir.save(model, path, external_data="weights")
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
