"""Library models with code of the user that branches on sizes: each is exact in its contract, or refused by the line.

A model looks like any other of its family at the sizes of the grid, and answers otherwise somewhere else. The trace of a
family comes in whole blocks, whose lengths are not those that the user's code sees in PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families import config, small
from small import small_encoder
from torch import Tensor, nn

import edgexf
from edgexf.bundle.folder import Bundle
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import ExportError, ExportWarning, InputError, VerificationError
from edgexf.models.encoder import Encoder
from edgexf_exporters import VARIANTS
from edgexf_exporters.sources.choose import choose
from edgexf_exporters.sources.request import Request
from edgexf_exporters.trace.guards import Condition, Symbol
from edgexf_exporters.verify.branches.settle import shapes_of

HEAD = "ForSequenceClassification"
Asks = Callable[[Tensor], bool]


def doubled_where(asks: Asks, family: str = "Bert") -> Any:
    """A library model whose logits are doubled where its ids are as `asks` says."""

    class Own(getattr(transformers, family + HEAD)):  # type: ignore[misc]
        def forward(self, input_ids: Tensor, **others: Any) -> Any:
            found = super().forward(input_ids=input_ids, **others)
            if asks(input_ids):
                found.logits = found.logits * 2
            return found

    torch.manual_seed(0)
    model = Own(config(family, 1)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def a_length_of_100(ids: Tensor) -> bool:
    return ids.shape[1] == 100


def a_batch_of_100(ids: Tensor) -> bool:
    return ids.shape[0] == 100


def a_single_row(ids: Tensor) -> bool:
    return ids.shape[0] == 1


def many_values(ids: Tensor) -> bool:
    return ids.numel() > 700


def square(ids: Tensor) -> bool:
    return ids.shape[0] == ids.shape[1]


def odd_lengths(ids: Tensor) -> bool:
    return ids.shape[1] % 8 == 3


def bundle_of(model: Any, folder: Path) -> Bundle:
    return edgexf.export(model, output=folder / "bundle", explain=())


@pytest.mark.parametrize("family", ["Bert", "BigBird", "Reformer"])
def test_the_contract_keeps_to_the_lengths_at_which_the_graph_is_the_model(family: str, tmp_path: Path) -> None:
    """100 is no multiple of the blocks of BigBird and Reformer: no padded length is 100."""
    model = doubled_where(a_length_of_100, family)
    with pytest.warns(
        ExportWarning, match="keeps to fewer sizes than the module answers: sequence_length from 2 to 99"
    ):
        manifest = bundle_of(model, tmp_path).manifest
    (said,) = manifest.provenance["narrowed"]
    assert re.search(r"at test_library_models\.py:\d+ `if asks\(input_ids\):`", said)
    assert said in (tmp_path / "bundle" / "README.md").read_text()
    ids = np.full((1, 100), 7, dtype=np.int64)
    with edgexf.load(tmp_path / "bundle") as session:
        session.run(input_ids=ids[:, :99], attention_mask=np.ones_like(ids[:, :99]))
        with pytest.raises(InputError, match="2 to 99 tokens a row, got 100"):
            session.run(input_ids=ids, attention_mask=np.ones_like(ids))


@pytest.mark.parametrize("asks", [a_batch_of_100, many_values, square, odd_lengths])
def test_where_no_length_bounds_the_branch_the_line_is_named(asks: Asks, tmp_path: Path) -> None:
    named = r"at test_library_models\.py:\d+ `if asks\(input_ids\):`; branch on no size, or give example_inputs"
    with pytest.raises(VerificationError, match=named):
        bundle_of(doubled_where(asks), tmp_path)


def test_a_branch_on_a_single_row_is_refused_by_its_condition(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="where batch_size >= 2 does not hold; branch on no size"):
        bundle_of(doubled_where(a_single_row), tmp_path)


def test_as_a_custom_module_the_same_model_keeps_to_fewer_batches(tmp_path: Path) -> None:
    model, ids = doubled_where(a_batch_of_100), torch.randint(4, 50, (2, 16))
    with pytest.warns(ExportWarning, match="batch_size from 1 to 99"):
        edgexf.export(model, example_inputs={"input_ids": ids}, output=tmp_path / "bundle", explain=(), max_length=64)


def test_one_size_of_two_axes_is_found(tmp_path: Path) -> None:
    with pytest.warns(
        ExportWarning, match=r"since logits differs where batch_size is 1, sequence_length is 11, .*asks"
    ):
        found = bundle_of(doubled_where(lambda ids: ids.shape[0] == 1 and ids.shape[1] == 11), tmp_path)
    assert found.manifest.limits.min_length == 12


class Same(transformers.BertForSequenceClassification):
    """Goes another way at even lengths, which changes no answer."""

    def forward(self, input_ids: Tensor, **others: Any) -> Any:
        found = super().forward(input_ids=input_ids, **others)
        if input_ids.shape[1] % 2 == 0:
            found.logits = found.logits.flip(0).flip(0)
        return found


def test_a_branch_that_changes_no_answer_is_kept_and_called_sampled(tmp_path: Path) -> None:
    manifest = bundle_of(Same(config("Bert", 1)).eval(), tmp_path).manifest
    assert (manifest.limits.min_length, manifest.limits.max_length) == (2, 130)
    assert "narrowed" not in manifest.provenance
    (said,) = manifest.provenance["sampled"]
    assert re.match(r"at test_library_models\.py:\d+ `if input_ids\.shape\[1\] % 2 == 0:`: \d+ sizes of 65", said)


class Head(nn.Linear):
    def forward(self, pooled: Tensor) -> Tensor:
        return super().forward(pooled) * (2 if pooled.shape[0] == 100 else 1)


def with_a_head(model: Any) -> None:
    model.classifier = Head(32, 2)


def with_a_hook(model: Any) -> None:
    def hook(_: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        return given[0] * 2 if given[0].shape[0] == 100 else given[0]

    model.classifier.register_forward_pre_hook(hook)


def with_a_forward(model: Any) -> None:
    forward = model.classifier.forward
    model.classifier.forward = lambda pooled: forward(pooled) * (2 if pooled.shape[0] == 100 else 1)


@pytest.mark.parametrize("change", [with_a_head, with_a_hook, with_a_forward])
def test_code_of_the_user_is_found_wherever_it_is(change: Callable[[Any], None], tmp_path: Path) -> None:
    model = small("Bert", HEAD)
    change(model)
    with pytest.raises(VerificationError, match=r"at test_library_models\.py:\d+ `.*shape\[0\] == 100"):
        bundle_of(model, tmp_path)


def test_conditions_of_the_library_itself_are_read(tmp_path: Path) -> None:
    """torch bounds each axis of a library model by the contract, but looks at no condition on two axes."""
    model = doubled_where(square)
    type(model).__module__ = type(model).forward.__module__ = "transformers.own"
    assert not choose(Request(model)).own_code
    with pytest.raises(VerificationError, match=r"at test_library_models\.py:\d+ `if asks\(input_ids\):`"):
        bundle_of(model, tmp_path)


def test_conditions_on_blocks_are_read_at_padded_lengths() -> None:
    shapes = shapes_of(choose(Request(small("Longformer", HEAD))), 4, True)
    fails = Condition("s1 != 25", {"s1": Symbol(0, 1)})
    lengths = np.arange(2, 129)
    holds = fails.holds(shapes, {"batch_size": np.full(len(lengths), 3), "sequence_length": lengths})
    assert lengths[~holds].tolist() == [97, 98, 99, 100]


@pytest.mark.parametrize("name", [variant.name for variant in VARIANTS if variant.reference])
def test_a_reference_model_holds_no_code_of_the_user(name: str) -> None:
    assert not choose(Request(variant=name)).own_code


@pytest.mark.parametrize(
    "family",
    ["Bert", "BigBird", "Camembert", "DistilBert", "Esm", "Funnel", "Longformer", "MPNet", "Nystromformer", "Reformer",
     "Roberta", "XLMRoberta"],
)  # fmt: skip
def test_a_library_model_holds_no_code_of_the_user(family: str) -> None:
    assert not choose(Request(small(family, HEAD))).own_code


class Reads(Encoder):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        found = super().forward(input_ids, attention_mask)
        return found * 2 if input_ids.shape[1] > 98 else found


def read_by(name: str) -> Any:
    model: Any = small_encoder(name, layers=1).eval()
    model.__class__ = Reads
    return model


def test_a_reference_model_with_code_of_the_user_keeps_to_fewer_bytes(tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="sequence_length from 2 to 98"):
        preprocess = bundle_of(read_by("linformer"), tmp_path).manifest.preprocess
    assert isinstance(preprocess, Bytes)
    assert preprocess.max_bytes == 97


def test_code_around_a_model_that_is_padded_as_a_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="code of your own may surround models whose lengths can be padded, got an"):
        bundle_of(doubled_where(square, "Funnel"), tmp_path)
