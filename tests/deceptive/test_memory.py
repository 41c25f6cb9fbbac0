"""Modules that remember calls. A graph has no memory: a module is refused if a fresh one answers otherwise than a used one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from modules import Between, exports, ids
from torch import Tensor, nn

from edgexf.errors import ExportError
from edgexf_exporters.sources.modules.memory import fresh_copy, same

pytestmark = pytest.mark.slow


class Longest(Between):
    """Scales by the longest input so far, as rotary tables with a dynamic base do."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 1

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        self.longest = max(self.longest, int(ids.shape[1]))
        return hidden * (1 + 1 / self.longest)


class Stretched(nn.Module):
    """A table that spans the longest input so far."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.empty(0)

    def forward(self, hidden: Tensor) -> Tensor:
        length = hidden.shape[1]
        if length > len(self.table):
            self.table = torch.linspace(0, 1, length)
        return hidden + self.table[:length, None]


class Inside(Between):
    """Holds a part that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), Stretched()])

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        return self.layers[1](hidden)


class BuiltOnce(Between):
    """Registers a buffer at the first use, over the first length, and never again."""

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if not hasattr(self, "places"):
            self.register_buffer("places", torch.linspace(0, 1, ids.shape[1]))
        return hidden + self.places[: ids.shape[1], None]


class Notes(Between):
    """Notes each longer input in a list inside a dictionary, and answers by how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, list[int]] = {"lengths": [0]}

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        length = int(ids.shape[1])
        if length > self.notes["lengths"][-1]:
            self.notes["lengths"].append(length)
        return hidden * len(self.notes["lengths"])


class Tired(Between):
    """Answers otherwise from the tenth call on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        self.calls += 1
        return hidden if self.calls < 10 else hidden * 2


class Turned(Between):
    """A short input turns it for good, as it turns a BigBird to full attention. The example is short itself."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = False

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        self.whole = self.whole or ids.shape[1] <= 8
        return hidden * (2 if self.whole else 1)


REMEMBERING = {
    Longest: "longest",
    Inside: "layers.1.table",
    BuiltOnce: "places",
    Notes: "notes",
    Tired: "calls",
    Turned: "whole",
}


@pytest.mark.parametrize("kind", REMEMBERING)
def test_a_module_that_remembers_is_refused_by_the_name_of_what_changed(kind: type[nn.Module], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=rf"same whatever it answered before.* changed {REMEMBERING[kind]};"):
        exports(kind().eval(), (ids(2, 6),), tmp_path, max_length=20)


SEEN: list[int] = []


class Outside(Between):
    """Remembers outside itself."""

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        SEEN.append(int(ids.shape[1]))
        return hidden * (1 + 1 / max(SEEN))


def test_memory_outside_the_module_is_found_by_its_first_answer(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="changed what no attribute of it shows"):
        exports(Outside().eval(), (ids(2, 6),), tmp_path, max_length=20)


class Rotary(Between):
    """A table of cosines that grows, and whose entries stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cosines", torch.ones(1), persistent=False)

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if ids.shape[1] > self.cosines.shape[0]:
            self.cosines = torch.arange(ids.shape[1]).mul(0.1).cos()
        return hidden * self.cosines[: ids.shape[1], None]


class Counts(Between):
    """Counts calls, and answers as before. Holds a lock, which nothing can copy."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.lock, self.seen = 0, threading.Lock(), []

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        with self.lock:
            self.calls += 1
            self.seen = [*self.seen[-3:], self.calls]
        return hidden


@pytest.mark.parametrize("kind", [Rotary, Counts])
def test_memory_that_changes_no_answer_passes(kind: type[nn.Module], tmp_path: Path) -> None:
    exports(kind().eval(), (ids(2, 6),), tmp_path, max_length=20)


class Locked(Longest):
    """Remembers, and holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_module_that_holds_what_nothing_can_copy_is_looked_at_too(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="changed longest;"):
        exports(Locked().eval(), (ids(2, 6),), tmp_path, max_length=20)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_copy_holds_no_weight_twice_and_its_buffers_are_its_own() -> None:
    """The module holds a tensor with a history, which torch doesn't copy."""
    module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3))
    copied = fresh_copy(module)
    assert [id(one) for one in copied.parameters()] == [id(one) for one in module.parameters()]
    assert not {one.data_ptr() for one in copied.buffers()} & {one.data_ptr() for one in module.buffers()}


def test_tensors_without_numbers_are_compared_by_what_they_are() -> None:
    """A model may keep a buffer on torch's device "meta" that no call reads, such as CSM's."""
    one, two = (torch.ones(2, device="meta") for _ in range(2))
    assert same(one, two, set())
    assert not same(one, torch.ones(3, device="meta"), set())
    assert not same(one, torch.ones(2), set())
