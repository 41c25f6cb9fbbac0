"""Packed sequences of torch.nn in whole exports, against the untouched modules at lengths that were not traced."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import edgexf
from edgexf.errors import EdgexfError, ExportError, UsageError
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.hooks import frozen, vectors_of
from edgexf_exporters.lowerings.packages.torch_packed import packing

pytestmark = pytest.mark.slow  # exports many models

TOLERANCE = 1e-4  # of the contract grid, in float32
VOCABULARY, LONGEST, CLASSES = 60, 14, 5


class Tagger(nn.Module):
    """Logits of each token, from the lengths of the rows. Without `total` they end with the longest row."""

    def __init__(self, total: bool = True) -> None:
        super().__init__()
        self.embed, self.total = nn.Embedding(VOCABULARY, 16), total
        self.recurrent = nn.LSTM(16, 12, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        found, _ = self.recurrent(packed)
        total = ids.shape[1] if self.total else None
        return self.head(pad_packed_sequence(found, batch_first=True, total_length=total)[0])


class Classifier(nn.Module):
    """Logits of each row, from its last states and its largest answers. A mask says how long the rows are."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.recurrent = nn.Embedding(VOCABULARY, 16), nn.GRU(16, 12, bidirectional=True)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        values = self.embed(ids).transpose(0, 1)
        packed = pack_padded_sequence(values, attention_mask.sum(1), enforce_sorted=False)
        found, last = self.recurrent(packed)
        padded, lengths = pad_packed_sequence(found, padding_value=-1e4, total_length=len(values))
        mean = padded.clamp(min=-1).max(dim=0).values / lengths.unsqueeze(1)
        return self.head(torch.cat((mean, last[0], last[1]), dim=-1))


def drawn(rows: list[int], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, the lengths of the rows, and the mask of these lengths."""
    chance = torch.Generator().manual_seed(length)
    lengths = torch.tensor(rows)
    mask = (torch.arange(length) < lengths.unsqueeze(1)).long()
    return torch.randint(0, VOCABULARY, mask.shape, generator=chance), lengths, mask


def exported(module: nn.Module, output: Path, *methods: str) -> nn.Module:
    """Exports the module with larger weights than torch draws, so that gates are not nearly constant."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ids, lengths, mask = drawn([11, 4, 7], 11)
    batch, length = Dim("batch_size"), Dim("length", max=LONGEST)
    masked = isinstance(module, Classifier)
    shapes = {"ids": {0: batch, 1: length}}
    more = {"attention_mask": {0: batch, 1: length}} if masked else {"lengths": {0: batch}}
    example = (ids, mask if masked else lengths)
    edgexf.export(
        module.eval(), example_inputs=example, dynamic_shapes={**shapes, **more}, output=output, explain=methods
    )
    return module


@pytest.fixture(scope="module", params=[(Tagger, "gradient"), (Classifier, "attnlrp")], ids=["lengths", "mask"])
def bundle(request: Any, tmp_path_factory: Any) -> tuple[nn.Module, Path]:
    kind, method = request.param
    output = tmp_path_factory.mktemp("packed") / "bundle"
    return exported(kind(), output, method), output


def test_answers_and_explanations_are_those_of_torch_at_lengths_that_were_not_traced(
    bundle: tuple[nn.Module, Path],
) -> None:
    module, output = bundle
    with edgexf.load(output) as session, frozen(module):
        rules = METHODS[session.manifest.methods[0]].rules
        for rows, length in (([4], 9), ([2, 13, 1, 6], 13), ([1, 1], 5), ([3, 5], 10)):
            ids, lengths, mask = drawn(rows, length)
            given = {"ids": ids, **({"lengths": lengths} if isinstance(module, Tagger) else {"attention_mask": mask})}
            with rules(), vectors_of(module.embed) as leaves:
                logits = module(**given)
                explained = logits[:, 0, 1] if isinstance(module, Tagger) else logits[:, 1]
                (gradient,) = torch.autograd.grad(explained.sum(), leaves)
            relevance = (gradient * leaves[0]).sum(dim=-1).detach().numpy()
            arrays = {name: one.numpy() for name, one in given.items()}
            target: dict[str, Any] = {"target": np.eye(CLASSES, dtype=np.float32)[[1] * len(rows)]}
            if isinstance(module, Tagger):
                target["position"] = np.zeros(len(rows), np.int64)
            found = session.run_explain(**arrays, **target)
            np.testing.assert_allclose(session.run(**arrays)["logits"], logits.detach(), atol=TOLERANCE)
            np.testing.assert_allclose(found["relevance"], relevance, atol=TOLERANCE * np.abs(relevance).max())
            assert not found["relevance"][mask.numpy() == 0].any()


def test_rows_are_not_sorted_and_the_operator_reads_their_lengths(bundle: tuple[nn.Module, Path]) -> None:
    module, output = bundle
    nodes = onnx.load(output / "onnx" / "model.onnx", load_external_data=False).graph.node
    kind = type(module.recurrent).__name__
    assert all(node.input[4] for node in nodes if node.op_type == kind)
    assert not {"TopK", "Loop", "Scan"} & {node.op_type for node in nodes}


def test_a_row_without_a_token_is_refused_as_torch_refuses_it(bundle: tuple[nn.Module, Path]) -> None:
    module, output = bundle
    ids, lengths, mask = drawn([0, 5], 5)
    given = {"ids": ids, **({"lengths": lengths} if isinstance(module, Tagger) else {"attention_mask": mask})}
    with pytest.raises(RuntimeError, match="greater than 0"):
        module(**given)
    with edgexf.load(output) as session, pytest.raises(EdgexfError, match=r"lengths|sequence_lens"):
        session.run(**{name: one.numpy() for name, one in given.items()})


def test_without_a_total_length_the_answer_ends_with_the_longest_row(tmp_path: Path) -> None:
    module = exported(Tagger(total=False), tmp_path / "bundle")
    with edgexf.load(tmp_path / "bundle") as session:
        assert session.manifest.variants[0].outputs[0].shape == ("batch_size", "logits_1", CLASSES)
        for rows, length in (([4], 9), ([2, 3], 11), ([7, 2, 1], 7)):
            ids, lengths, _ = drawn(rows, length)
            with torch.no_grad():
                wanted = module(ids, lengths).numpy()
            found = session.run(ids=ids.numpy(), lengths=lengths.numpy())["logits"]
            assert found.shape == wanted.shape == (len(rows), max(rows), CLASSES)
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_an_answer_whose_length_depends_on_values_is_not_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no logits, of each sample or each token"):
        exported(Tagger(total=False), tmp_path / "bundle", "gradient")


class Chosen(nn.Module):
    """The answer of an LSTM at the last token of each row."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.recurrent = nn.Embedding(VOCABULARY, 16), nn.LSTM(16, 12, batch_first=True)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        found, _ = self.recurrent(self.embed(ids))
        return self.head(found[torch.arange(len(found)), lengths - 1])


def test_the_answer_at_the_last_token_of_each_row_may_be_chosen_by_len(tmp_path: Path) -> None:
    module = exported(Chosen(), tmp_path / "bundle")
    with edgexf.load(tmp_path / "bundle") as session:
        for rows, length in (([4], 9), ([2, 11, 1, 6], 11)):
            ids, lengths, _ = drawn(rows, length)
            with torch.no_grad():
                wanted = module(ids, lengths).numpy()
            np.testing.assert_allclose(
                session.run(ids=ids.numpy(), lengths=lengths.numpy())["logits"], wanted, atol=TOLERANCE
            )


VALUES, LENGTHS = torch.randn(5, 3, 4), torch.tensor([2, 5, 1])


def test_a_padding_value_stands_behind_each_row_without_a_layer_between() -> None:
    def padded() -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(VALUES, LENGTHS, enforce_sorted=False)
        return pad_packed_sequence(packed, batch_first=True, padding_value=-3.0)

    wanted = padded()
    with packing():
        found = padded()
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda packed: packed.data, "pad_packed_sequence first"),
        (lambda packed: packed[1], "pad_packed_sequence first"),
        (lambda packed: tuple(packed), "pad_packed_sequence first"),
        (lambda packed: packed.to(torch.float64), "pad_packed_sequence first"),
        (lambda packed: pad_packed_sequence(packed, total_length=7), "pass x.shape"),
        (lambda _: pack_padded_sequence(VALUES, [2, 5, 1]), "must be a tensor"),
        (lambda _: pack_padded_sequence(VALUES, LENGTHS, batch_first=True), "correct batch_first"),
    ],
    ids=["data", "part", "parts", "to", "total_length", "list", "batch_first"],
)
def test_what_a_packed_sequence_cannot_do_in_a_trace_is_refused(use: Any, said: str) -> None:
    with packing():
        packed = pack_padded_sequence(VALUES, LENGTHS, enforce_sorted=False)
        assert isinstance(packed, PackedSequence)
        with pytest.raises(ExportError, match=said):
            use(packed)


def test_torch_packs_again_after_an_export_and_always_in_other_threads() -> None:
    codes = pack_padded_sequence.__code__, pad_packed_sequence.__code__

    def parts() -> Tensor:
        return pack_padded_sequence(VALUES, LENGTHS, enforce_sorted=False).data

    with ThreadPoolExecutor(1) as other, packing():
        with pytest.raises(ExportError), packing():
            parts()
        assert other.submit(parts).result().shape == (8, 4)
        with pytest.raises(ExportError):
            parts()
    assert (pack_padded_sequence.__code__, pad_packed_sequence.__code__) == codes
    assert parts().shape == (8, 4)
