"""Checks of a graph that compare no answers: random operators, and how tensors grow.

In: an ONNX model that takes any length, or the path of its file. Out: a sentence about what a check found; empty if it
found nothing.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edgexf import names
from edgexf.bundle.manifest import Limits, Tensor
from edgexf_exporters.source import ModuleInputs

LONG = 1024  # tokens; a model that takes fewer tokens is measured at its longest input
OTHER = 2
CHOICE = "If"
GROWTH = 1.25  # the least ratio of two lengths that tells growth from a constant part
QUADRATIC = 1.6  # the exponent from which growth is not linear: twice the length makes a tensor 3 times as large


def random_operators(model: onnx.ModelProto) -> str:
    """Names the operators in a graph whose answer changes from run to run; empty if it has none."""
    operators = set(operators_in(model.graph))
    found = sorted(name for name in operators if name.startswith("Random") or name in ("Bernoulli", "Multinomial"))
    return f"the graph holds {', '.join(found)}" if found else ""


def operators_in(graph: onnx.GraphProto) -> Iterator[str]:
    """Yields the operators of a graph, and of the graphs inside its nodes."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            yield from operators_in(attribute.g)


def sizes(path: Path, inputs: Sequence[Tensor], length: int, own: ModuleInputs | None = None) -> dict[str, int]:
    """The number of elements of every intermediate tensor at this length, by the node that makes the tensor.

    Nothing is optimised away. The shapes come from the profile that ONNX Runtime makes of a run: all tensors together
    may take many times the memory of a run. Other axes have the same size for every length: one row, `OTHER` choices,
    and `OTHER` tokens that a decoder has written. `own` makes the inputs of a custom module.
    """
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "run"))
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = own_feeds(own, length) if own is not None else feeds_of(inputs, length)
        axes = {str(axis): size for one in inputs for axis, size in zip(one.shape, feeds[one.name].shape, strict=True)}
        for value in session.get_inputs():
            if value.name not in feeds:  # an input of the explanation
                kind = np.int64 if value.type == "tensor(int64)" else np.float32
                feeds[value.name] = np.zeros(
                    [axes.get(axis, OTHER) if isinstance(axis, str) else axis for axis in value.shape], dtype=kind
                )
        session.run(None, feeds)
        if (
            CHOICE in operators_in(onnx.load(str(path), load_external_data=False).graph)
            and names.ATTENTION_MASK in feeds
        ):
            feeds[names.ATTENTION_MASK][..., -1:] = 0  # the other branch
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    found = {}
    for event in events:
        for place, made in enumerate(event.get("args", {}).get("output_type_shape", ())):
            for shape in made.values():
                found[f"{event['name'].removesuffix('_kernel_time')}:{place}"] = math.prod(shape)
    return found


def feeds_of(inputs: Sequence[Tensor], length: int) -> dict[str, Any]:
    """Inputs of int64 ones: every token has the id 1, and no token is padding."""
    axes = {names.BATCH: 1, names.SEQUENCE: length}
    return {
        tensor.name: np.ones([axes.get(str(axis), OTHER) for axis in tensor.shape], dtype=np.int64) for tensor in inputs
    }


def own_feeds(own: ModuleInputs, length: int) -> dict[str, Any]:
    """Inputs of a custom module with this length. All axes but the first axis of tokens have their smallest size."""
    axes = own.signature.axes
    first = next((axis.name for axis in axes if axis.name != own.signature.samples), "")
    return own.draw({axis.name: length if axis.name == first else axis.least for axis in axes}, seed=1)


def growth(path: Path, own: ModuleInputs) -> str:
    """What grows faster than the first axis of tokens in the graph of a custom module; empty if nothing does."""
    tokens = [axis for axis in own.signature.axes if axis.name != own.signature.samples]
    if not tokens:
        return ""
    axis = tokens[0]
    most = min(max(LONG, 4 * axis.step), axis.most) // axis.step * axis.step
    least = most // (2 * axis.step) * axis.step
    if least < axis.least or most < GROWTH * least:
        return ""
    return grown(sizes(path, own.tensors, least, own), sizes(path, own.tensors, most, own), most / least)


def quadratic_tensors(path: Path, inputs: Sequence[Tensor], block: int, limits: Limits) -> str | None:
    """Names the intermediate tensors that grow faster than the length, at lengths of whole blocks.

    None if the length can't grow: the longest input is a single block, or the model attends fully at all its lengths.
    """
    most = min(max(LONG, 4 * limits.switch), limits.max_length) // block * block
    least = max(most // (2 * block) * block, (limits.switch // block + 1) * block)
    if least == 0 or most < GROWTH * least:
        return None
    return grown(sizes(path, inputs, least), sizes(path, inputs, most), most / least)


def grown(short: Mapping[str, int], long: Mapping[str, int], longer: float) -> str:
    """Names the tensors that grew faster than the length, from their sizes at two lengths with the ratio `longer`."""
    bound = longer**QUADRATIC
    found = [name for name in short if long[name] > bound * max(short[name], 1)]
    return f"{len(found)} tensors grow as length squared, {found[0]} first" if found else ""
