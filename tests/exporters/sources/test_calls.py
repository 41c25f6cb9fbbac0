"""How a custom module is called: its weights in float32, its gradients kept, and nothing else changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgexf
from edgexf_exporters.hooks import vectors_of
from edgexf_exporters.sources.calls import in_float32, surrounding


class Rotary(nn.Module):
    """A module in half precision with a complex buffer, as rotary positions often are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).to(torch.bfloat16)
        self.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))


def test_weights_become_float32_and_complex_values_keep_their_imaginary_part() -> None:
    module = Rotary()
    copied = in_float32(module)
    assert copied.linear.weight.dtype == torch.float32
    assert torch.equal(copied.turns, module.turns)
    assert copied.turns.is_complex()
    assert module.linear.weight.dtype == torch.bfloat16, "the caller's module was changed"


def test_a_module_in_float32_is_not_copied() -> None:
    module = nn.Linear(2, 2)
    assert in_float32(module) is module


class Frozen(nn.Module):
    """A head over an encoder that is frozen by ``torch.no_grad``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.encode, self.classify = nn.Embedding(40, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.encode(self.embed(ids)).tanh().mean(1)
        answer: Tensor = self.classify(hidden)
        return answer


def test_gradients_pass_a_part_that_turns_them_off_and_are_afterwards_as_before() -> None:
    module = Frozen()
    ids = torch.arange(6)[None]
    with surrounding(module)(module):
        answer = module(ids).sum()
        answer.backward()
    assert module.encode.weight.grad is not None
    assert torch.is_grad_enabled()
    with torch.no_grad():
        with surrounding(module)(module), torch.enable_grad():
            assert module(ids).requires_grad
        assert not torch.is_grad_enabled()
    assert not module(ids).grad_fn.next_functions[1][0], "the module itself was changed"


@pytest.mark.slow
def test_a_frozen_encoder_is_explained(tmp_path: Path) -> None:
    ids = torch.randint(0, 40, (2, 9))
    edgexf.export(Frozen(), example_inputs=(ids,), output=tmp_path / "out", explain="attnlrp")
    with edgexf.load(tmp_path / "out") as session:
        found = session.run_explain(ids=ids.numpy(), target=np.eye(3, dtype=np.float32)[[1, 1]])
    assert np.ptp(found["relevance"][0]) > 0


@pytest.mark.parametrize("padding", [0, 3])
def test_vectors_that_are_read_again_are_the_same_leaf(padding: int) -> None:
    """A library pads its tokens, and a residual behind it reads them as they are."""
    reader, ids = nn.Embedding(40, 8), torch.randint(1, 40, (2, 9))
    padded = torch.nn.functional.pad(ids, (0, padding))
    for one, two in ((ids, padded), (padded, ids)):
        with vectors_of(reader) as leaves:
            (reader(one).sum() + 2 * reader(two).sum()).backward()
        assert len(leaves) == 1
        assert (leaves[0].grad[:, :9] == 3).all()


def test_other_tokens_are_a_leaf_of_their_own() -> None:
    reader, ids = nn.Embedding(40, 8), torch.randint(1, 40, (2, 9))
    for other in (ids.flip(0), ids[:, :1], torch.cat((ids, ids), dim=1)):
        with vectors_of(reader) as leaves:
            reader(ids), reader(other)
        assert len(leaves) == 2
