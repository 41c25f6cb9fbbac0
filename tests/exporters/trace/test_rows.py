"""Rows by an index: the rows and their gradient in PyTorch and in ONNX, on one thread and on several."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.trace.export import capture, translate
from edgexf_exporters.trace.rows import of_readers, rows

aten = torch.ops.aten
READERS = 300  # of each row, so that threads would meet at a row
FLOAT32 = 2e-6  # sums of 300 numbers in float32, in any order, relative to the largest


def drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [2, count, 3], an index that holds each row `READERS` times, and the places at which it does."""
    chance = torch.Generator().manual_seed(count)
    index = torch.randperm(2 * count * READERS, generator=chance) % (2 * count)
    readers = index.argsort(stable=True).view(2, count, READERS)
    return torch.randn(2, count, 3, generator=chance), index, readers


def test_the_gradient_is_that_of_an_index() -> None:
    tokens, index, readers = drawn(4)
    leaf = tokens.double().requires_grad_(True)
    found, wanted = rows(leaf, index, readers), leaf.flatten(0, 1)[index]
    assert (found == wanted).all()
    gradient = torch.randn(wanted.shape, dtype=torch.float64)
    one, two = (torch.autograd.grad(answer, leaf, gradient)[0] for answer in (found, wanted))
    assert torch.allclose(one, two, rtol=1e-12)


def test_a_place_without_readers_passes_no_gradient() -> None:
    tokens = torch.randn(3, 2, requires_grad=True)
    found = rows(tokens, torch.tensor([2, 0, 2]), torch.tensor([[1], [3], [0]]))  # 3 is no place, 2 is left out
    (gradient,) = torch.autograd.grad(found.sum(), tokens)
    assert gradient.tolist() == [[1, 1], [0, 0], [1, 1]]


class Sums(nn.Module):
    """The gradient of an index, as a graph that explains holds it: by `rows`, or by operators of PyTorch."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.by = by

    def forward(self, tokens: Tensor, index: Tensor, readers: Tensor, given: Tensor) -> Tensor:
        flat = torch.zeros_like(tokens).flatten(0, 1)
        if self.by == "rows":
            return of_readers(given, readers)
        if self.by == "index_add":
            return flat.T.index_add(-1, index, given.T, alpha=2).T / 2
        put = aten._unsafe_index_put if self.by == "_unsafe_index_put" else aten.index_put
        found: Tensor = put(flat, [index], given, True)
        return found


class Forward(nn.Module):
    def forward(self, tokens: Tensor, index: Tensor, readers: Tensor) -> Tensor:
        found: Tensor = rows(tokens, index.view(2, -1), readers)
        return found


def test_the_graph_picks_the_rows_and_reads_no_readers() -> None:
    free: list[Any] = [{1: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {1: Dim.DYNAMIC}]
    graph = translate(capture(Forward(), drawn(16), free), ("tokens", "index", "readers"), ("rows",), 20)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    tokens, index, readers = drawn(5)
    given = {"tokens": tokens.numpy(), "index": index.numpy(), "readers": readers.numpy() * 0}
    (found,) = session.run(None, {value.name: given[value.name] for value in session.get_inputs()})
    assert (found == tokens.flatten(0, 1)[index].view(2, -1, 3).numpy()).all()


@pytest.mark.parametrize("by", ["rows", "index_put", "_unsafe_index_put", "index_add"])
def test_no_summand_is_lost_on_several_threads(by: str) -> None:
    """ScatterND of ONNX Runtime, torch's translation of both additions, loses some of them on two threads."""
    given = [*drawn(16), torch.randn(2 * 16 * READERS, 3)]
    free: list[Any] = [{1: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {1: Dim.DYNAMIC}, {0: Dim.DYNAMIC}]
    program = capture(Sums(by), tuple(given), free)
    names = [node.name for node in program.graph.nodes if node.op == "placeholder"]
    graph = translate(program, names, ("sums",), 20)
    assert "ScatterND" not in {node.op_type for node in graph.graph.node}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kept = {value.name for value in session.get_inputs()}
    tokens, index, readers = drawn(64)
    summands = torch.randn(len(index), 3, generator=torch.Generator().manual_seed(1))
    values = dict(zip(names, (tokens, index, readers, summands), strict=True))
    wanted = np.zeros((128, 3))
    np.add.at(wanted, index.numpy(), summands.double().numpy())
    for _ in range(5):
        (found,) = session.run(None, {name: values[name].numpy() for name in kept})
        assert np.abs(found.reshape(128, 3) - wanted).max() <= FLOAT32 * np.abs(wanted).max()
