"""Ties: discrete choices inside a model that rounding decides, and a comparison that does not hang on them.

    before  argmax of scores that are equal but for float32's rounding: library and graph may each choose another one
    after   the untouched model repeats the graph's choices where they score as high as its own, within `TIE`

In: a graph's file, and the choices of a run. Out: the same graph that also answers its choices; a context for the model.
A choice that scores lower stays the model's own, so a graph that chooses wrongly still differs. Of tokens that are hashed
some millions of times, as in a long input of a Reformer, a few are always ties: one such token moves the borders of
chunks, and so what many others see. Two alternatives were weighed: other tokens for such a cell (in a long input there is
always a tie), and a tolerance for a share of the tokens, which would hide as large a share of mistakes.
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

TIE = 3e-5  # of the scores' mean size; in ten layers library and graph were seen to differ by 2e-6 of the best one


def choices(model: onnx.ModelProto) -> list[str]:
    """The choices of a graph that predicts, in the order of its layers."""
    return [node.output[0] for node in model.graph.node if node.op_type == "ArgMax"]


def with_choices(path: Path, count: int) -> Path:
    """A graph beside the one at `path` whose further outputs are its first `count` choices."""
    model = onnx.load(str(path), load_external_data=False)
    for name in choices(model)[:count]:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    beside = path.with_name(f"choices_{path.name}")
    beside.write_bytes(model.SerializeToString())
    return beside


class Choices(TorchFunctionMode):
    """Inside, `torch.argmax` gives the next of `repeated` for each row where that is a tie. `broken` counts the rows where it
    differs from the model's own, `closest` is how much lower any row's second best scores, of the scores' mean size.
    """

    def __init__(self, repeated: Sequence[npt.NDArray[Any]] = ()) -> None:
        super().__init__()
        self.repeated = iter(repeated)
        self.broken, self.closest = 0, math.inf

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        own = function(*args, **(kwargs or {}))
        if function is not torch.argmax:
            return own
        scores, given = args[0], next(self.repeated, None)
        size = scores.abs().mean().clamp_min(1e-30)  # a row of two buckets has none of its own: it scores x and -x
        best, second = scores.topk(2, dim=-1).values.unbind(-1)
        self.closest = min(self.closest, float((best - second).min() / size))
        if given is None:
            return own
        theirs = torch.from_numpy(given).reshape(own.shape)  # a library may join axes that the graph keeps apart
        tied = best - scores.gather(-1, theirs.unsqueeze(-1)).squeeze(-1) <= TIE * size
        chosen = torch.where(tied, theirs, own)
        self.broken += int((chosen != own).sum())
        return chosen
