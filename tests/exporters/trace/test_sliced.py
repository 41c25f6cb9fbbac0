"""Attention by slices of the queries: the answers and gradients of one product, in PyTorch and in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf.passes.operations import Products
from edgexf.products import ROWS
from edgexf_exporters.explain import rules
from edgexf_exporters.trace.export import capture, translate
from edgexf_exporters.trace.sliced import sliced, sliced_reverse

ROUNDING = 1e-12  # float64 sums in another order, relative to the largest
FLOAT32 = 2e-6  # the same in float32, of up to 600 terms
LENGTHS = (1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 600)


def drawn(length: int, dtype: Any = torch.float32) -> list[Tensor]:
    """A query, a key, a value and a gradient; queries and keys are as wide as with a column that hides keys."""
    chance = torch.Generator().manual_seed(length)
    return [torch.randn(2, 3, length, width, generator=chance).to(dtype) for width in (5, 5, 4, 4)]


def whole(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Vaswani et al. 2017, eq. 1, in one product."""
    scores = query @ key.transpose(-1, -2)
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1) > 0, -torch.inf)
    return scores.softmax(dim=-1) @ value


def differs(found: Any, wanted: Tensor) -> float:
    return float(np.abs(np.asarray(found) - wanted.detach().numpy()).max() / wanted.abs().max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_slices_answer_and_differentiate_as_one_product(length: int, masked: bool, causal: bool) -> None:
    *given, gradient = drawn(length, torch.float64)
    leaves = [tensor.requires_grad_(True) for tensor in given]
    found, wanted = sliced(*leaves, causal, masked), whole(*leaves, causal)
    assert differs(found.detach(), wanted) <= ROUNDING
    slopes = [torch.autograd.grad(answer, leaves, gradient, retain_graph=True) for answer in (found, wanted)]
    if masked:  # the last column is the mask's, and takes no gradient
        slopes[1][0][..., -1], slopes[1][1][..., -1] = 0, 0
    for one, two in zip(*slopes, strict=True):
        assert (one - two).abs().max() <= ROUNDING * max(float(two.abs().max()), 1.0)  # one key has no slope


class Both(nn.Module):
    """The answer and the gradients, as a graph that explains holds them."""

    def __init__(self, causal: bool, masked: bool = False) -> None:
        super().__init__()
        self.causal, self.masked = causal, masked

    def forward(self, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        mixed = sliced(query, key, value, self.causal, self.masked)
        return mixed, *sliced_reverse(gradient, query, key, value, mixed, self.causal, self.masked, True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_graph_answers_as_pytorch_at_lengths_never_traced(causal: bool, masked: bool) -> None:
    axes = {0: Dim("batch", max=64), 2: Dim("length", max=4096)}
    program = capture(Both(causal, masked), tuple(drawn(97)), [axes] * 4)
    names = ("query", "key", "value", "gradient")
    graph = translate(program, names, ("mixed", "by_query", "by_key", "by_value"), 20)
    assert {node.op_type for node in graph.graph.node} >= {"Scan"}
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for length in LENGTHS:
        given = drawn(length)
        found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)})
        leaves = [tensor.double().requires_grad_(True) for tensor in given[:3]]
        mixed = whole(*leaves, causal)
        wanted = [mixed, *torch.autograd.grad(mixed, leaves, given[3].double())]
        if masked:  # the last column is the mask's, and takes no gradient
            wanted[1][..., -1], wanted[2][..., -1] = 0, 0
        for one, two in zip(found, wanted, strict=True):
            assert np.abs(one - two.detach().numpy()).max() <= FLOAT32 * max(float(two.abs().max()), 1.0)


@pytest.mark.parametrize("make", [rules.Rules, rules.constant_softmax_rules])
@pytest.mark.parametrize("kind", ["all", "causal", "hidden", "added"])
def test_weights_that_are_computed_again_give_the_same_relevance(
    make: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The untouched model with all weights in memory, and with a slice of them; a query may see no key."""
    *given, gradient = drawn(70, torch.float64)
    leaves = [tensor.requires_grad_(True) for tensor in given]
    mask = torch.rand(2, 1, 70, 70, generator=torch.Generator().manual_seed(1)) > 0.5
    mask[:, :, 5] = False
    chosen: dict[str, Any] = {
        "all": {}, "causal": {"is_causal": True}, "hidden": {"attn_mask": mask},
        "added": {"attn_mask": torch.where(mask, 0.3, -torch.inf).double()},
    }[kind]  # fmt: skip
    found = []
    for most in (rules.LONG, 10):
        monkeypatch.setattr(rules, "LONG", most)
        monkeypatch.setattr("edgexf_exporters.explain.gradients.SLICE", 16)
        with make():
            answer = nn.functional.scaled_dot_product_attention(*leaves, **chosen)
        found.append([answer, *torch.autograd.grad(answer, leaves, gradient, allow_unused=True)])
    for one, two in zip(*found, strict=True):
        assert (one is None) == (two is None)
        assert one is None or (one - two).abs().max() <= ROUNDING * one.abs().max()


@pytest.mark.parametrize("length", [1, ROWS, ROWS + 1, 2 * ROWS + 1, 3 * ROWS - 1])
def test_slices_of_one_size_compute_hardly_more_than_the_queries(length: int) -> None:
    """One query more than a slice holds makes two slices of half the queries, not a second whole one."""
    axes = {0: Dim("batch", max=64), 2: Dim("length", max=4096)}
    graph = translate(
        capture(Both(False), tuple(drawn(97)), [axes] * 4), ("q", "k", "v", "g"), ("m", "a", "b", "c"), 20
    )
    products = Products(graph.SerializeToString())
    slices = -(-length // ROWS)
    (count,) = products.count(dict(zip(products.axes, (1, length), strict=True))).operations.values()
    per_row = (
        2 * 3 * length * (5 + 4 + 5 + (4 + 1) + 5 + 5 + 4)
    )  # both products, and the reverse ones with a row of sums
    assert count <= per_row * (length + slices - 1)
