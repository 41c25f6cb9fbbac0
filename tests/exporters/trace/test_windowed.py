"""Attention of blocks: the answers and gradients of dense attention under a mask, in PyTorch and in ONNX, a block at a time or
all at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.lowerings.neighbours import Places
from edgexf_exporters.trace.attention_weights import LOWEST
from edgexf_exporters.trace.blocks import middle
from edgexf_exporters.trace.export import capture, translate
from edgexf_exporters.trace.windowed import windowed_reverse

WINDOW, HEADS, SHARED, HEAD_WIDTH, VALUE_WIDTH = 4, 3, 2, 5, 7
ROUNDING = 1e-12  # float64 sums in another order, relative to the largest
FLOAT32 = 2e-6  # the same in float32, of up to 100 terms
HIDDEN = -1e30


def drawn(length: int, dtype: Any = torch.float32) -> list[Tensor]:
    """Tokens' queries, keys and values [2, length, heads, width], shared keys and values, and a gradient."""
    chance = torch.Generator().manual_seed(length)
    sizes = [
        (length, HEAD_WIDTH),
        (length, HEAD_WIDTH),
        (length, VALUE_WIDTH),
        (SHARED, HEAD_WIDTH),
        (SHARED, VALUE_WIDTH),
    ]
    sizes.append((length, VALUE_WIDTH))
    return [torch.randn(2, tokens, HEADS, width, generator=chance).to(dtype) for tokens, width in sizes]


def dense(query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, first: int) -> Tensor:
    """Attention to the shared tokens and to tokens at most a window away, by a mask over all pairs; Vaswani et al. 2017, eq. 1.

    With `first` a token sees its own and the neighbouring blocks, and the first and the last block ask nothing.
    """
    query, key, value, shared_key, shared_value = (
        tokens.transpose(1, 2) for tokens in (query, key, value, shared_key, shared_value)
    )
    place = torch.arange(query.shape[2])
    near = (place - place.unsqueeze(1)).abs() <= WINDOW
    if first:
        near = (place // WINDOW - place.unsqueeze(1) // WINDOW).abs() <= 1
    sees = torch.cat((torch.ones(len(place), SHARED, dtype=torch.bool), near), dim=1)
    scores = query @ torch.cat((shared_key, key), dim=2).transpose(-1, -2)
    weights = scores.masked_fill(~sees, -torch.inf).softmax(dim=-1)
    mixed = (weights @ torch.cat((shared_value, value), dim=2)).transpose(1, 2)
    return mixed[:, first * WINDOW : mixed.shape[1] - first * WINDOW]


class Windowed(nn.Module):
    """Mixed values, and with a gradient also what a graph that explains computes of a block's queries, keys and values."""

    def __init__(self, stepwise: bool, first: int = 0, reverse: bool = False, of_scores: bool = True) -> None:
        super().__init__()
        self.stepwise, self.first, self.reverse, self.of_scores = stepwise, first, reverse, of_scores
        offset = torch.arange(3 * WINDOW) - WINDOW - torch.arange(WINDOW).unsqueeze(1)
        band = torch.where(offset.abs() <= WINDOW, 0.0, HIDDEN)
        self.register_buffer("band", nn.functional.pad(band, (SHARED, 0)))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, gradient: Tensor
    ) -> Any:
        length = query.shape[1]
        blocks = torch.arange(length).unflatten(0, (-1, WINDOW))
        if self.first:
            at = Places.of(middle(blocks), query.flatten(2), HEADS, SHARED, 1, length - 2 * WINDOW)
        else:
            at = Places.of(blocks, query.flatten(2), HEADS, SHARED)
        keys, values = at.with_shared(key, shared_key), at.with_shared(value, shared_value)
        outside = torch.where((at.near < 0) | (at.near >= length), HIDDEN, 0.0).to(query.dtype)
        hidden = nn.functional.pad(outside, (SHARED, 0)).expand(query.shape[0], -1, -1)[:, :, None, None]
        buffer: Any = self.band
        band = None if self.first else buffer.to(query.dtype)
        if not self.reverse:
            return at.attend(query, keys, values, hidden, band, self.stepwise)
        rows = query.flatten(0, -2)
        mixed = torch.ops.edgexf.windowed(
            rows, keys, values, at.queries, at.keys, hidden, band, at.asked, at.readers, SHARED, self.stepwise
        )
        given = gradient.flatten(0, -2)[at.queries]
        found = windowed_reverse(
            given, rows, keys, values, at.queries, at.keys, hidden, band, mixed, self.of_scores, self.stepwise
        )
        return mixed, *(found if self.of_scores else found[2:])


@pytest.mark.parametrize(("first", "length"), [(0, 4), (0, 8), (0, 28), (1, 12), (1, 16), (1, 28)])
def test_blocks_answer_and_differentiate_as_dense_attention(first: int, length: int) -> None:
    *given, gradient = drawn(length, torch.float64)
    leaves = [tensor.requires_grad_(True) for tensor in given]
    found, wanted = Windowed(False, first)(*leaves, gradient), dense(*leaves, first)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= ROUNDING * wanted.abs().max()
    gradient = gradient[:, first * WINDOW : length - first * WINDOW]
    slopes = [torch.autograd.grad(answer, leaves, gradient) for answer in (found, wanted)]
    for one, two in zip(*slopes, strict=True):
        assert (one - two).abs().max() <= ROUNDING * two.abs().max()


def test_two_blocks_have_none_between_them() -> None:
    length = 2 * WINDOW
    at = Places.of(middle(torch.arange(length).view(2, WINDOW)), torch.zeros(2, length, HEADS), HEADS, SHARED, 1, 0)
    assert at.queries.shape == (2, 1, HEADS, 1)
    assert at.back.numel() == 0
    assert not at.sources.any()  # a gradient by no answer is the row of zeros behind none
    assert Windowed(False, 1)(*drawn(length)).shape == (2, 0, HEADS, VALUE_WIDTH)


def test_keys_get_no_gradient_where_values_alone_are_asked_for() -> None:
    *given, gradient = drawn(5 * WINDOW, torch.float64)
    leaves = [tensor.requires_grad_(place in (2, 4)) for place, tensor in enumerate(given)]
    slopes = [
        torch.autograd.grad(answer, [leaves[2], leaves[4]], gradient)
        for answer in (Windowed(True)(*leaves, gradient), dense(*leaves, 0))
    ]
    for one, two in zip(*slopes, strict=True):
        assert (one - two).abs().max() <= ROUNDING * two.abs().max()


def graph_of(module: nn.Module, outputs: int) -> ModelProto:
    axes: list[Any] = [{0: Dim("batch", max=64), 1: WINDOW * Dim("blocks", max=1024)}] * 3 + [
        {0: Dim("batch", max=64)}
    ] * 2
    program = capture(module, tuple(drawn(7 * WINDOW)), [*axes, axes[0]])
    names = ("query", "key", "value", "shared_key", "shared_value", "gradient")
    return translate(program, names, tuple(f"output{place}" for place in range(outputs)), 20)


def answers(graph: ModelProto, given: list[Tensor]) -> Any:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = ("query", "key", "value", "shared_key", "shared_value", "gradient")
    feeds = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
    return session.run(None, {one.name: feeds[one.name] for one in session.get_inputs()})


@pytest.mark.parametrize("stepwise", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_the_graph_answers_as_dense_attention_at_lengths_never_traced(stepwise: bool, first: int) -> None:
    graph = graph_of(Windowed(stepwise, first), 1)
    assert any(node.op_type == "Scan" for node in graph.graph.node) == stepwise
    assert any(node.op_type == "Softmax" for node in graph.graph.node) == (
        not stepwise
    )  # never of all blocks in a loop
    for blocks in (2, 3, 5, 12) if first else (1, 2, 5, 12):
        given = drawn(blocks * WINDOW)
        (found,), wanted = answers(graph, given), dense(*given[:5], first)
        assert found.shape == wanted.shape
        assert wanted.numel() == 0 or np.abs(found - wanted.numpy()).max() <= FLOAT32 * wanted.abs().max()


@pytest.mark.parametrize("of_scores", [True, False])
@pytest.mark.parametrize("stepwise", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_the_gradients_of_a_graph_are_those_of_pytorch(first: int, stepwise: bool, of_scores: bool) -> None:
    module = Windowed(stepwise, first, reverse=True, of_scores=of_scores)
    graph = graph_of(module, 4 if of_scores else 2)
    (results,) = {len(node.output) for node in graph.graph.node if node.op_type == "Scan" and len(node.output) > 1} or {
        1
    }
    assert results == (3 if stepwise and of_scores else 1)
    for blocks in (2, 3, 9) if first else (1, 2, 9):
        given = drawn(blocks * WINDOW)
        wanted = module(*(tensor.double() for tensor in given))
        for one, two in zip(answers(graph, given), wanted, strict=True):
            assert np.abs(one - two.numpy()).max() <= FLOAT32 * two.abs().max()


def test_all_blocks_at_once_compute_their_weights_once_for_both_passes() -> None:
    graph = graph_of(Windowed(False, reverse=True), 4)
    assert sum(node.op_type == "Softmax" for node in graph.graph.node) == 1


@pytest.mark.parametrize("stepwise", [True, False])
def test_no_score_counts_as_further_below_the_largest_one_than_kernels_are_fast_at(stepwise: bool) -> None:
    """Scores that differ by hundreds lose nothing that float32 holds."""
    graph = graph_of(Windowed(stepwise), 1)
    (body,) = [node.attribute for node in graph.graph.node if node.op_type == "Scan"] or [[]]
    inside = [node for one in body for node in one.g.node] if stepwise else graph.graph.node
    assert [node.op_type for node in inside if node.op_type in ("Max", "Softmax")] == ["Max", "Softmax"]
    given = drawn(3 * WINDOW)
    given[0] *= 4 * LOWEST
    (found,), wanted = answers(graph, given), dense(*(one.double() for one in given[:5]), 0)
    assert np.abs(found - wanted.numpy()).max() <= 1e-4 * wanted.abs().max()  # scores of 1,000 round by 6e-5
