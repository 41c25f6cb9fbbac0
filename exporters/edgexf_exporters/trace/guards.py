"""Where a trace holds: the conditions on sizes under which torch.export took its path through ``forward``.

In: a captured program and the axes of its inputs. Out: the sizes that the contract allows, but that a condition
excludes.

    if length % 10 == 0: ...        traced at 96        ->  10, 20, 30, ... are not covered

torch.export keeps these conditions beside the graph and checks them in Python. Nothing in ONNX checks them. Most
conditions that fail only say that a size is 1, or that two axes have the same size, and the graph answers such sizes
correctly. So sizes that are not covered are compared with the model, not refused. Two alternatives were weighed: the
ranges of symbols alone, which know no remainders, and a grid of every length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from types import CodeType
from typing import Any

import torch
from torch.export import ExportedProgram

from edgexf.bundle.formula import size_of
from edgexf.bundle.manifest import Tensor
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError, said_by

FEWEST = 64  # the number of sizes of the axis of samples to try, and the bound of a common size of two axes
LAYOUT = "max(1,"
FARTHEST = 1 << 31  # no axis is longer
# What a condition may name. torch.sym_float, torch.sym_not and the like also take plain numbers.
KNOWN: dict[str, Any] = {"max": max, "min": min, "abs": abs, "int": int, "float": float, "math": math, "torch": torch}
Sizes = dict[str, int]


class Sized:
    """Answers what a condition asks of an input, from the shape of the input."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def size(self) -> tuple[int, ...]:
        return self.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(math.prod(self.shape[place + 1 :]) for place in range(len(self.shape)))

    def storage_offset(self) -> int:
        return 0


def conditions(captured: ExportedProgram) -> list[CodeType]:
    """The compiled conditions of a captured program, over ``L['inputs']``.

    Conditions on how a tensor lies in memory are left out. They contain ``max(1, size)``.
    """
    texts = [text for text in getattr(captured, "_guards_code", ()) if LAYOUT not in text]
    return [compile(text, text, "eval") for text in (*texts, *ends(captured))]


def ends(captured: ExportedProgram) -> Iterator[str]:
    """Yields a condition for each axis that a trace bounds, for example by a slice of a table with so many rows."""
    nodes = {node.name: node for node in captured.graph.find_nodes(op="placeholder")}
    for place, name in enumerate(captured.graph_signature.user_inputs):
        for axis, size in enumerate(nodes[str(name)].meta["val"].shape):
            known = captured.range_constraints.get(size.node.expr) if isinstance(size, torch.SymInt) else None
            if known is not None and known.upper < FARTHEST:
                yield f"L['inputs'][{place}].size()[{axis}] <= {int(known.upper)}"


def answer(guard: CodeType, inputs: Sequence[Sized]) -> bool:
    """Whether a condition holds. Raises ExportError for a condition that can't be read."""
    try:
        return bool(eval(guard, {"__builtins__": KNOWN, "L": {"inputs": inputs}}))  # noqa: S307 (torch wrote it)
    except (
        ArithmeticError,
        ValueError,
    ):  # such as a division by a size of 0: the condition says nothing about this size
        return False
    except (NameError, AttributeError, TypeError) as error:
        raise ExportError(
            f"a condition of the trace must be readable, got `{guard.co_filename}` ({said_by(error)}); "
            "compute this size in another way, or fix the axis with dynamic_shapes."
        ) from error


def uncovered(
    guards: Sequence[CodeType], tensors: Sequence[Tensor], axes: Sequence[Axis], samples: str, usual: Mapping[str, int]
) -> Iterator[Sizes]:
    """Yields sizes of all axes at which a condition fails.

    It tries the sizes of each axis alone, and one common size of each pair of axes. The other axes have their `usual`
    sizes.
    """

    def holds(sizes: Sizes) -> bool:
        inputs = [Sized([size_of(axis, sizes) for axis in tensor.shape]) for tensor in tensors]
        return all(answer(guard, inputs) for guard in guards)

    for axis in axes:
        first = -(-axis.least // axis.step) * axis.step
        last = min(axis.most, first + FEWEST) if axis.name == samples else axis.most
        for size in range(first, last + 1, axis.step):
            if not holds({**usual, axis.name: size}):
                yield {**usual, axis.name: size}
    for one, two in combinations(axes, 2):
        alike = [
            {**usual, one.name: size, two.name: size}
            for size in range(2, FEWEST)
            if one.allows(size) and two.allows(size)
        ]
        yield from (sizes for sizes in alike[:1] if not holds(sizes))
