"""Folders of checkpoints: weights that no head uses, weights that are missing, files of older libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from click.testing import CliRunner
from families import check, inputs, small
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor

from edgexf.cli import main
from edgexf.errors import ExportError
from edgexf_exporters.sources.checkpoint import from_checkpoint

Weights = dict[str, Tensor]


def saved(family: str, head: str, folder: Path, change: Callable[[Weights], Weights], architecture: str = "") -> Path:
    """Saves a small model whose file of weights `change` changed; the config may name another architecture."""
    small(family, head).save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file({key: value.clone() for key, value in change(load_file(file)).items()}, file, metadata={"format": "pt"})
    if architecture:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    return folder


def as_published_in_2018(weights: Weights) -> Weights:
    """bert-base-uncased: all heads of the training, the numbers of the positions, and older names of norms."""
    renamed = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for key, value in weights.items()
    }
    return {**renamed, "bert.embeddings.position_ids": torch.arange(130)[None]}


def test_a_published_checkpoint_exports_and_the_summary_names_what_no_head_uses(tmp_path: Path) -> None:
    folder = saved("Bert", "ForPreTraining", tmp_path / "model", as_published_in_2018, "BertForMaskedLM")
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["export", "--model", str(folder), "--explain", "none", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert (
        "change no answer: bert.pooler.dense.bias, bert.pooler.dense.weight, cls.seq_relationship.bias" in done.output
    )
    ignored = json.loads((out / "edgexf.json").read_text())["provenance"]["ignored"]
    assert {"cls.seq_relationship.bias", "cls.seq_relationship.weight"} < set(ignored)
    eager = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    check(out, eager, inputs(eager, 20))


@pytest.mark.parametrize(
    ("family", "architecture", "more", "kept"),
    [
        ("Esm", "EsmForMaskedLM", "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq", True),
        ("Roberta", "RobertaForMaskedLM", "classifier.out_proj.weight", True),
        ("Roberta", "RobertaForMaskedLM", "roberta.encoder.layer.7.output.dense.weight", False),
        ("Bert", "BertForMaskedLM", "bert.encoder.layer.0.attention.self.distance_embedding.weight", False),
    ],
)
def test_weights_of_other_heads_are_unused_and_layers_that_the_config_does_not_name_are_refused(
    family: str, architecture: str, more: str, kept: bool, tmp_path: Path
) -> None:
    folder = saved(family, "ForMaskedLM", tmp_path, lambda weights: {**weights, more: torch.zeros(4)}, architecture)
    if kept:
        assert from_checkpoint(str(folder)).provenance["ignored"] in ([more], [])
    else:
        with pytest.raises(ExportError, match=rf"as its config says, got extra: {more}"):
            from_checkpoint(str(folder))


@pytest.mark.parametrize("fault", ["missing", "of another shape"])
def test_a_weight_that_is_missing_or_of_another_shape_is_an_error(fault: str, tmp_path: Path) -> None:
    key = "roberta.encoder.layer.0.output.dense.weight"

    def change(weights: Weights) -> Weights:
        changed = {**weights, key: weights[key][:, :5]}
        return changed if fault == "of another shape" else {name: changed[name] for name in changed if name != key}

    with pytest.raises(ExportError, match=f"got {fault}: {key}"):
        from_checkpoint(str(saved("Roberta", "ForMaskedLM", tmp_path, change)))


@pytest.mark.parametrize(
    ("tokenizer", "sentences", "longest", "setting"),
    [
        (None, None, 130, "the model's positions"),
        (int(1e30), None, 130, "the model's positions"),
        (512, 1000, 130, "the model's positions"),
        (40, 256, 130, "the model's positions"),  # the library's own limit is read instead of the tokenizer's
        (40, 60, 60, "max_seq_length of sentence_bert_config.json"),
        (40, 20, 20, "max_seq_length of sentence_bert_config.json"),
        (1, None, 2, "model_max_length of the tokenizer"),
    ],
)
def test_the_longest_input_is_the_limit_that_a_checkpoint_names(
    tokenizer: int | None, sentences: int | None, longest: int, setting: str, tmp_path: Path
) -> None:
    small("Bert", "Model").save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # noqa: S106
    limit = {} if tokenizer is None else {"model_max_length": tokenizer}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **limit).save_pretrained(tmp_path)
    if sentences is not None:
        (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": sentences}))
    source = from_checkpoint(str(tmp_path))
    assert (source.limits.max_length, source.provenance["longest"]) == (longest, f"by {setting}")
