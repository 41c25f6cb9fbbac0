"""What a custom module may do, and the sentence that refuses a module that cannot be exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modules
import numpy as np
import pytest
import torch
from modules import VOCABULARY, exports, ids, small
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError, InputError, UsageError, VerificationError
from edgexf.models.windowed import WindowedAttention
from edgexf.spec import EncoderSpec, WindowedAttentionSpec
from edgexf_exporters.sources.modules.axes import distinct
from edgexf_exporters.sources.modules.probe import unchanged

pytestmark = pytest.mark.slow  # exports or runs many models


class Odd(nn.Module):
    """Runs one function inside a module, to test what stops a trace."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.inner = Inner(inner)

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(self.embed(ids)).mean(1)


class Inner(nn.Module):
    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, hidden: Tensor) -> Tensor:
        return self.does(hidden)


def by_value(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.sum() > 0 else hidden


def by_length(hidden: Tensor) -> Tensor:
    return torch.stack([hidden[:, place] * place for place in range(hidden.shape[1])], dim=1)


@pytest.mark.parametrize(("does", "line"), [(by_value, "if hidden.sum() > 0"), (by_length, "for place in range")])
def test_a_failed_trace_names_the_line_and_the_module(
    does: Callable[[Tensor], Tensor], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError) as found:
        exports(Odd(does), (ids(2, 16),), tmp_path)
    assert f"{Path(__file__).name}:{does.__code__.co_firstlineno + 1}" in str(found.value)
    assert line in str(found.value)
    assert "in inner (Inner)" in str(found.value)
    assert "def forward" not in capsys.readouterr().err  # torch would print its graph


def at_random(hidden: Tensor) -> Tensor:
    return hidden + torch.randn_like(hidden)


def test_a_module_that_draws_at_random_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="must answer the same inputs alike"):
        exports(Odd(at_random), (ids(2, 16),), tmp_path)


class Wrapped(nn.Module):
    """Takes inputs with the names of Hugging Face models, and has two embeddings of the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.types = nn.Embedding(VOCABULARY, 8), nn.Embedding(2, 8)
        self.bigger = nn.Embedding(VOCABULARY + 9, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        hidden = self.embed(input_ids) + self.bigger(input_ids) + self.types(token_type_ids)
        kept = attention_mask.unsqueeze(-1).float()
        return {"logits": self.head((hidden * kept).sum(1) / kept.sum(1)), "real": attention_mask > 0}


def test_inputs_of_equal_examples_are_told_apart(tmp_path: Path) -> None:
    one = torch.ones(2, 16, dtype=torch.long)
    examples = {"input_ids": one, "attention_mask": one.clone(), "token_type_ids": one.clone()}
    manifest = exports(Wrapped().eval(), examples, tmp_path)
    assert manifest.signature is not None
    assert manifest.signature.below == {"input_ids": VOCABULARY, "token_type_ids": 2}
    assert {row["mask"] for row in manifest.grid["rows"]} == {"none", "right", "one"}
    assert manifest.variants[0].outputs[1].dtype == "bool"


class Looked(nn.Module):
    """Looks up its ids without an embedding module, so that the exporter sees no bound of the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(VOCABULARY, 3))

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.embedding(ids, self.table).mean(1)


def test_an_id_that_no_bound_is_known_of_is_refused_by_the_graph_in_a_sentence(tmp_path: Path) -> None:
    exports(Looked().eval(), (ids(2, 16),), tmp_path)
    with edgexf.load(tmp_path / "bundle") as session, pytest.raises(InputError, match="such that the graph can run"):
        session.run(ids=np.full((1, 9), VOCABULARY))


def test_axes_of_the_same_range_are_told_apart(tmp_path: Path) -> None:
    module, examples = small("source and target")
    bounds = {"src": {0: "batch", 1: Dim("a", max=20)}, "tgt": {0: "batch", 1: Dim("b", max=20)}}
    examples.pop("src_key_padding_mask")
    manifest = exports(module, examples, tmp_path, dynamic_shapes=bounds)
    assert manifest.variants[0].outputs[0].shape == ("batch", "b", 40)


def test_a_batch_may_be_bounded_and_the_bundle_verifies(tmp_path: Path) -> None:
    from edgexf.pipeline.verify_bundle import verify

    module, examples = small("linformer classifier")
    shapes = {"ids": {0: Dim("rows", min=4, max=16), 1: "words"}}
    exports(module, {"ids": examples["ids"].repeat(3, 1)}, tmp_path, dynamic_shapes=shapes)
    assert verify(tmp_path / "bundle").passed


def test_a_batch_that_is_as_large_as_it_may_be_still_varies(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    shapes = {"ids": {0: Dim("rows", max=2), 1: Dim("words")}}
    signature = exports(module, {"ids": examples["ids"][:2]}, tmp_path, dynamic_shapes=shapes).signature
    assert signature is not None
    assert (signature.samples, signature.axis("rows").most) == ("rows", 2)


class Tokens(nn.Module):
    """A step over the vectors of tokens."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 4)
        self.step = step

    def forward(self, ids: Tensor) -> Tensor:
        return self.step(self.embed(ids))


def a_square(hidden: Tensor) -> Tensor:
    side = math.isqrt(hidden.shape[1])
    return hidden.unflatten(1, (side, side)).mean(2)


def test_a_length_that_must_be_a_square_stays_as_it_is(tmp_path: Path) -> None:
    """edgexf tries lengths that follow from the batch. Some of them would be below 0."""
    signature = exports(Tokens(a_square), (ids(2, 16),), tmp_path).signature
    assert signature is not None
    assert signature.fixed == ("ids axis 1 at 16",)


class Masked(nn.Module):
    """Takes a mask that is true at padding, despite its name, and writes to an input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids += 0
        kept = (~mask).unsqueeze(-1).float()
        return self.head((self.embed(ids).tanh() * kept).sum(1) / kept.sum(1))


def test_a_mask_means_what_its_example_says_and_padding_has_no_relevance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    examples = {"ids": ids(2, 16), "mask": torch.zeros(2, 16, dtype=torch.bool)}
    bundle = edgexf.export(Masked().eval(), example_inputs=examples, output=tmp_path / "bundle")
    assert {row["mask"] for row in bundle.manifest.grid["rows"]} == {"none", "right", "one"}
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(ids=ids(2, 9).numpy(), mask=(torch.arange(9) > 5).expand(2, -1).numpy())
    assert np.all(found["relevance"][:, 6:] == 0)
    assert np.all(found["relevance"][:, :6] != 0)


def in_the_middle(hidden: Tensor) -> Tensor:
    return hidden * 2 if 10 < hidden.shape[1] < 20 else hidden


def at_tens(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.shape[1] % 10 == 0 else hidden


def for_two(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.shape[0] == 2 else hidden


@pytest.mark.parametrize(
    ("does", "kind", "says"),
    [
        (in_the_middle, VerificationError, "differs where .*sequence_length is 11"),
        (at_tens, VerificationError, "differs where .*sequence_length is 10"),
        (for_two, VerificationError, "differs where batch_size is 2"),
    ],
)
def test_a_way_of_forward_that_no_cell_of_the_grid_takes_is_found(
    does: Callable[[Tensor], Tensor], kind: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=says):
        exports(Odd(does), (ids(2, 16),), tmp_path)


@pytest.mark.parametrize(
    ("examples", "chosen", "says"),
    [
        ((), {}, "must fit Classifier.forward"),
        ((ids(2, 16), ids(2, 16)), {}, "must fit Classifier.forward"),
        ({"tokens": ids(2, 16)}, {}, "must fit Classifier.forward"),
        ((3,), {}, "must hold a tensor"),
        ((ids(2, 16),), {"dynamic_shapes": (3,)}, "must be a dictionary by axis"),
        ((ids(2, 16),), {"dynamic_shapes": ({1: Dim("n", max=12)},)}, "must keep to its own bounds"),
        ((ids(2, 16),), {"dynamic_shapes": ({1: Dim("n", max=100)},)}, "no answer beyond 80 for the max of 100"),
        (([ids(2, 16)],), {}, "must hold a tensor|tensors inside ids"),
        ((ids(2, 16) + VOCABULARY,), {}, "must answer its example inputs"),
        ((ids(2, 16),), {"dynamic_shapes": {"other": {}}}, "must name inputs"),
        ((ids(2, 16),), {"dynamic_shapes": ({5: Dim.DYNAMIC},)}, "must name axes 0 to 1"),
        ((ids(2, 16),), {"dynamic_shapes": ({}, {})}, "an entry for each input"),
        ((ids(2, 16),), {"max_length": 15}, "at least the length of the example inputs .* got 15 for 16"),
        ((ids(2, 16),), {"max_length": 0}, "a whole number of at least 1, got 0"),
        ((ids(2, 16),), {"task": "text-classification"}, "leave the others out"),
    ],
)
def test_examples_that_do_not_fit_are_a_sentence(
    examples: Any, chosen: dict[str, Any], says: str, tmp_path: Path
) -> None:
    module, _ = small("linformer classifier")
    with pytest.raises((UsageError, ExportError), match=says):
        exports(module, examples, tmp_path, **chosen)
    assert not (tmp_path / "bundle").exists()


def test_a_module_without_examples_is_asked_for_them() -> None:
    with pytest.raises(UsageError, match="needs example_inputs"):
        edgexf.export(modules.Classifier())


def test_an_attention_alone_that_fills_blocks_by_itself_takes_any_length(tmp_path: Path) -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(40, 16)
            spec = EncoderSpec(labels=("a", "b"), width=16, heads=2, attention=WindowedAttentionSpec(window=8))
            self.attention = WindowedAttention(spec)

        def forward(self, ids: Tensor) -> Tensor:
            answer: Tensor = self.attention(self.embed(ids), torch.ones_like(ids, dtype=torch.bool))
            return answer

    module = Headed().eval()
    manifest = edgexf.export(module, example_inputs=(ids(2, 17, 40),), output=tmp_path / "bundle", explain=()).manifest
    assert manifest.limits.block == 1
    with edgexf.load(tmp_path / "bundle") as session:
        for length in (2, 7, 8, 9, 41):
            given = ids(3, length, 40)
            found = session.run({"ids": given.numpy()})
            wanted = module(given).detach().numpy()
            assert np.abs(next(iter(found.values())) - wanted).max() <= 1e-5 * np.abs(wanted).max()  # float32 sums


def test_axes_of_few_sizes_are_served_first() -> None:
    """4 of the first axis would leave the second one, which has 3 and 4 alone, without another size."""
    axes = [Axis("first", 4, 12, 4), Axis("second", 3, 4, 1)]
    sizes = [distinct(axes, turn) for turn in (0, 1)]
    assert [list(one) for one in sizes] == [["first", "second"]] * 2
    assert all(sizes[0][axis.name] != sizes[1][axis.name] for axis in axes)


@pytest.mark.parametrize("axis", [Axis("rows", 10, 17, 1), Axis("rows", 2, 4096, 1), Axis("rows", 4, 12, 4)])
def test_a_module_is_tried_at_two_sizes_of_every_axis(axis: Axis) -> None:
    """At two equal sizes a dynamic output axis would look fixed. The range 10 to 17 once gave 11 twice."""
    tokens = Axis("tokens", 2, 4096, 1)
    first, second = (distinct([axis, tokens], turn) for turn in (0, 1))
    assert first["rows"] != second["rows"]
    assert first["tokens"] != second["tokens"]
    for sizes in (first, second):
        assert axis.allows(sizes["rows"])
        assert len(set(sizes.values())) == 2


def test_answers_whose_lengths_depend_on_values_are_compared() -> None:
    """As of a module that unpacks: without a total length, its answers are as long as the longest row."""
    assert not unchanged(np.zeros((2, 13)), np.zeros((2, 14)))
    assert unchanged(np.zeros((2, 13)), np.zeros((2, 13)))
