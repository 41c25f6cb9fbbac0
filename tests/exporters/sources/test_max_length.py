"""The longest input that a caller chooses for a model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner
from families import small
from small import small_spec
from tokenizers import Tokenizer, models

import edgexf
from edgexf.cli import main
from edgexf.errors import UsageError
from edgexf.models import build
from edgexf_exporters.sources.checkpoint import from_checkpoint, from_model

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 50}


def albert(positions: int = 5000, **values: Any) -> Any:
    """A model of a family that goes the general way."""
    torch.manual_seed(0)
    config = transformers.AlbertConfig(**{**SIZES, "embedding_size": 8, "max_position_embeddings": positions}, **values)
    return transformers.AlbertModel(config).eval()


def test_a_shorter_contract_of_a_listed_family_is_verified_to_its_end(tmp_path: Path) -> None:
    small("Bert", "ForSequenceClassification").save_pretrained(tmp_path / "model")
    options = [
        "--model",
        str(tmp_path / "model"),
        "--max-length",
        "40",
        "--explain",
        "none",
        "-o",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(main, ["export", *options])
    assert done.exit_code == 0, done.output
    assert "longest input: 40 tokens, by max_length" in done.output
    with edgexf.load(tmp_path / "out") as session:
        assert session.manifest.limits.max_length == max(row["length"] for row in session.manifest.grid["rows"]) == 40
        with pytest.raises(edgexf.errors.InputError, match="40"):
            session.run(input_ids=torch.ones(1, 41, dtype=torch.int64).numpy())


def test_a_family_that_is_not_listed_is_tried_beyond_4096_tokens_if_its_caller_asks_for_it() -> None:
    assert from_model(albert()).limits.max_length == 4096
    longer = from_model(albert(), max_length=4500)
    assert (longer.limits.max_length, longer.provenance["longest"]) == (4500, "by max_length")
    assert from_model(albert(), max_length=30).limits.max_length == 30


@pytest.mark.parametrize(
    ("model", "most", "match"),
    [
        (small("Bert", "Model"), 131, "at most 130, by the model's positions, for this model, got 131"),
        (small("Bert", "Model"), 1, "at least 2, for this model, got 1"),
        (small("BigBird", "Model"), 20, "at least "),
        (albert(60), 61, "AlbertModel: max_length must be at most 60, by the config"),
        (albert(60), 11, "at least 12"),
        (small("Nystromformer", "Model", 1), 30, "at least 48"),
    ],
)
def test_a_length_that_the_model_does_not_take_is_refused(model: Any, most: int, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        from_model(model, max_length=most)


def test_what_a_model_answers_bounds_it_too() -> None:
    """The config names more positions than the table has, as a config that was edited by hand."""
    model = albert(60)
    model.config.max_position_embeddings = 100
    with pytest.raises(
        UsageError, match="at most 60, by what the model answers on this machine, for this model, got 80"
    ):
        from_model(model, max_length=80)


def test_a_text_alone_is_bounded() -> None:
    """The decoder has fewer positions than the encoder, and its axis comes first in the limits of the bundle."""
    sizes = {**SIZES, "num_hidden_layers": 1}
    encoder = transformers.BertConfig(**sizes, max_position_embeddings=60)
    decoder = transformers.BertConfig(**sizes, max_position_embeddings=40, is_decoder=True, add_cross_attention=True)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    torch.manual_seed(0)
    source = from_model(transformers.EncoderDecoderModel(config).eval(), max_length=50)
    assert source.module_inputs is not None
    assert {axis.name: axis.most for axis in source.module_inputs.signature.axes} | {"batch_size": 0} == {
        "batch_size": 0, "sequence_length": 50, "decoder_sequence_length": 40,
    }  # fmt: skip


def test_a_reference_encoder_has_its_length_already() -> None:
    with pytest.raises(UsageError, match="max_length, image_size and tokenizer belong to a model of transformers"):
        edgexf.export(build(small_spec("linformer")), max_length=20)


def test_the_limit_of_a_tokenizer_is_one_of_the_model(tmp_path: Path) -> None:
    small("Bert", "Model").save_pretrained(tmp_path)
    fast = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # noqa: S106
    transformers.PreTrainedTokenizerFast(tokenizer_object=fast, model_max_length=50).save_pretrained(tmp_path)
    assert from_checkpoint(str(tmp_path), max_length=50).limits.max_length == 50
    with pytest.raises(UsageError, match="at most 50, by model_max_length of the tokenizer"):
        from_checkpoint(str(tmp_path), max_length=51)


def test_a_model_of_images_has_no_length() -> None:
    values = {**SIZES, "image_size": 16, "patch_size": 8}
    values.pop("vocab_size")
    model = transformers.ViTModel(transformers.ViTConfig(**values)).eval()
    with pytest.raises(UsageError, match="a model that reads pixel_values"):
        from_model(model, max_length=40)
