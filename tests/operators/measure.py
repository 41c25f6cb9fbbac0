"""Runs an operator through edgexf's translation, and measures its answers against PyTorch in float64.

In: a function of tensors, and its inputs. Out: the worst error of the graph, and that of PyTorch in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.trace.export import capture, translate

Does = Callable[..., Any]
OPSET = 20
MOST = 6
ALLOWED = 1e-5  # of an entry; the kernels of onnxruntime and of torch err by some units of float32, 6e-8 each
SMALLEST = 1.2e-38  # the least normal number of float32: below it, processors may answer zero


@dataclass(frozen=True)
class Row:
    """An operator and its inputs.

    Attributes:
        does: the function of the inputs.
        inputs: tensors, of float32 where they are floats.
        free: whether the first axis of the inputs has a free size.
        scale: an error counts relative to the largest entry of its row, not to the entry: for sums of products.
    """

    does: Does
    inputs: tuple[Tensor, ...]
    free: bool = True
    scale: bool = False


@dataclass(frozen=True)
class Errors:
    """Relative errors against float64; infinite where a NaN, an infinity or an integer differs.

    Attributes:
        graph: the error of the graph at the entry where it exceeds what is allowed most, or is largest.
        torch: the error of PyTorch in float32 at this entry.
        exact: whether each entry of the graph errs by at most 1e-5, or twice as much as PyTorch at the same entry, or is
            within 1e-5 of what PyTorch answers.
    """

    graph: float
    torch: float
    exact: bool


def module(does: Does, count: int) -> nn.Module:
    """A module whose `forward` has `count` named arguments."""
    names = ", ".join(f"x{place}" for place in range(count))
    space: dict[str, Any] = {"does": does}
    exec(f"def forward(self, {names}):\n    return does({names})", space)  # noqa: S102 (torch.export names inputs by arguments)
    return type("Operator", (nn.Module,), {"forward": space["forward"]})().eval()


def in_graph(row: Row) -> list[Tensor]:
    """The answers of the translated operator in onnxruntime."""
    count = len(row.inputs)
    names = [f"x{place}" for place in range(count)]
    axes = [{0: Dim.DYNAMIC} if row.free and tensor.ndim and tensor.shape[0] > 1 else {} for tensor in row.inputs]
    program = capture(module(row.does, count), row.inputs, axes)
    outputs = [f"y{place}" for place in range(len(flat(row.does(*row.inputs))))]
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    model = translate(program, names, outputs, OPSET)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = dict(zip((one.name for one in session.get_inputs()), (one.numpy() for one in row.inputs), strict=True))
    return [torch.from_numpy(answer) for answer in session.run(None, given)]


def content(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes()


def together(rows: dict[str, Row]) -> list[dict[str, Row]]:
    """The rows by their inputs, at most `MOST` in a group: a graph holds a group, which saves half of the time."""
    groups: dict[Any, dict[str, Row]] = {}
    for name, row in rows.items():
        groups.setdefault((*map(content, row.inputs), row.free), {})[name] = row
    return [
        dict(list(group.items())[start : start + MOST])
        for group in groups.values()
        for start in range(0, len(group), MOST)
    ]


def flat(answer: Any) -> list[Tensor]:
    return [answer] if isinstance(answer, Tensor) else [one for part in answer for one in flat(part)]


def measured(row: Row) -> Errors:
    """The worst errors of the graph, over all answers."""
    return measured_together({"row": row})["row"]


def measured_together(group: dict[str, Row]) -> dict[str, Errors]:
    """The worst errors of each row of a group, whose rows have the same inputs."""
    functions = [row.does for row in group.values()]
    first = next(iter(group.values()))
    found = iter(in_graph(Row(lambda *given: [does(*given) for does in functions], first.inputs, first.free)))
    wide = tuple(one.double() if one.is_floating_point() else one for one in first.inputs)
    errors_by_name = {}
    for name, row in group.items():
        own, exact = flat(row.does(*row.inputs)), flat(row.does(*wide))
        parts = [compared(next(found), *pair, row.scale) for pair in zip(own, exact, strict=True)]
        errors_by_name[name] = max(parts, key=lambda part: (not part.exact, part.graph))
    return errors_by_name


def compared(answer: Tensor, plain: Tensor, wanted: Tensor, scale: bool = False) -> Errors:
    """The errors of `answer`, where `plain` is what PyTorch answers and `wanted` what it answers in float64."""
    if answer.shape != plain.shape or answer.dtype != plain.dtype:
        raise AssertionError(f"{answer.dtype} {tuple(answer.shape)}, not {plain.dtype} {tuple(plain.shape)}")
    if not answer.is_floating_point():
        same = torch.equal(answer, plain)
        return Errors(0.0 if same else math.inf, 0.0, same)
    of_graph, of_torch = errors(answer, plain, wanted, scale).flatten(), errors(plain, plain, wanted, scale).flatten()
    near = errors(answer, plain, plain.double(), scale).flatten() <= ALLOWED
    good = near | (of_graph <= (2 * of_torch).clamp(min=ALLOWED))
    if good.numel() == 0:
        return Errors(0.0, 0.0, True)
    place = int(torch.where(good, of_graph.clamp(max=1e300) * 1e-300, of_graph.clamp(min=1)).argmax())
    return Errors(float(of_graph[place]), float(of_torch[place]), bool(good.all()))


def errors(answer: Tensor, plain: Tensor, wanted: Tensor, scale: bool) -> Tensor:
    """The relative error of each entry against `wanted`. Where `plain` is no finite number, `answer` must be the same."""
    answer, plain = answer.double(), plain.double()
    finite = plain.isfinite() & wanted.isfinite()
    same = (answer == plain) | (answer.isnan() & plain.isnan())
    size = wanted.abs().where(finite, 0.0)
    if scale and size.ndim:
        size = size.amax(-1, keepdim=True).expand_as(size)
    away = ((answer - wanted).abs() - SMALLEST).clamp(min=0) / size.clamp(min=SMALLEST)
    away = torch.where(answer.isfinite(), away, math.inf)
    return torch.where(finite, away, torch.where(same, 0.0, math.inf))
