"""What exceeds the tolerance passes only if it is rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgexf
from edgexf import names
from edgexf.bundle.golden import read, relative_difference
from edgexf.errors import VerificationError
from edgexf_exporters.source import Source
from edgexf_exporters.sources.modules.module import from_module
from edgexf_exporters.verify import compare, judge
from edgexf_exporters.verify.branches.settle import Settled
from edgexf_exporters.verify.differences.rounding import Compared, Wide, moved, reached
from edgexf_exporters.verify.eager import eager

RIGHT = np.linspace(1, 2, 11)


def compared(graph_error: float, eager_error: float) -> Compared:
    """An answer of a graph and of eager float32 on two sides of the right one; its largest value is 2."""
    return Compared("outputs", "y", RIGHT + 2 * graph_error, RIGHT - 2 * eager_error, relative_difference)


@pytest.mark.parametrize(
    ("graph_error", "eager_error", "found"),
    [
        (1e-6, 1e-6, {}),  # within the tolerance: nothing is asked
        (3e-4, 2e-4, {"outputs": 6e-4}),
        (2e-4, 1.01e-4, {"outputs": 3.03e-4}),
        (3e-4, 1e-4, {}),  # an error of the graph
    ],
)
def test_a_graph_may_be_twice_as_far_from_the_truth_as_eager(
    graph_error: float, eager_error: float, found: dict[str, float]
) -> None:
    one = compared(graph_error, eager_error)
    assert reached([one], 1e-4, lambda: {"y": RIGHT}, list) == pytest.approx(found, rel=1e-6)


def test_one_error_among_roundings_makes_a_failure() -> None:
    both = [compared(3e-4, 2e-4), compared(3e-4, 1e-4)]
    assert reached(both, 1e-4, lambda: {"y": RIGHT}, list) == {}


def test_without_float64_nothing_is_rounding() -> None:
    assert reached([compared(3e-4, 2e-4)], 1e-4, lambda: None, list) == {}


@pytest.mark.parametrize(
    ("graph_error", "found"),
    [
        (3e-4, {"outputs": 6e-4}),  # within twice the largest error that eager float32 had in any draw
        (5e-4, {}),
    ],
)
def test_a_lucky_draw_of_eagers_error_does_not_refuse_a_graph(graph_error: float, found: dict[str, float]) -> None:
    errors = [1e-5, 2e-4, 5e-5]
    draws = [({"y": RIGHT + 2 * error}, {"y": RIGHT}) for error in errors]
    one = compared(graph_error, 1e-5)
    assert reached([one], 1e-4, lambda: {"y": RIGHT}, lambda: draws) == pytest.approx(found, rel=1e-6)


def test_a_draw_that_is_far_from_the_truth_makes_nothing_rounding() -> None:
    one, far = compared(3e-4, 1e-5), [({"y": RIGHT + 1}, {"y": RIGHT})]
    assert reached([one], 1e-4, lambda: {"y": RIGHT}, lambda: far) == {}


def test_a_draw_moves_each_weight_by_one_unit_in_its_last_place() -> None:
    layer = nn.Linear(64, 64)
    before = layer.weight.detach().clone()
    copied = moved(layer, seed=0).weight.detach()
    assert torch.equal(layer.weight, before)
    up = before.nextafter(torch.tensor(torch.inf))
    down = before.nextafter(torch.tensor(-torch.inf))
    assert ((copied == up) | (copied == down)).all()
    assert (copied == up).any()
    assert (copied == down).any()
    assert not torch.equal(moved(layer, seed=1).weight, copied)


def test_draws_are_answers_of_the_moved_model_beside_its_own_truth() -> None:
    source = source_of(Cancels())
    feeds = {"features": np.random.default_rng(0).standard_normal((2, 9, 512)).astype(np.float32)}
    draws = Wide(source, compare.reference).draws(feeds, (), ())
    assert len(draws) == 4
    errors = [relative_difference(narrow["logits"], right["logits"]) for narrow, right in draws]
    assert all(1e-5 < error < 1e-3 for error in errors)  # 6,000 + x keeps x to 6,000 / 2^24 = 4e-4
    assert len(set(errors)) == 4


class Cancels(nn.Module):
    """Adds a large number and takes it away again, so that a float32 keeps three digits."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(512, width)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.project(features) + 6000.0 - 6000.0
        return found


class InFloat32(Cancels):
    """The same with a constant that is no weight, so that it does not run in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.table = (torch.eye(256),)  # in a tuple, torch does not convert it

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) @ self.table[0]


def source_of(module: nn.Module) -> Source:
    return from_module(
        module.eval(),
        (torch.randn(2, 9, 512),),
        {"features": {0: torch.export.Dim("b", max=4), 1: torch.export.Dim("n", max=70)}},
    )


def test_a_model_that_can_not_run_in_float64_has_no_better_answer() -> None:
    feeds = {"features": np.random.default_rng(0).standard_normal((2, 9, 512)).astype(np.float32)}
    right = Wide(source_of(Cancels()), compare.reference).answers(feeds, (), ())
    assert right is not None
    assert right["logits"].dtype == np.float64
    assert Wide(source_of(InFloat32()), compare.reference).answers(feeds, (), ()) is None


class SoftmaxInFloat32(nn.Module):
    """As Longformer's attention computes it, for any dtype of its weights."""

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.softmax(features, dim=-1, dtype=torch.float32).type_as(features).float() * 1.0


def test_a_softmax_that_asks_for_float32_is_in_float64_too() -> None:
    feeds = {"features": np.random.default_rng(0).standard_normal((2, 9, 512)).astype(np.float32)}
    right = Wide(source_of(SoftmaxInFloat32()), compare.reference).answers(feeds, (), ())
    assert right is not None
    wanted = torch.from_numpy(feeds["features"]).double().softmax(-1).numpy()
    np.testing.assert_allclose(right["logits"], wanted, rtol=1e-14)


def test_float64_answers_leave_the_model_as_it_was() -> None:
    source = source_of(Cancels())
    feeds = {"features": np.random.default_rng(0).standard_normal((2, 9, 512)).astype(np.float32)}
    before = eager(source, feeds)["logits"]
    Wide(source, compare.reference).answers(feeds, (), ())
    assert next(source.module.parameters()).dtype == torch.float32
    assert np.array_equal(eager(source, feeds)["logits"], before)


def test_a_bundle_keeps_the_tolerance_that_rounding_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = (torch.randn(2, 9, 512, generator=torch.Generator().manual_seed(0)),)
    shapes = {"features": {0: torch.export.Dim("b", max=4), 1: torch.export.Dim("n", max=70)}}
    made = edgexf.export(
        Cancels(2048).eval(), example_inputs=example, dynamic_shapes=shapes, output=tmp_path / "out", explain=()
    )  # in so many numbers, some are rounded otherwise on any processor
    rows = [row for row in made.manifest.grid["rows"] if row["rounded"]]
    assert rows, "no cell exceeds the tolerance: the test tests nothing"
    unit = 2.0**-11  # of a float32 between 4,096 and 8,192; the outputs are at least a tenth
    assert all(row["outputs"] <= row["rounded"]["outputs"] < 20 * unit for row in rows)
    cells = read(tmp_path / "out" / names.GOLDEN_FILE)
    assert any(names.ROUNDED in cell for cell in cells.values())
    assert edgexf.verify(tmp_path / "out").passed
    monkeypatch.setattr(Wide, "answers", lambda *_: None)
    with pytest.raises(VerificationError, match="must agree with its model within"):
        edgexf.export(
            Cancels(2048).eval(), example_inputs=example, dynamic_shapes=shapes, output=tmp_path / "two", explain=()
        )


@pytest.mark.parametrize("eager", [np.nan, np.inf, 3.0])
def test_where_the_model_is_far_from_the_truth_nothing_is_rounding(eager: float) -> None:
    """An infinite error is at most twice an infinite one, and twice a large error is no answer."""
    wrong = Compared("relevance", "y", np.full(3, 7.0), np.array([eager, 1, 2]), relative_difference)
    assert reached([wrong], 1e-4, lambda: {"y": np.array([1.0, 1, 2])}, list) == {}


def test_where_three_cells_failed_nobody_asks_whether_others_are_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export is refused whatever the others are, and float64 takes most of the time of a refusal.

    Sizes outside the trace would be asked before the cells of the grid.
    """
    asked: list[int] = []
    monkeypatch.setattr(judge, "settle", lambda source, *_: Settled(source))

    def draws(_: Wide, feeds: dict[str, Any], *__: object) -> list[object]:
        asked.append(feeds["input"].size)
        return []

    right = compare.outputs_compared
    monkeypatch.setattr(Wide, "draws", draws)
    monkeypatch.setattr(
        compare,
        "outputs_compared",
        lambda source, found, wanted, real: right(source, {"logits": found["logits"] * 2}, wanted, real),
    )
    with pytest.raises(VerificationError) as raised:
        edgexf.export(
            nn.Linear(512, 3).eval(),
            example_inputs=(torch.randn(2, 9, 512),),
            dynamic_shapes={"input": {0: torch.export.Dim("b", max=4), 1: torch.export.Dim("n", max=70)}},
            output=tmp_path / "out",
            explain=(),
        )
    rows = raised.value.grid["rows"]
    assert len(rows) > len(asked) == 3
    assert all(row["outputs"] > 0.4 for row in rows)
