"""BigBird-Pegasus: its encoder alone and in pairs, on both sides of the switch to full attention, and broken lowerings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import check, inputs, small
from torch import Tensor

import edgexf
from edgexf.errors import ExportError, VerificationError
from edgexf_exporters.lowerings.huggingface import bigbird_pegasus
from edgexf_exporters.lowerings.huggingface.bigbird import TokenMasks
from edgexf_exporters.lowerings.swap import lowered
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.float64 import worst_difference

BLOCK, SWITCH, LONGEST = 4, 36, 61  # of the small model, in tokens
LENGTHS = (
    2,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    21,
    SWITCH - 1,
    SWITCH,
    SWITCH + 1,
    SWITCH + BLOCK,
    SWITCH + BLOCK + 1,
    LONGEST,
)
ROUNDING = 1e-13
PLAIN = {"use_bias": True, "scale_embedding": False, "activation_function": "relu", "max_position_embeddings": 64}


def built(head: str, **changes: Any) -> Any:
    return small("BigBirdPegasus", head, **changes)


def answer(model: Any, given: dict[str, Tensor]) -> Any:
    """What a new model answers: a short input turns a model to full attention for good."""
    with torch.no_grad():
        return copy.deepcopy(model)(**given)


@pytest.mark.parametrize(
    ("head", "changes"),
    [
        ("Encoder", {}),
        ("Encoder", {"num_random_blocks": 1, "block_size": 3}),
        ("ForConditionalGeneration", PLAIN),
        ("ForQuestionAnswering", {}),
    ],
)
def test_every_configuration_is_the_library(head: str, changes: dict[str, Any]) -> None:
    assert 0 < worst_difference(from_model(built(head, **changes))) <= ROUNDING


def test_the_librarys_plan_names_the_first_block_at_every_length() -> None:
    """In eval mode; a seed of numpy counts in training. 1,024 is one of the lengths with a plan of their own."""
    attention = built("Encoder", max_position_embeddings=1024).layers[0].self_attn.self
    for length in (SWITCH + BLOCK, 1024):
        plan = attention._bigbird_block_rand_mask(length, length, BLOCK, BLOCK, 2, last_idx=1024)
        parts = attention._get_rand_attn_plan(length, BLOCK, 2)
        heads = attention._bigbird_block_rand_mask_with_head(length, length, BLOCK, BLOCK, 4, *parts)
        assert all(one.shape == (length // BLOCK - 2, 2) and not one.any() for one in (plan, *heads))


@pytest.mark.slow
def test_the_encoder_answers_and_explains_at_every_length(tmp_path: Path) -> None:
    model = built("Encoder")
    bundle = edgexf.export(model, output=tmp_path / "out")
    assert bundle.manifest.limits.padding == f"to_multiple({BLOCK})"
    with edgexf.load(bundle.path) as session:
        for length in LENGTHS:
            given = inputs(model, length)
            check(bundle.path, copy.deepcopy(model), given)
            arrays = {name: value.numpy() for name, value in given.items()}
            hidden = session.run(**arrays)["last_hidden_state"]
            alone = session.run(**{name: value[1:2] for name, value in arrays.items()})["last_hidden_state"]
            np.testing.assert_allclose(alone, hidden[1:2], atol=1e-5 * np.abs(hidden).max())
            scores = session.run_explain(**arrays, target=hidden[:, 0])["relevance"]
            assert not scores[arrays["attention_mask"] == 0].any()
            assert np.abs(scores).max() > 0


def test_a_head_that_is_not_listed_goes_the_general_way_with_a_lowered_encoder() -> None:
    """The general way begins with a short call, which must not turn the model that the grid asks."""
    model = built("ForSequenceClassification")
    source = from_model(model)
    assert source.variant.attention == "hf-bigbirdpegasus"
    assert model.get_encoder().attention_type == "block_sparse"
    for length in LENGTHS:
        given = inputs(model, length)
        given["input_ids"][:, -1] = model.config.eos_token_id
        wanted = answer(model, given).logits
        with torch.no_grad(), lowered(model, source.limits, inside=True):
            found = model(**given).logits
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_an_input_is_as_long_as_the_positions_where_the_library_has_a_plan() -> None:
    assert from_model(built("Encoder")).limits.max_length == LONGEST
    model = built("Encoder", max_position_embeddings=1023)
    assert from_model(model).limits.max_length == 1020
    with pytest.raises(RuntimeError, match="shape"):
        answer(model, inputs(model, 1021))


def test_a_model_that_was_turned_to_full_attention_is_refused() -> None:
    model = built("Model")
    model(**inputs(model, 9))
    with pytest.raises(
        ExportError, match="BigBird-Pegasus must attend block-sparsely, got attention_type original_full"
    ):
        from_model(model)


def test_a_decoder_that_reads_behind_the_end_of_a_source_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigbird_pegasus.Decoder, "forward", lambda own, *args, **kwargs: own.original(*args, **kwargs))
    assert worst_difference(from_model(built("ForConditionalGeneration"))) > 1e-3


@pytest.mark.slow
def test_a_lowering_that_is_broken_never_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block 0 counts once, as if no random place named it."""
    right = TokenMasks.of

    def counts_once(mask: Tensor, hidden: Tensor, config: Any, frame: Any) -> TokenMasks:
        config = copy.copy(config)
        config.num_random_blocks = 0
        return right(mask, hidden, config, frame)

    monkeypatch.setattr(TokenMasks, "of", counts_once)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(built("Encoder"), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
