"""The explained value of an embedding: its gradient at the input, and along a path that ends there."""

from __future__ import annotations

import torch
from torch import Tensor

from edgexf import names
from edgexf.bundle.manifest import Tensor as Declared
from edgexf_exporters.sources.sentences.layers import Normalize
from edgexf_exporters.targets import Target, target_of

STEPS = 400
TOLERANCE = 1e-4  # of the midpoint rule with 400 steps for a value around 1, whose error falls with their square
INPUT, BASELINE = torch.tensor([[3.0, -1.0, 2.0]]), torch.tensor([[0.5, 2.0, 1.0]])


def target() -> Target:
    hidden = Declared(names.LAST_HIDDEN_STATE, "float32", (names.BATCH, names.SEQUENCE, 3))
    found = target_of([hidden, Declared(names.SENTENCE_EMBEDDING, "float32", (names.BATCH, 3))], names.BATCH)
    assert found is not None
    return found


def value(vector: Tensor, resolved: list[Tensor]) -> Tensor:
    return target().value((vector, Normalize(constant=True)(vector)), resolved, None)


def resolved_for(asked: Tensor) -> list[Tensor]:
    return target().resolved((INPUT, Normalize(constant=True)(INPUT)), [asked], None)


def along_the_path(resolved: list[Tensor]) -> float:
    """The sum of relevance by integrated gradients, from `BASELINE` to `INPUT`."""
    place = ((torch.arange(STEPS) + 0.5) / STEPS)[:, None]
    points = (BASELINE + place * (INPUT - BASELINE)).requires_grad_(True)
    (slope,) = torch.autograd.grad(value(points, resolved).sum(), points)
    return float((slope.mean(dim=0) * (INPUT - BASELINE)).sum())


def test_relevance_along_a_path_adds_up_also_where_an_input_is_compared_with_itself() -> None:
    for asked in (torch.zeros(1, 3), torch.tensor([[1.0, 1.0, -2.0]])):
        resolved = target().on_path(resolved_for(asked))
        change = float(value(INPUT, resolved) - value(BASELINE, resolved))
        assert abs(along_the_path(resolved) - change) <= TOLERANCE


def test_at_the_input_the_length_of_an_embedding_compared_with_itself_is_a_constant() -> None:
    vector = INPUT.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(vector, resolved_for(torch.zeros(1, 3))).sum(), vector)
    assert torch.allclose(slope, INPUT / INPUT.square().sum())  # d(x . u / |x|)/dx with |x| fixed, u = x / |x|


def test_the_gradient_towards_another_vector_is_that_of_a_cosine() -> None:
    other, vector = torch.tensor([[1.0, 1.0, -2.0]]), INPUT.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(vector, resolved_for(other)).sum(), vector)
    (wanted,) = torch.autograd.grad(torch.nn.functional.cosine_similarity(vector, other).sum(), vector)
    assert torch.allclose(slope, wanted, atol=1e-6)
