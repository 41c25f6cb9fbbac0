"""A trace without an end is stopped with the line of the model, and the next trace works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf.errors import ExportError
from edgexf_exporters.trace import deadline
from edgexf_exporters.trace.export import capture


class Branching(nn.Module):
    """Pads where a size is no multiple, as image models do: each branch is a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = layer(values)
            if values.shape[1] % 3 != 0:
                values = torch.cat((values, values[:, :1]), dim=1)
        return values


def captured() -> object:
    return capture(Branching(), (torch.ones(2, 10, 4),), ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},))


def test_the_line_at_which_the_time_ran_out_is_named() -> None:
    model = Branching()
    limit = deadline.Deadline(model)

    def run_out(*_: object) -> None:
        limit.end = 0.0

    model.layers[0].register_forward_hook(run_out)
    with limit.checked(), pytest.raises(ExportError) as found:
        model(torch.ones(2, 10, 4))
    assert "at test_deadline.py" in str(found.value)
    assert "`values = layer(values)` in layers.1 (Linear)" in str(found.value)
    assert "fix an axis with dynamic_shapes" in str(found.value)


def test_a_stopped_trace_leaves_no_mark_on_the_next_one_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setattr(deadline, "SECONDS", 0)
        assert isinstance(thread.submit(captured).exception(), ExportError)
        patch.setattr(deadline, "SECONDS", 600)
        thread.submit(captured).result()
    captured()
    assert torch.is_grad_enabled()


def test_the_hooks_of_a_deadline_are_gone_behind_it() -> None:
    model = Branching()
    with deadline.Deadline(model).checked():
        assert all(part._forward_pre_hooks for part in model.modules())
    assert not any(part._forward_pre_hooks for part in model.modules())
