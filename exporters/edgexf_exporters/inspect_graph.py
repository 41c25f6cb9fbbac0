"""What can be seen in a graph without comparing answers: random operators, and how tensors grow.

In: an ONNX model that takes any length. Out: a sentence for each finding, empty where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort

from edgexf import names
from edgexf.manifest import Limits, Tensor

LONG = 1024  # tokens; a shorter model is looked at in its whole length
OTHER = 2
QUADRATIC = 3.0  # doubling the length doubles a linear tensor and quadruples a quadratic one


def random_operators(model: onnx.ModelProto) -> str:
    """Operators whose answer changes from run to run."""
    operators = {node.op_type for node in model.graph.node}
    found = sorted(name for name in operators if name.startswith("Random") or name in ("Bernoulli", "Multinomial"))
    return f"the graph holds {', '.join(found)}" if found else ""


def sizes(model: onnx.ModelProto, inputs: Sequence[Tensor], length: int) -> dict[str, int]:
    """Elements of every intermediate tensor at this length, seen in a run with nothing optimised away.

    Other axes are the same for every length: one row, `OTHER` choices, as many tokens that a decoder has written.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    produced = [name for node in probe.graph.node for name in node.output if name]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in produced)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    axes = {names.BATCH: 1, names.SEQUENCE: length}
    feeds = {
        tensor.name: np.ones([axes.get(str(axis), OTHER) for axis in tensor.shape], dtype=np.int64) for tensor in inputs
    }
    for value in session.get_inputs():
        if value.name == names.TARGET:
            feeds[value.name] = np.zeros((1, value.shape[1]), dtype=np.float32)
    values = session.run(produced, feeds)
    return {name: math.prod(np.shape(value)) for name, value in zip(produced, values, strict=True)}


def quadratic_tensors(model: onnx.ModelProto, inputs: Sequence[Tensor], block: int, limits: Limits) -> str:
    """Intermediate tensors that grow faster than the length, in whole blocks up to the longest input.

    Where a model attends fully up to a switch, the lengths lie beyond it.
    """
    most = min(max(LONG, 4 * limits.switch), limits.max_length)
    half = most // (2 * block) * block
    if half == 0 or half <= limits.switch:
        return ""  # one block, or full attention, is the whole model: there is no length to grow with
    short, long = sizes(model, inputs, half), sizes(model, inputs, 2 * half)
    found = [name for name in short if long[name] > QUADRATIC * max(short[name], 1)]
    return f"{len(found)} tensors grow as length squared, {found[0]} first" if found else ""
