"""Custom modules whose graph is right for usual values only: repeated tokens, rare ids, small and large values, and small columns.

torch.export traces with tensors that have further attributes, so a module can tell. Each module answers otherwise then, at the values
of one kind alone, as a translation does that is not the operator's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from modules import VOCABULARY, ids
from torch import Tensor, nn

import edgexf
from edgexf.errors import VerificationError
from edgexf_exporters import hard_values
from edgexf_exporters.verify.differences import columns

MANY = 20_000


def traced(value: Tensor) -> bool:
    return hasattr(value, "fake_mode")


class SmallColumn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 8)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids).sum(1)
        small = hidden[:, :1] * (1.1e-6 if traced(hidden) else 1e-6)
        return torch.cat([hidden[:, 1:3], small], -1)


class RoundingAlone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 8)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids).mean(1)
        return torch.cat([hidden, hidden.softmax(-1).sum(-1, keepdim=True) - 1], -1)


def test_a_column_of_rounding_alone_has_no_scale(tmp_path: Path) -> None:
    edgexf.export(RoundingAlone().eval(), example_inputs=(ids(2, 16),), output=tmp_path / "out", explain=())


class RareRow(nn.Module):
    """Row 4321 of the table is a thousand times longer, and 20,000 ids are more than a grid draws."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(MANY, 8)
        with torch.no_grad():
            self.embed.weight[4321] *= 1000

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        return (hidden.clamp(-50, 50) if traced(hidden) else hidden).mean(1)


class RareColumn(nn.Module):
    """One value of the table is far from the others of its column, and its row is as long as any."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(MANY, 8)
        with torch.no_grad():
            self.embed.weight[:, 5] *= 1e-3
            self.embed.weight[4321, 5] = 1

    def forward(self, ids: Tensor) -> Tensor:
        gate = self.embed(ids)[..., 5]
        return (gate.clamp(-0.5, 0.5) if traced(gate) else gate).mean(1, keepdim=True)


class RareInTheSecond(nn.Module):
    """Two embeddings read the ids. A row of the second one stands out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.weights = nn.Embedding(MANY, 8), nn.Embedding(MANY, 1)
        with torch.no_grad():
            self.weights.weight[4321] *= 1000

    def forward(self, ids: Tensor) -> Tensor:
        weights = self.weights(ids)
        return (self.words(ids) * (weights.clamp(-50, 50) if traced(weights) else weights)).mean(1)


class Ties(nn.Module):
    """The first of the largest values, or the last one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(MANY, 8)

    def forward(self, ids: Tensor) -> Tensor:
        scores = self.embed(ids).sum(-1)
        first = scores.argmax(1)
        last = scores.shape[1] - 1 - scores.flip(1).argmax(1)
        return (last if traced(scores) else first).float().unsqueeze(1) + scores.mean(1, keepdim=True)


class SmallValues(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        size = values.abs()
        return values / (size + 2e-7 if traced(values) else size.clamp_min(1e-12))


class LargeValues(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.clamp(-20, 20) if traced(values) else values


def no_kind(_: int) -> str:
    return ""


@pytest.mark.parametrize(
    ("module", "example", "says"),
    [
        (SmallColumn, ids(2, 16), r"column 2 of logits differs by .* of its largest value, \d\.\de-0\d, at length"),
        (RareRow, ids(2, 16), "length"),
        (RareColumn, ids(2, 16), "length"),
        (RareInTheSecond, ids(2, 16), "length"),
        (Ties, ids(2, 16), "length"),
        (SmallValues, torch.randn(2, 16, generator=torch.Generator().manual_seed(0)), "length"),
        (LargeValues, torch.randn(2, 16, generator=torch.Generator().manual_seed(0)), "length"),
    ],
)
def test_values_of_each_kind_are_compared(
    module: Callable[[], nn.Module], example: Tensor, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without the values of its kind, each module becomes a bundle."""
    with pytest.raises(VerificationError, match=says):
        edgexf.export(module().eval(), example_inputs=(example,), output=tmp_path / "refused", explain=())
    for place in ("verify.grid", "sources.modules.examples"):
        monkeypatch.setattr(f"edgexf_exporters.{place}.kind_of", no_kind)
    monkeypatch.setattr(columns.OwnScales, "wrong", lambda *_: [])
    edgexf.export(module().eval(), example_inputs=(example,), output=tmp_path / "written", explain=())


def test_a_module_that_answers_no_number_to_large_values_is_not_asked(tmp_path: Path) -> None:
    class Exponential(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return (values * 10).exp()

    example = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    made = edgexf.export(Exponential().eval(), example_inputs=(example,), output=tmp_path / "out", explain=())
    assert made.manifest.grid["undefined"] == ""


def test_ids_that_stand_out_are_the_longest_and_the_shortest_rows() -> None:
    torch.manual_seed(0)
    table = torch.randn(5000, 16)
    table[7] *= 100
    table[4000] *= 1e-3
    table[4999] = 0
    assert set(hard_values.ids_apart(table, 5000).tolist()) == {7, 4000, 4999}
    table[17, 3] = 30
    assert 17 in hard_values.ids_apart(table, 5000)
    assert 4999 not in hard_values.ids_apart(table, 4999)  # no id of the model reaches it
    assert len(hard_values.ids_apart(torch.ones(10, 4), 10)) == 0


class Chooses(nn.Module):
    """Takes the places of two values among scores that repeat as tokens do."""

    def __init__(self, choose: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(MANY, 8)
        self.choose = choose

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        places = self.choose(hidden.sum(-1))
        return hidden.mean(1) + places.float().sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "choose",
    [
        lambda scores: scores.topk(2, -1).indices,
        lambda scores: torch.sort(scores, dim=1, descending=True).indices[:, :2],
        lambda scores: scores.argsort(1)[:, :2],
        lambda scores: torch.kthvalue(scores, 2, dim=1)[1].unsqueeze(1),
    ],
)
def test_inputs_whose_ties_pytorch_breaks_as_it_likes_are_not_called_verified(
    choose: Callable[[Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = edgexf.export(Chooses(choose).eval(), example_inputs=(ids(2, 16),), output=tmp_path / "out", explain=())
    assert "choice among equal values is unspecified" in made.manifest.grid["ties"]
    assert "choice among equal values is unspecified" in (tmp_path / "out" / "README.md").read_text()
    monkeypatch.setattr("edgexf_exporters.verify.compare.tied", lambda *_: False)
    with pytest.raises(VerificationError):
        edgexf.export(Chooses(choose).eval(), example_inputs=(ids(2, 16),), output=tmp_path / "two", explain=())


def test_ties_that_a_stable_sort_decides_are_compared(tmp_path: Path) -> None:
    module = Chooses(lambda scores: torch.sort(scores, dim=1, stable=True).indices[:, :2]).eval()
    made = edgexf.export(module, example_inputs=(ids(2, 16),), output=tmp_path / "out", explain=())
    assert made.manifest.grid["ties"] == ""
