"""`len` of a tensor in the code of a user's modules, while a model is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf.errors import ExportError
from edgexf_exporters.trace.eager.python_builtins import eager_builtins
from edgexf_exporters.trace.export import capture


class Called(nn.Module):
    """Calls a function of this file."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


def plain(values: Tensor) -> Tensor:
    return values[torch.arange(len(values)), 0] * len(values)


def nested(values: Tensor) -> Tensor:
    def last() -> Tensor:
        return values[(lambda: len(values))() - 1]

    return torch.cat([last().unsqueeze(0), values[: len(values)]])


def of_other_things(values: Tensor) -> Tensor:
    sizes = [len(part) for part in (values.shape, [1, 2, 3], "four", values[0].detach())]
    return values.sum(dim=0) * max(["ab", "c"], key=len).count("b") + sizes[0] + sizes[1] + sizes[2] + sizes[3]


def looped(values: Tensor) -> Tensor:
    return torch.stack([values[row].sum() for row in range(len(values))])


def traced(function: Callable[[Tensor], Tensor]) -> Any:
    shapes = [{0: Dim.DYNAMIC, 1: Dim.STATIC}]
    return capture(Called(function), (torch.randn(3, 4),), shapes).module()


@pytest.mark.parametrize("function", [plain, nested, of_other_things])
def test_a_batch_that_len_reads_stays_free(function: Callable[[Tensor], Tensor]) -> None:
    program = traced(function)
    for batch in (2, 7):
        values = torch.randn(batch, 4)
        torch.testing.assert_close(program(values), function(values))


def test_a_loop_over_len_is_refused_at_its_line() -> None:
    with pytest.raises(ExportError, match=r"became the number 3.*range\(len\(values\)\)"):
        traced(looped)
    assert "len" not in globals()  # also after an error


def test_a_tensor_without_axes_has_no_len_as_in_python() -> None:
    with eager_builtins(Called(plain)), pytest.raises(TypeError, match="0-d"):
        len(torch.tensor(1.0))


def test_a_len_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(_: object) -> int:
        return 5

    monkeypatch.setitem(globals(), "len", own)
    with eager_builtins(Called(plain)):
        assert globals()["len"] is own
    assert globals()["len"] is own


def test_files_of_torch_keep_their_len() -> None:
    model = nn.Sequential(nn.LSTM(4, 4), Called(torch.relu), nn.ReLU())
    with eager_builtins(model):
        assert "len" in globals()
        assert not any("len" in vars(module) for module in (nn.modules.rnn, nn.modules.module, nn.modules.container))
    assert "len" not in globals()
