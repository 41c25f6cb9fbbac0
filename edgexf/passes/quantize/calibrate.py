"""Find the ranges of what layers multiply over calibration data. Static quantization fixes these ranges beforehand.

In: an onnx_ir model whose linear layers are products, its packed weights with their balances, and inputs one after
another. Out: a range (low, high) by the digest of a weight.

The estimators are onnxruntime's (its class docstrings; Migacz 2017):

    minmax       keeps the extremes
    percentile   keeps 99.999 % of the values
    entropy      keeps the range whose 8 bits lose the least information

Inputs run one by one. Each input is processed before the next input is read, so memory holds the activations of one run
and a histogram for each layer, however long the data is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

from edgexf.dtypes import CALIBRATIONS
from edgexf.passes.quantize.walk import Range, moved_rows
from edgexf.passes.quantize.weights import Kind, find
from edgexf.passes.rewriter import Rewriter

ESTIMATORS = (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy)
METHODS = dict(zip(CALIBRATIONS, ESTIMATORS, strict=True))
Feeds = Mapping[str, np.ndarray[Any, Any]]


class One(CalibrationDataReader):  # type: ignore[misc]
    """A single input in the form that onnxruntime reads."""

    def __init__(self, feeds: Feeds) -> None:
        self.rest: list[Feeds] = [feeds]

    def get_next(self) -> dict[str, Any] | None:
        return dict(self.rest.pop()) if self.rest else None


def calibrate(model: ir.Model, packed: Mapping[bytes, Any], inputs: Iterable[Feeds], method: str) -> dict[bytes, Range]:
    """Finds the ranges, and changes the model. `packed` are its weights as `Int8` stores them, by digest."""
    graph = Rewriter(model)
    watched: dict[str, bytes] = {}
    for weight in find(model.graph)[0]:
        codes = packed.get(weight.digest)
        for use in weight.uses:
            left = use.node.inputs[0]
            if (
                codes is None
                or left is None
                or use.kind is not Kind.PRODUCT
                or use.axis != codes.axis
                or moved_rows(use)
            ):
                continue
            if codes.balance is not None:
                left = graph.node("Mul", left, graph.constant(f"{weight.name}_factor", codes.balance.factor))
            watcher = ir.node("Identity", [left])
            model.graph.append(watcher)
            seen = watcher.outputs[0]
            seen.name, seen.type = f"watched_{len(watched)}", ir.TensorType(ir.DataType.FLOAT)
            model.graph.outputs.append(seen)
            watched[seen.name] = weight.digest
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        path = Path(folder, "model.onnx")
        ir.save(model, path, external_data="weights")
        with redirect_stdout(StringIO()):  # onnxruntime prints lines for every input
            calibrator = create_calibrator(
                path, ["Identity"], str(Path(folder, "augmented.onnx")), METHODS[method], use_external_data_format=True
            )
            for feeds in inputs:
                calibrator.collect_data(One(feeds))
            found = calibrator.compute_data()
        del calibrator  # its session has files of the folder open, which Windows would not remove
    ranges: dict[bytes, Range] = {}
    for name, digest in watched.items():
        low, high = (float(np.asarray(end).reshape(-1)[0]) for end in found[name].range_value)
        before = ranges.get(digest, (low, high))  # several layers may share a weight
        ranges[digest] = min(low, before[0]), max(high, before[1])
    return ranges
