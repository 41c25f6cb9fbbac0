"""Models of transformers whose family or head is not listed: from a folder or from memory to answers, or to one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import TOLERANCE
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import edgexf
from edgexf.bundle.folder import Bundle
from edgexf.cli import main
from edgexf.errors import EdgexfError, ExportError
from edgexf_exporters.answers import named_outputs

pytestmark = pytest.mark.slow  # exports several models

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a")
ALBERT = {
    "vocab_size": 40, "embedding_size": 16, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24,
    "num_hidden_layers": 1, "max_position_embeddings": 48, "id2label": {0: "no", 1: "yes", 2: "both"},
}  # fmt: skip
VIT = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16,
    "patch_size": 8, "id2label": {0: "cat", 1: "dog"},
}  # fmt: skip
GPT2 = {"vocab_size": 40, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 48}
T5 = {
    "vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "n_positions": 48,
}  # fmt: skip
BERT = {
    "vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 1,
    "max_position_embeddings": 48,
}  # fmt: skip


def small(cls: Any, values: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = cls(cls.config_class(**values)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def agrees(bundle: Bundle, model: Any, **given: Tensor) -> None:
    """Compares each output with the model's, relative to its largest value."""
    with edgexf.load(bundle.path) as session:
        found = session.run(**{name: tensor.numpy() for name, tensor in given.items()})
    with torch.no_grad():
        wanted = named_outputs(model(**given))
    for name, output in found.items():
        reference = wanted[name].numpy()
        assert np.abs(output - reference).max() <= TOLERANCE * np.abs(reference).max()


def test_a_family_that_is_not_listed_reads_text_by_its_tokenizer(tmp_path: Path) -> None:
    model = small(transformers.AlbertForSequenceClassification, ALBERT)
    model.save_pretrained(tmp_path / "model")
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", model_max_length=32)  # noqa: S106
    tokenizer.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["export", "--model", str(tmp_path / "model"), "--explain", "none", "-o", str(out)])
    assert done.exit_code == 0, done.output
    manifest = edgexf.load(out).manifest
    assert (manifest.task, manifest.labels) == ("text-classification", ("no", "yes", "both"))
    assert (manifest.limits.max_length, manifest.limits.padding) == (32, "invariant")
    said = CliRunner().invoke(main, ["run", str(out), "--text", "a good film"])
    assert said.exit_code == 0, said.output
    with torch.no_grad():
        logits = model(**tokenizer("a good film", return_tensors="pt")).logits
    answer = json.loads(said.output)
    assert answer["label"] == manifest.labels[int(logits.argmax())]
    assert answer["score"] == pytest.approx(float(logits.softmax(-1).max()), rel=TOLERANCE)


def test_an_image_keeps_the_size_of_its_config_and_any_batch(tmp_path: Path) -> None:
    model = small(transformers.ViTForImageClassification, VIT)
    bundle = edgexf.export(model, output=tmp_path / "out", explain=())
    assert (bundle.manifest.task, bundle.manifest.labels) == ("image-classification", ("cat", "dog"))
    assert bundle.manifest.variants[0].inputs[0].shape == ("batch_size", 3, 16, 16)
    agrees(bundle, model, pixel_values=torch.randn(5, 3, 16, 16))


@pytest.mark.parametrize(
    ("cls", "values", "task", "written"),
    [
        (transformers.GPT2LMHeadModel, GPT2, "text-generation", 0),
        (transformers.T5ForConditionalGeneration, T5, "text2text-generation", 1),
        (transformers.BertLMHeadModel, {**BERT, "is_decoder": True}, "text-generation", 0),
    ],
)
def test_a_language_model_answers_at_lengths_never_traced(
    cls: Any, values: dict[str, Any], task: str, written: int, tmp_path: Path
) -> None:
    """The last one is a head that a listed family does not export."""
    model = small(cls, values)
    bundle = edgexf.export(model, output=tmp_path / "out", explain=())
    assert bundle.manifest.task == task
    assert bundle.manifest.provenance["architecture"] == cls.__name__
    ids = torch.arange(3 * 29).reshape(3, 29) % 40
    decoded = {"decoder_input_ids": ids[:, :written]} if written else {}
    types = {"token_type_ids": torch.zeros_like(ids)} if "token_type_ids" in inputs_of(bundle) else {}
    agrees(bundle, model, input_ids=ids, attention_mask=torch.ones_like(ids), **types, **decoded)


def test_texts_and_images_of_a_dual_encoder_have_axes_of_their_own(tmp_path: Path) -> None:
    tower = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 1}
    words = {**tower, "vocab_size": 40, "max_position_embeddings": 24, "eos_token_id": 39, "bos_token_id": 38}
    pixels = {**tower, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=words, vision_config=pixels, projection_dim=8)
    model = transformers.CLIPModel(config).eval()
    bundle = edgexf.export(model, output=tmp_path / "out", explain=())
    ids = torch.arange(4 * 9).reshape(4, 9) % 38
    agrees(bundle, model, input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.randn(3, 3, 16, 16))


def inputs_of(bundle: Bundle) -> set[str]:
    return {tensor.name for tensor in bundle.manifest.variants[0].inputs}


class Silent(transformers.ViTModel):
    def forward(self, pixel_values: Tensor) -> Any:  # noqa: ARG002 (an answer without tensors)
        return None


class Unlike(transformers.GPT2Model):
    """Looks for the trace in a way that edgexf does not answer."""

    def forward(self, input_ids: Tensor) -> Any:
        hidden = super().forward(input_ids, use_cache=False).last_hidden_state
        return hidden + (1.0 if hasattr(input_ids.shape[1], "node") else 0.0)


class Asking(transformers.ViTModel):
    def forward(self, pixel_values: Tensor, grid_thw: Tensor) -> Any:
        return super().forward(pixel_values).last_hidden_state + grid_thw.sum()


@pytest.mark.parametrize(
    ("cls", "values", "sentence"),
    [
        (transformers.GPT2ForSequenceClassification, GPT2, "GPT2ForSequenceClassification: .*no padding token.*as a module"),
        (Unlike, GPT2, r"Unlike: a graph must agree with its model within 0\.0001"),
        (Silent, VIT, "Silent: a module must answer with tensors, got NoneType"),
        (Asking, VIT, "Asking: .*got grid_thw in its forward; export it as a module"),
        (transformers.ResNetModel, {"hidden_sizes": [8], "depths": [1], "embedding_size": 8}, "ResNetModel: .*save its image processor"),
    ],
)  # fmt: skip
def test_what_the_general_way_cannot_export_is_a_sentence_that_names_the_class(
    cls: Any, values: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgexfError, match=sentence) as caught:
        edgexf.export(small(cls, values), output=tmp_path / "out", explain=())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def with_type(**values: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(values))
        (folder / "model.safetensors").write_bytes(b"")

    return write


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (with_type(model_type="own", auto_map={"AutoConfig": "code.Config"}), "got own with code of its own in .*trust_remote_code"),
        (with_type(model_type="bert", auto_map={"AutoModel": "code.Model"}), "got bert with code of its own in .*take auto_map out"),
        (with_type(model_type="own"), r"model_type must be one of transformers .*got own"),
        (with_type(model_type="vit", architectures=["BertModel"]), "name an architecture of its model_type vit"),
        pytest.param(
            with_type(model_type="detr", architectures=["DetrForObjectDetection"]), r"DetrForObjectDetection.*timm",
            marks=pytest.mark.skipif(find_spec("timm") is not None, reason="the package that must be missing is there"),
        ),
    ],
)  # fmt: skip
def test_a_folder_that_no_class_of_transformers_reads_is_a_sentence(
    write: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model")
    with pytest.raises(ExportError, match=sentence) as caught:
        edgexf.export(str(tmp_path / "model"), output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_relative_positions_that_transformers_ignores_are_refused() -> None:
    model = small(transformers.AlbertModel, {**ALBERT, "position_embedding_type": "relative_key"})
    with pytest.raises(ExportError, match=r"AlbertModel: .*'relative_key', which transformers .* ignores"):
        edgexf.export(model, output="nowhere")
