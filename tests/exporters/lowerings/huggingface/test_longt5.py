"""The encoder of LongT5: both kinds of attention against the library, also where padding is read, and broken lowerings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import check, inputs, small
from torch import Tensor, nn

import edgexf
from edgexf.errors import ExportError, VerificationError
from edgexf_exporters.lowerings.huggingface import longt5
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.float64 import worst_difference

pytestmark = pytest.mark.slow  # exports or runs many models

SOFTMAX = (
    1e-5  # the library's norms and softmax are float32, also in a model of float64: 1e-7, and what layers make of it
)
KINDS = ("local", "transient-global")
SIZES = {"local_radius": 7, "global_block_size": 4}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longt5, "LONGEST", 150)


def built(kind: str, **changes: Any) -> Any:
    return small("LongT5", "EncoderModel", 2, encoder_attention_type=kind, **{**SIZES, **changes})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes", [{}, {"feed_forward_proj": "gated-gelu", "local_radius": 11, "global_block_size": 8}]
)
def test_every_configuration_is_the_library(kind: str, changes: dict[str, Any]) -> None:
    assert worst_difference(from_model(built(kind, **changes))) <= SOFTMAX


def test_transient_globals_are_explained_at_lengths_never_traced(tmp_path: Path) -> None:
    model = built("transient-global")
    bundle = edgexf.export(model, output=tmp_path / "out")
    with edgexf.load(bundle.path) as session:
        for length in (2, 37, 150):
            given = inputs(model, length)
            check(bundle.path, model, given)
            arrays = {name: value.numpy() for name, value in given.items()}
            hidden = session.run(**arrays)["last_hidden_state"]
            found = session.run_explain(**arrays, target=hidden[:, 0])
            assert not found["relevance"][arrays["attention_mask"] == 0].any()
            assert np.abs(found["relevance"]).max() > 0


class Read(nn.Module):
    """A head that reads every token, padding too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = built("transient-global")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


def test_a_pair_goes_the_general_way_with_a_lowered_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The general way takes its longest text from the config: 197 tokens here."""
    monkeypatch.setattr(longt5, "LONGEST", 300)
    model = small("LongT5", "ForConditionalGeneration", 1, **SIZES)
    manifest = edgexf.export(model, explain=(), output=tmp_path / "out").manifest
    assert manifest.provenance["architecture"] == "LongT5ForConditionalGeneration"
    assert [tensor.name for tensor in manifest.variants[0].inputs] == [
        "input_ids",
        "attention_mask",
        "decoder_input_ids",
    ]
    assert manifest.grid["worst"] <= 1e-4


def test_hidden_tokens_answer_as_in_the_library_above_and_below_a_global_block(tmp_path: Path) -> None:
    """huggingface/transformers#18243: the number of global keys became that of the traced length."""
    module = Read().eval()
    given = inputs(module.body, 21)
    example = given["input_ids"], given["attention_mask"]
    bundle = edgexf.export(module, example_inputs=example, explain=(), max_length=120, output=tmp_path / "out")
    with edgexf.load(bundle.path) as session:
        for length in (2, 3, 4, 5, 8, 13, 120):
            given = inputs(module.body, length)
            with torch.no_grad():
                wanted = module(**given).numpy()
            (found,) = session.run(**{name: value.numpy() for name, value in given.items()}).values()
            assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_global_blocks_that_the_library_does_not_find_exactly_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longt5, "LONGEST", 16_384)
    with pytest.raises(ExportError, match="got 25, whose sum"):
        from_model(built("transient-global", global_block_size=25))
    assert from_model(built("local", global_block_size=25)).limits.max_length == 16_384


def test_a_lowering_that_is_broken_never_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens behind the last whole block are summed nowhere."""
    right = torch.minimum
    monkeypatch.setattr(
        longt5.torch, "minimum", lambda one, two: torch.where(one <= two, one, -1) if two.ndim == 2 else right(one, two)
    )
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(built("transient-global"), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
