"""A softmax of scores of which many are hidden: weights, normaliser and gradients, in PyTorch and in ONNX."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.explain.rules import Rules, constant_softmax_rules
from edgexf_exporters.trace.attention_weights import LOWEST, attention_weights, reverse
from edgexf_exporters.trace.export import capture, translate

HIDDEN = (-1e4, -1e9, -1e30)
FLOAT32 = 1e-6  # sums of 200 weights in float32, relative to the largest


def scores(hidden: float, keys: int = 200) -> Tensor:
    """Scores [2, 3, keys], nine in ten hidden; one row sees a single key, one sees hidden keys alone."""
    chance = torch.Generator().manual_seed(keys)
    found = torch.randn(2, 3, keys, generator=chance) * 8
    kept = torch.rand(found.shape, generator=chance) < 0.1
    kept[0, 1], kept[1, 2] = torch.arange(keys) == 5, False
    return found + torch.where(kept, 0.0, hidden)


class Both(nn.Module):
    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        weights, normaliser = attention_weights(given)
        return weights, normaliser


def session_of() -> ort.InferenceSession:
    program = capture(Both(), (scores(-1e9),), ({0: Dim("batch", max=64), 2: Dim("keys", max=4096)},))
    graph = translate(program, ("scores",), ("weights", "normaliser"), 20)
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_graph_answers_as_softmax_and_logsumexp(hidden: float) -> None:
    session = session_of()
    for keys in (6, 200, 333):
        given = scores(hidden, keys)
        weights, normaliser = session.run(None, {"scores": given.numpy()})
        assert np.abs(weights - given.double().softmax(-1).numpy()).max() <= FLOAT32
        wanted = given.double().logsumexp(-1, keepdim=True).numpy()
        assert (np.abs(normaliser - wanted) <= FLOAT32 * np.maximum(np.abs(wanted), 1)).all()


def test_a_hidden_score_above_all_visible_scores_stays_hidden() -> None:
    given = torch.tensor([1.0, 2.0, 500.0 - 1e9]).repeat(1, 3, 1)
    weights, _ = session_of().run(None, {"scores": given.numpy()})
    assert np.abs(weights - given.softmax(-1).numpy()).max() <= FLOAT32


def test_no_weight_of_the_graph_is_a_number_that_kernels_are_slow_with() -> None:
    """Products of float32 below 1.2e-38 take many times as long."""
    weights, _ = session_of().run(None, {"scores": scores(-90.0).numpy()})
    assert weights.min() >= np.exp(-LOWEST) / 200 * 0.99


@pytest.mark.parametrize("read", [(True, True), (True, False), (False, True)])
def test_gradients_are_those_of_softmax_and_logsumexp(read: tuple[bool, bool]) -> None:
    leaf = scores(-1e4).double().requires_grad_(True)  # torch's own slope loses digits of larger normalisers
    slopes = [torch.randn(part.shape, dtype=torch.float64) for part in attention_weights(leaf.detach())]
    answers = []
    for weights, normaliser in (attention_weights(leaf), (leaf.softmax(-1), leaf.logsumexp(-1, keepdim=True))):
        parts = [
            (part * slope).sum()
            for part, slope, wanted in zip((weights, normaliser), slopes, read, strict=True)
            if wanted
        ]
        answers.append(torch.autograd.grad(sum(parts, torch.zeros(())), leaf)[0])
    assert torch.allclose(*answers, rtol=1e-9, atol=1e-12)


def test_no_gradient_comes_of_none() -> None:
    class Context:
        saved_tensors = (torch.ones(1, 1),)

    assert reverse(Context(), None, None) is None


def test_relevance_passes_by_the_gradient_and_not_through_a_constant_softmax() -> None:
    for rules, passes in ((Rules(), True), (constant_softmax_rules(), False)):
        leaf = scores(-1e9).requires_grad_(True)
        with rules:
            weights, normaliser = torch.ops.edgexf.attention_weights(leaf)
        assert weights.requires_grad == normaliser.requires_grad == passes
