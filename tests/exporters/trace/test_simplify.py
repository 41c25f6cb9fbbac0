"""What becomes of constants in a translated graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.trace.export import capture, translate


class Constants(nn.Module):
    """A column that is repeated, and a weight that is a product of two, as of a merged adapter."""

    column: Tensor
    narrow: Tensor
    wide: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("column", torch.randn(64, 1))
        self.register_buffer("narrow", torch.randn(64, 2))
        self.register_buffer("wide", torch.randn(2, 64))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x @ (self.narrow @ self.wide) + x @ self.column.expand(-1, 64)
        return found


def test_products_of_constants_are_computed_and_copies_are_not() -> None:
    program = capture(Constants(), (torch.randn(3, 64),), ({0: Dim.DYNAMIC},))
    graph = translate(program, ("x",), ("y",), 20).graph
    assert sorted(node.op_type for node in graph.node) == ["Add", "Expand", "MatMul", "MatMul"]
    assert sorted(math.prod(tensor.dims) for tensor in graph.initializer)[-2:] == [64, 64 * 64]


class Twice(nn.Module):
    """Two equal tables, as of two layers, that are added to the same scores."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("one", "other"):
            self.register_buffer(name, torch.arange(64 * 208.0).reshape(64, 208))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = (x + self.one).sin() + (x + self.other).cos()  # type: ignore[operator]
        return found


def test_nodes_that_read_equal_tables_are_one() -> None:
    graph = translate(capture(Twice(), (torch.randn(3, 64, 208),), ({0: Dim.DYNAMIC},)), ("x",), ("y",), 20).graph
    assert sorted(node.op_type for node in graph.node) == ["Add", "Add", "Cos", "Sin"]
    assert [math.prod(tensor.dims) for tensor in graph.initializer] == [64 * 208]
