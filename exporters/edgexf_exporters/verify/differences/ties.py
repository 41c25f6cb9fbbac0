"""Ties: discrete choices inside a model that rounding decides, and a comparison that does not depend on them.

    before  argmax of scores that differ only by the rounding of float32: library and graph may choose differently
    after   the untouched model repeats a choice of the graph that scores as high as its own choice, within `TIE`

In: the file of a graph, and the choices of a run. Out: the same graph with its choices as further outputs; a context
for the model. If a choice of the graph scores lower, the model keeps its own choice. So a graph that chooses wrongly
still differs from the model.

A long input of a Reformer hashes tokens some millions of times, and a few of these hashes are always ties. One such
token moves the borders of chunks, and so changes what many other tokens see. Two alternatives were weighed. Other
tokens for such a cell do not help: a long input always has a tie. A tolerance for a share of the tokens would hide
errors in an equally large share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import torch
from torch.overrides import TorchFunctionMode

TIE = 3e-5  # of the scores' mean size; in ten layers library and graph differed by 2e-6 of the best score


def choices(model: onnx.ModelProto) -> list[str]:
    """The names of the discrete choices in a predict graph, in the order of its layers."""
    return [node.output[0] for node in model.graph.node if node.op_type == "ArgMax"]


def with_choices(path: Path, count: int) -> Path:
    """Writes a copy of the graph at `path` into the same folder, and returns its path.

    The first `count` choices of the graph are further outputs of the copy.
    """
    model = onnx.load(str(path), load_external_data=False)
    for name in choices(model)[:count]:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    beside = path.with_name(f"choices_{path.name}")
    beside.write_bytes(model.SerializeToString())
    return beside


class Choices(TorchFunctionMode):
    """A context in which `torch.argmax` repeats given choices where they are ties.

    Attributes:
        repeated: the choices to repeat, an array for each call of `torch.argmax`, in order. A row of it that is no tie
            is not repeated.
        broken: the number of rows where a repeated choice differs from the model's choice.
        made: the choices that were made, an array for each call of `torch.argmax`, in order.
        closest: the smallest distance of any row between its best and its second best score, relative to the mean size
            of the scores.
    """

    def __init__(self, repeated: Sequence[npt.NDArray[Any]] = ()) -> None:
        super().__init__()
        self.repeated = iter(repeated)
        self.broken, self.closest = 0, math.inf
        self.made: list[npt.NDArray[Any]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        own = function(*args, **(kwargs or {}))
        if function is not torch.argmax:
            return own
        scores, given = args[0], next(self.repeated, None)
        size = scores.abs().mean().clamp_min(1e-30)  # over all rows: a row of two buckets, x and -x, gives no scale
        best, second = scores.topk(2, dim=-1).values.unbind(-1)
        self.closest = min(self.closest, float((best - second).min() / size))
        if given is None:
            self.made.append(own.numpy())
            return own
        theirs = torch.from_numpy(given).reshape(own.shape)  # a library may join axes that the graph keeps separate
        tied = best - scores.gather(-1, theirs.unsqueeze(-1)).squeeze(-1) <= TIE * size
        chosen = torch.where(tied, theirs, own)
        self.broken += int((chosen != own).sum())
        self.made.append(chosen.numpy())
        return chosen
