"""Which axes of a custom module vary, and which depend on each other: found by running the module, without an export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from modules import Step, ids, step_inputs
from torch import Tensor, nn
from torch.export import Dim

from edgexf.bundle.signature import Signature, Within
from edgexf.errors import UsageError
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.sources.modules.module import from_module

LARGEST = 4096 * 32  # values of an input of a probe: a batch of 4096 rows of 4096 tokens would be far beyond


class Runs(nn.Module):
    """Embeds ids and runs a function of the vectors and of other inputs."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.does = nn.Embedding(50, 8), nn.Linear(8, 3), does

    def forward(self, ids: Tensor, other: Tensor) -> Any:
        return self.does(self.embed(ids), other, self.head)


class Features(nn.Module):
    """Runs a function of features."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.does = does

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Any:
        return self.does(features) if lengths is None else self.does(features, lengths)


def mixed(features: Tensor) -> Tensor:
    return torch.softmax(features @ features.transpose(1, 2), -1) @ features


def inputs_of(source: Source) -> ModuleInputs:
    assert source.module_inputs is not None
    return source.module_inputs


def shapes(source: Source) -> list[tuple[int | str, ...]]:
    return [tensor.shape for tensor in inputs_of(source).tensors]


def signature(source: Source) -> Signature:
    return inputs_of(source).signature


def test_a_batch_as_long_as_the_sequence_is_told_apart_and_no_probe_is_large() -> None:
    largest = 0

    def does(features: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, features.numel())
        return mixed(features).mean(1)

    source = from_module(Features(does), (torch.randn(16, 16, 6),))
    assert shapes(source) == [("batch_size", "sequence_length", 6)]
    assert source.outputs[0].shape == ("batch_size", 6)
    assert largest <= LARGEST


def test_pairs_of_tokens_stay_pairs_and_are_tried_at_fewer_tokens() -> None:
    def does(pairs: Tensor) -> Tensor:
        return (pairs @ torch.eye(6) + pairs.transpose(0, 1)).mean(1)

    source = from_module(Features(does), (torch.randn(16, 16, 6),))
    assert shapes(source) == [("sequence_length", "sequence_length", 6)]
    assert signature(source).axis("sequence_length").most == 512


def test_ids_and_a_mask_of_equal_sizes_are_told_apart_together() -> None:
    def does(hidden: Tensor, mask: Tensor, head: nn.Module) -> Tensor:
        return head((hidden * mask[..., None]).sum(1))

    source = from_module(Runs(does), (ids(8, 8, 50), torch.ones(8, 8)))
    assert shapes(source) == [("batch_size", "sequence_length")] * 2


def biased(hidden: Tensor, bias: Tensor, head: nn.Module) -> Tensor:
    tokens = hidden.unflatten(2, (4, 2)).transpose(1, 2)
    found = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, bias)
    return head(found.transpose(1, 2).flatten(2))


def shifted(hidden: Tensor, edges: Tensor, head: nn.Module) -> Tensor:
    return head(hidden + edges[:, 1:, None] - edges[:, :-1, None])


def in_pairs(hidden: Tensor, halves: Tensor, head: nn.Module) -> Tensor:
    return head(hidden + halves.unflatten(1, (-1, 2)).sum(2))


DEPENDENT: dict[str, tuple[Callable[..., Any], Tensor, tuple[int | str, ...]]] = {
    "a bias of each head": (biased, torch.randn(4, 16, 16), (4, "sequence_length", "sequence_length")),
    "a pair mask of each row": (biased, torch.ones(2, 1, 16, 16) > 0, ("batch_size", 1, "sequence_length", "sequence_length")),
    "one more": (shifted, torch.randn(2, 17), ("batch_size", "sequence_length + 1")),
    "twice": (in_pairs, torch.randn(2, 32, 8), ("batch_size", "2*sequence_length", 8)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEPENDENT)
def test_an_axis_that_depends_on_another_follows_it(kind: str) -> None:
    does, other, wanted = DEPENDENT[kind]
    source = from_module(Runs(does), (ids(2, 16, 50), other))
    assert shapes(source) == [("batch_size", "sequence_length"), wanted]
    sizes = {"batch_size": 3, "sequence_length": 7}
    assert inputs_of(source).draw(sizes, seed=0)["other"].shape == tuple(
        {"batch_size": 3, "sequence_length": 7, "sequence_length + 1": 8, "2*sequence_length": 14}.get(str(size), size)
        for size in wanted
    )


def test_an_axis_that_stays_is_listed() -> None:
    source = from_module(Runs(biased), (ids(2, 16, 50), torch.randn(4, 16, 16)))
    assert signature(source).fixed == ("other axis 0 at 4",)


NEW, PAST = Dim("new", max=64), Dim("past", max=100)
CACHES = {
    "without a word": None,
    "with an independent total": {
        "ids": {0: "batch", 1: NEW}, "mask": {2: NEW, 3: Dim("total", max=164)}, "past": {0: "batch", 2: PAST},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", CACHES)
def test_a_mask_over_a_cache_is_as_long_as_the_cache_and_the_new_tokens(kind: str) -> None:
    source = from_module(Step().eval(), step_inputs(2, 3, 6), CACHES[kind])
    (batch, new), mask, past = shapes(source)
    assert past == (batch, 2, past[2], 8)
    assert mask[:3] == (1, 1, new)
    assert set(str(mask[3]).split(" + ")) == set(str(source.outputs[1].shape[2]).split(" + ")) == {new, past[2]}
    drawn = inputs_of(source).draw({str(batch): 2, str(new): 3, str(past[2]): 4}, seed=0)["mask"][0, 0]
    assert np.array_equal(np.isinf(drawn), ~np.tri(3, 7, 4, dtype=bool))


def test_a_computed_dim_is_a_formula_and_must_fit_the_example() -> None:
    length = Dim("n", max=200)
    chosen = ({0: "b", 1: length}, {0: "b", 1: 2 * length})
    source = from_module(Runs(in_pairs), (ids(2, 16, 50), torch.randn(2, 32, 8)), chosen)
    assert shapes(source) == [("b", "n"), ("b", "2*n", 8)]
    with pytest.raises(UsageError, match="must fit its own axis"):
        from_module(Runs(in_pairs), (ids(2, 16, 50), torch.randn(2, 33, 8)), chosen)


def last(features: Tensor, lengths: Tensor) -> Tensor:
    return features.cumsum(1).gather(1, (lengths - 1)[:, None, None].expand(-1, 1, features.shape[2])).squeeze(1)


def chosen(features: Tensor, places: Tensor) -> Tensor:
    return last(features, places + 1)


def padded(features: Tensor, lengths: Tensor) -> Tensor:
    return (features * (torch.arange(features.shape[1]) < lengths[:, None])[..., None]).sum(1)


@pytest.mark.parametrize(
    ("does", "values", "wanted"),
    [
        (last, [20, 11, 4], Within("sequence_length", 1, 0)),
        (padded, [20, 11, 4], Within("sequence_length", 1, 0)),
        (chosen, [13, 11, 0], Within("sequence_length", 0, 1)),
    ],
)
def test_an_input_that_counts_tokens_stays_within_their_axis(
    does: Callable[..., Any], values: list[int], wanted: Within
) -> None:
    source = from_module(Features(does), (torch.randn(3, 20, 6), torch.tensor(values)))
    assert shapes(source) == [("batch_size", "sequence_length", 6), ("batch_size",)]
    assert signature(source).within == {"lengths": wanted}
    drawn = inputs_of(source).draw({"batch_size": 64, "sequence_length": 7}, seed=0)["lengths"]
    assert (drawn.min(), drawn.max()) == (wanted.least, 7 - wanted.short)


def drawn(does: Callable[[Tensor], Tensor], example: Tensor) -> np.ndarray[Any, Any]:
    source = from_module(Features(does), (example,))
    sizes = {axis.name: 9 for axis in signature(source).axes}
    return inputs_of(source).draw(sizes, seed=0)["features"]


@pytest.mark.parametrize("value", [0.0, 1.0, -7.0])
def test_an_example_of_one_value_does_not_decide_what_is_compared(value: float) -> None:
    found = drawn(mixed, torch.full((2, 5, 6), value))
    assert found.std() > 0.5
    assert found.min() < 0 < found.max()


def test_values_stay_where_the_module_answers_with_numbers() -> None:
    assert drawn(lambda one: one.sqrt() @ torch.eye(6), torch.zeros(2, 5, 6)).min() >= 0
    shares = drawn(lambda one: (one / (1 - one)).log() @ torch.eye(6), torch.full((2, 5, 6), 0.5))
    assert 0 < shares.min() < shares.max() < 1
    between = drawn(lambda one: one.log() @ torch.eye(6), torch.rand(2, 5, 6) + 3)
    assert 3 <= between.min() < between.max() <= 4
    assert len(np.unique(between)) > 100, "the values of the example alone would be 60"


def test_marks_of_a_float_mask_stay_marks_and_hide_no_row_wholly() -> None:
    example = torch.zeros(2, 1, 1, 16)
    example[1, ..., 9:] = float("-inf")

    def does(hidden: Tensor, mask: Tensor, head: nn.Module) -> Tensor:
        return biased(hidden, mask, head)

    source = from_module(Runs(does), (ids(2, 16, 50), example))
    found = inputs_of(source).draw({"batch_size": 64, "sequence_length": 5}, seed=0)["other"]
    assert set(np.unique(found)) == {-np.inf, 0.0}
    assert np.isfinite(found).any(axis=-1).all()


OUTPUTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "half": (lambda one: one[:, : one.shape[1] // 2], "sequence_length // 2"),
    "less": (lambda one: one[:, 3:], "sequence_length - 3"),
    "doubled and one": (lambda one: torch.cat((one, one, one[:, :1]), 1), "2*sequence_length + 1"),
    "rounded up": (lambda one: one[:, ::5], "(sequence_length + 4) // 5"),
    "two strides": (lambda one: one.unfold(1, 3, 2)[:, :, 0].unfold(1, 3, 2)[:, :, 0], "(sequence_length - 3) // 4"),
    "no formula": (lambda one: one[:, : int(one.shape[1] ** 0.5) + 1], "logits_1"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_length_of_an_output_is_a_formula(kind: str) -> None:
    does, wanted = OUTPUTS[kind]
    source = from_module(Features(lambda one: does(one + one.mean(1, keepdim=True))), (torch.randn(2, 30, 6),))
    assert source.outputs[0].shape[:2] == ("batch_size", wanted)


def test_tensors_inside_lists_and_dictionaries_have_clear_names() -> None:
    def does(hidden: Tensor, mask: Tensor, head: nn.Module) -> Any:
        return {
            "scores": head(hidden),
            "ids": mask,
            "states": [hidden, (hidden.argmax(-1), None)],
            "loss": hidden.mean(),
        }

    source = from_module(Runs(does), {"ids": ids(2, 16, 50), "other": torch.ones(2, 16)})
    assert [(one.name, one.dtype, one.shape) for one in source.outputs] == [
        ("scores", "float32", ("batch_size", "sequence_length", 3)),
        ("ids_out", "float32", ("batch_size", "sequence_length")),
        ("states_0", "float32", ("batch_size", "sequence_length", 8)),
        ("states_1_0", "int64", ("batch_size", "sequence_length")),
        ("loss", "float32", ()),
    ]
