"""How a custom module is called: its weights in float32, and nothing else changed."""

from __future__ import annotations

import torch
from torch import nn

from edgexf_exporters.sources.calls import in_float32


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
