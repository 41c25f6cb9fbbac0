"""Modules that look at the class of a value. A trace has classes of its own; the graph answers as PyTorch does."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from modules import Between, exports, ids
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from edgexf.errors import ExportError
from edgexf_exporters.trace.eager.python_builtins import is_instance

pytestmark = pytest.mark.slow


class WholeSize(Between):
    """Scales where a size is a number, which it always is in PyTorch."""

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        return hidden * 2 if isinstance(ids.shape[1], int) else hidden


class Pair(Between):
    """Takes a size or a pair of sizes, as code of images does."""

    def pair(self, size: int | tuple[int, int]) -> tuple[int, int]:
        return (size, size) if isinstance(size, int) else size

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        return hidden.new_ones(self.pair(ids.shape[1])) @ hidden


class NoFake(Between):
    """Knows the tensors of a trace."""

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        return hidden * 2 if isinstance(hidden, FakeTensor) else hidden


class OfType(Between):
    """Looks at the types of a size, of a tensor and of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        made = isinstance(type("Made", (), {}), type)
        plain = type(ids.shape[1]) is int and type(hidden) is Tensor and type(self.scale) is nn.Parameter
        return hidden * 2 * self.scale if made and plain else hidden


class OfSharedType(Between):
    """Looks at the type of a module that it holds twice, for which torch traces a stand-in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Identity()
        self.second = self.first

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        return self.first(hidden * 2) if type(self.first) is nn.Identity else self.second(hidden)


HELPER = """
import inner

def is_whole(size):
    return inner.is_number(size)
"""
INNER = """
def is_number(size):
    return isinstance(size, int) and type(size) is int
"""


def test_a_branch_on_a_class_in_a_file_without_modules_goes_as_in_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "inner.py").write_text(INNER)
    monkeypatch.syspath_prepend(tmp_path)
    helper = importlib.import_module("helper")

    class Helped(Between):
        def __init__(self) -> None:
            super().__init__()
            self.is_whole = helper.is_whole

        def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
            return hidden * 2 if self.is_whole(ids.shape[1]) else hidden

    exports(Helped().eval(), (ids(2, 6),), tmp_path, max_length=20)


@pytest.mark.parametrize("kind", [WholeSize, Pair, NoFake, OfType, OfSharedType])
def test_a_branch_on_a_class_goes_as_in_pytorch(kind: type[nn.Module], tmp_path: Path) -> None:
    exports(kind().eval(), (ids(2, 6),), tmp_path, max_length=20)


class ShortWithoutATrace(Between):
    """Has a way of its own for a single id, which it hides from a trace by the class of its input."""

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if not isinstance(ids, FakeTensor) and bool((ids == ids[:1, :1]).all()):
            return hidden * 2
        return hidden


def test_a_shortcut_that_is_hidden_from_a_trace_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"test_trace_classes.py:\d+ `if not isinstance\(ids, FakeTensor\)"):
        exports(ShortWithoutATrace().eval(), (ids(2, 6),), tmp_path, max_length=20)


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (torch.ones(2), Tensor),
        (torch.ones(2), (int, (float, Tensor))),
        (torch.ones(2), int | Tensor | None),
        (nn.Parameter(torch.ones(2)), nn.Parameter),
        (torch.ones(2), nn.Parameter),
        (torch.ones(2), ()),
        (True, int),
        (None, int | None),
        (np.ones(2), (list, np.ndarray)),
    ],
)
def test_other_values_have_their_class(value: object, kinds: type) -> None:
    assert is_instance(value, kinds) is isinstance(value, kinds)
