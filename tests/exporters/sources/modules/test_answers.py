"""What custom modules may take and answer with: exported, and compared with eager at sizes that were not traced."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from modules import Step, exports, ids, step_inputs
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf.errors import ExportWarning, InputError, VerificationError
from edgexf_exporters.lowerings.packages import torch_nn

pytestmark = pytest.mark.slow  # exports many models

TOLERANCE = 1e-4  # relative to an output's largest value, as in the contract


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def assert_agrees(session: edgexf.Session, module: nn.Module, *inputs: Tensor) -> None:
    """Compares every output, those that are finite in eager by value."""
    names = [tensor.name for tensor in session.manifest.variants[0].inputs]
    answered = session.run(**{name: one.numpy() for name, one in zip(names, inputs, strict=True)})
    found = [one.astype(np.float64) for one in answered.values()]
    with torch.no_grad():
        wanted = [one.double().numpy() for one in module(*inputs)]
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for one, right in zip(found, wanted, strict=True):
        there = np.isfinite(right)
        assert np.abs(one[there] - right[there]).max(initial=0) <= TOLERANCE * np.abs(right[there]).max(initial=1e-9)


def test_a_step_with_a_cache_runs_with_a_cache_of_any_length(tmp_path: Path) -> None:
    module = seeded(Step())
    exports(module, step_inputs(2, 3, 6), tmp_path)
    with edgexf.load(tmp_path / "bundle") as session:
        for batch, new, past in ((1, 1, 1), (2, 1, 7), (3, 5, 50)):
            assert_agrees(session, module, *step_inputs(batch, new, past).values())
        arrays = {name: tensor.numpy() for name, tensor in step_inputs(1, 4, 0).items()}
        with pytest.raises(InputError, match="past_sequence_length must be 1 to"):
            session.run(**arrays)
        arrays = {name: tensor.numpy() for name, tensor in step_inputs(1, 4, 3).items()}
        with pytest.raises(InputError, match=r"inputs must agree on .* got 7 and 6 in mask"):
            session.run(**{**arrays, "mask": arrays["mask"][..., :6]})


class Subsampled(nn.Module):
    """Two strided convolutions, as a speech encoder begins. Returns what other exporters stumble over."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(8, 16, 3, 2), nn.Conv1d(16, 4, 3, 2)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        real = torch.arange(features.shape[1]) < lengths[:, None]
        found = self.two(self.one((features * real[..., None]).transpose(1, 2)).relu()).transpose(1, 2)
        return found, ((lengths - 1) // 2 - 1) // 2, lengths, found, found.argmax(-1) > 1, (found**2).sum()


def test_outputs_may_be_shorter_than_the_input_an_input_the_same_twice_or_a_number(tmp_path: Path) -> None:
    module = seeded(Subsampled())
    manifest = exports(module, (torch.randn(2, 30, 8), torch.tensor([30, 21])), tmp_path)
    assert [(one.dtype, one.shape) for one in manifest.variants[0].outputs] == [
        ("float32", ("batch_size", "(sequence_length - 3) // 4", 4)),
        ("int64", ("batch_size",)),
        ("int64", ("batch_size",)),
        ("float32", ("batch_size", "(sequence_length - 3) // 4", 4)),
        ("bool", ("batch_size", "(sequence_length - 3) // 4")),
        ("float32", ()),
    ]
    assert manifest.grid["checks"]["outputs have the sizes that the manifest declares"] == ""
    with edgexf.load(tmp_path / "bundle") as session:
        for length in (11, 50, 51, 133):
            lengths = torch.tensor([length, length // 2, 3])
            assert_agrees(session, module, torch.randn(3, length, 8), lengths)
        with pytest.raises(InputError, match="lengths must be 1 to 12, as sequence_length is 12, got 13 in row 0"):
            session.run(features=np.zeros((1, 12, 8), dtype=np.float32), lengths=np.array([13]))


class Hidden(nn.Module):
    """Attends among the tokens of a mask, in torch's own way and by hand: torch answers 0 without a key, the hand NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 8)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.embed(ids)
        seen = mask[:, None, :].bool() & mask[:, :, None].bool()
        by_hand = torch.softmax((tokens @ tokens.transpose(1, 2)).masked_fill(~seen, float("-inf")), -1) @ tokens
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, seen), by_hand


def test_a_hidden_row_is_answered_as_in_eager_and_what_eager_leaves_undefined_is_recorded(tmp_path: Path) -> None:
    module = seeded(Hidden())
    manifest = exports(module, (ids(2, 20), torch.ones(2, 20, dtype=torch.long)), tmp_path)
    assert "no finite number" in manifest.grid["undefined"]
    assert {row["mask"] for row in manifest.grid["rows"]} == {"none", "right", "one"}
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 4:] = 0
    mask[2] = 0
    with edgexf.load(tmp_path / "bundle") as session:
        assert_agrees(session, module, ids(3, 9), mask)
        found = session.run(ids=ids(3, 9).numpy(), mask=mask.numpy())
    assert np.all(found["logits"][2] == 0)


class Scored(nn.Module):
    """A classifier whose answer is not called logits, with an argument that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(60, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor, scale: float) -> dict[str, Tensor]:
        return {"scores": self.head(self.embed(ids).mean(1) * scale)}


def test_scores_of_another_name_are_explained_and_a_kept_argument_is_said(tmp_path: Path) -> None:
    module = seeded(Scored())
    with pytest.warns(ExportWarning, match="keeps scale=2.0, since only tensors become inputs"):
        bundle = edgexf.export(module, example_inputs=(ids(2, 16), 2.0), output=tmp_path / "bundle")
    assert bundle.manifest.methods == ("attnlrp",)
    assert bundle.manifest.signature is not None
    assert bundle.manifest.signature.frozen == {"scale": "2.0"}
    assert "kept as given: scale=2.0" in (tmp_path / "bundle" / "README.md").read_text()
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(ids=ids(2, 9).numpy(), target=np.eye(3, dtype=np.float32)[[1, 1]])
    total = found["relevance"].sum(1) + found["residual"]
    assert np.allclose(total, found["scores"][:, 1], rtol=TOLERANCE)


def test_a_bundle_without_an_explanation_says_why(tmp_path: Path) -> None:
    class Rounded(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features.round().sum(1)

    with pytest.warns(ExportWarning, match="no explain graph was written: "):
        edgexf.export(Rounded(), example_inputs=(torch.randn(2, 9, 3),), output=tmp_path / "one")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)  # nobody asked for an explanation
        edgexf.export(Rounded(), example_inputs=(torch.randn(2, 9, 3),), output=tmp_path / "two", explain=())


class Unread(nn.Module):
    """Slices a table of positions that no answer reads: the trace ends where the table ends, and the answer doesn't."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 8)
        self.register_buffer("places", torch.arange(100).expand(1, -1))

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        self.places[:, : ids.shape[1]] + 1
        return (self.embed(ids).cumsum(1),)


def test_a_table_that_no_answer_reads_is_no_limit(tmp_path: Path) -> None:
    module = seeded(Unread())
    exports(module, (ids(2, 20),), tmp_path, dynamic_shapes=({0: "b", 1: Dim("n", max=300)},))
    with edgexf.load(tmp_path / "bundle") as session:
        for length in (99, 100, 101, 300):
            assert_agrees(session, module, ids(2, length))


class Causal(nn.Module):
    """A causal encoder over features [sequence, batch, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 1, enable_nested_tensor=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features, nn.Transformer.generate_square_subsequent_mask(features.shape[0]))


def test_a_wrong_graph_is_refused_although_the_example_holds_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seeing_all(mask: Any) -> Any:
        return torch.zeros_like(mask, dtype=torch.float32)

    monkeypatch.setattr(torch_nn, "additive", seeing_all)
    with pytest.raises(VerificationError, match="a graph must agree with its model"):
        exports(seeded(Causal()), (torch.zeros(20, 2, 8),), tmp_path)


@pytest.mark.parametrize("block", [50, 64])
def test_the_length_of_an_answer_in_blocks_is_a_formula(block: int, tmp_path: Path) -> None:
    """The lengths from 11 on fill one block of any such size."""

    class Blocks(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            padded = F.pad(values, (0, 0, 0, -values.shape[1] % block))
            return padded.unflatten(1, (-1, block)).mean(2)

    made = exports(Blocks(), (torch.randn(2, 16, 4),), tmp_path)
    assert made.variants[0].outputs[0].shape[1] == f"(sequence_length + {block - 1}) // {block}"


def test_an_answer_of_one_token_more_is_not_taken_for_one_of_the_batch(tmp_path: Path) -> None:
    class Longer(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return torch.cat([values, values[:, :1]], 1)

    made = exports(Longer(), (torch.randn(2, 16, 4),), tmp_path)
    assert made.variants[0].outputs[0].shape[:2] == ("batch_size", "sequence_length + 1")


def test_an_answer_that_is_narrower_at_short_lengths_is_refused_in_a_sentence(tmp_path: Path) -> None:
    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(500, 8)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embed(ids).sum(-1).topk(min(5, ids.shape[1]), 1).values

    with pytest.raises(VerificationError, match="logits has a size of 2 where 5 is declared"):
        exports(seeded(Best()), (ids(2, 16),), tmp_path)
