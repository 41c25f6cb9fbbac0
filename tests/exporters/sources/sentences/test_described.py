"""Checkpoints of sentence-transformers in every layout, and those that edgexf can't compute."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentences
import torch

from edgexf import names
from edgexf.errors import ExportError
from edgexf_exporters.sources.checkpoint import from_checkpoint
from edgexf_exporters.sources.sentences.described import FLAGS, described
from edgexf_exporters.sources.sentences.source import lower_case

TOLERANCE = 1e-5  # of values around 1 in float32
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sentence_transformers.sentence_transformer.modules import Dense, Dropout, LayerNorm, Normalize

    torch.manual_seed(0)
    layers = [Dense(64, 24), Dropout(), LayerNorm(24), Dense(24, 16, activation_function=torch.nn.GELU()), Normalize()]
    settings: dict[str, Any] = {"truncate_dim": 12, "similarity_fn_name": "dot", "default_prompt_name": "query"}
    folder = tmp_path_factory.mktemp("sentences") / "model"
    return sentences.save(folder, ("cls", "mean"), layers, prompts=sentences.PROMPTS, **settings)


def embedded(folder: Path, texts: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """The embeddings of the untouched source: its module on the tokens of the library, without a prompt."""
    source = from_checkpoint(str(folder))
    given = sentences.tokenizer()(list(texts), padding=True, return_tensors="pt")
    given[names.TOKEN_TYPE_IDS] = torch.zeros_like(given[names.INPUT_IDS])
    with torch.no_grad():
        return source.answer({name: given[name] for name in source.inputs})[names.SENTENCE_EMBEDDING].numpy()


def test_a_checkpoint_gives_the_embeddings_of_the_library(checkpoint: Path) -> None:
    library = sentences.library(checkpoint)
    library.truncate_dim = None
    wanted = library.encode(list(sentences.TEXTS), prompt="")
    assert np.abs(embedded(checkpoint, sentences.TEXTS) - wanted).max() <= TOLERANCE


def test_the_layout_and_the_names_of_the_first_versions_are_read(checkpoint: Path, tmp_path: Path) -> None:
    old = sentences.in_old_layout(checkpoint, tmp_path / "old", FLAGS)
    assert np.array_equal(embedded(old, sentences.TEXTS), embedded(checkpoint, sentences.TEXTS))
    source = from_checkpoint(str(old))
    assert (source.name, source.limits.max_length) == ("old", sentences.LONGEST)
    assert source.provenance["sentences"] == "Pooling (cls, mean), Dense, Dropout, LayerNorm, Dense, Normalize"


def test_what_is_left_to_a_reader_is_in_the_source(checkpoint: Path) -> None:
    about = from_checkpoint(str(checkpoint)).sentences
    assert about is not None
    assert about.prompts == {"document": "", **sentences.PROMPTS}
    assert (about.default_prompt, about.include_prompt, about.normalised) == ("query", True, True)
    assert (about.dimensions, about.similarity) == (12, "dot")


def test_another_task_takes_the_model_of_transformers_alone(checkpoint: Path) -> None:
    with pytest.raises(ExportError, match="missing"):  # the checkpoint holds no head for masked words
        from_checkpoint(str(checkpoint), task="fill-mask")


def edited(name: str, change: Callable[[Any], Any]) -> Change:
    """Changes a JSON file of a checkpoint."""

    def edit(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))

    return edit


def retyped(place: int, kind: str) -> Change:
    return edited(
        "modules.json", lambda found: [{**one, **({"type": kind} if one["idx"] == place else {})} for one in found]
    )


def moved(place: int, path: str) -> Change:
    return edited(
        "modules.json", lambda found: [{**one, **({"path": path} if one["idx"] == place else {})} for one in found]
    )


WRONG: dict[str, tuple[Change, str]] = {
    "code of its own": (retyped(0, "custom_st.Transformer"), "custom_st.Transformer"),
    "a sparse module": (retyped(1, "sentence_transformers.sparse_encoder.models.SpladePooling"), "SpladePooling"),
    "no layer": (retyped(2, "sentence_transformers.models.LSTM"), "LSTM"),
    "no pooling": (edited("modules.json", lambda found: found[:1]), "Transformer"),
    "no list": (edited("modules.json", lambda _: {}), "list of objects"),
    "a folder outside": (moved(2, "../2_Dense"), "'../2_Dense'"),
    "an unknown pooling": (edited("1_Pooling/config.json", lambda found: {**found, "pooling_mode": "median"}), "median"),
    "another width": (edited("1_Pooling/config.json", lambda found: {**found, "embedding_dimension": 8}), "for 8"),
    "an unknown activation": (
        edited("2_Dense/config.json", lambda found: {**found, "activation_function": "os.system"}), "os.system",
    ),
    "a layer of tokens": (
        edited("2_Dense/config.json", lambda found: {**found, "module_input_name": "token_embeddings"}), "token_embeddings",
    ),
    "another size of weights": (edited("2_Dense/config.json", lambda found: {**found, "out_features": 8}), "2_Dense"),
    "no weights": (lambda folder: (folder / "2_Dense/model.safetensors").unlink(), "pytorch_model.bin, got none in 2_Dense"),
    "a cut that is too long": (
        edited("config_sentence_transformers.json", lambda found: {**found, "truncate_dim": 99}), "99",
    ),
    "another output": (
        edited("sentence_bert_config.json", lambda found: {**found, "modality_config": {"image": {}}}), "no method",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_checkpoint_that_edgexf_cannot_compute_is_refused_in_one_sentence(
    what: str, checkpoint: Path, tmp_path: Path
) -> None:
    change, got = WRONG[what]
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    change(folder)
    with pytest.raises(ExportError, match=got) as error:
        from_checkpoint(str(folder))
    assert str(error.value).count(".\n") == 0
    assert str(error.value).endswith(".")


def test_weights_of_a_layer_are_read_from_a_pickle_of_tensors_alone(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    weights = load_file(folder / "2_Dense/model.safetensors")
    (folder / "2_Dense/model.safetensors").unlink()
    torch.save(weights, folder / "2_Dense/pytorch_model.bin")
    assert np.array_equal(embedded(folder, sentences.TEXTS), embedded(checkpoint, sentences.TEXTS))
    torch.save({**weights, "code": print}, folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(ExportError, match="2_Dense"):
        from_checkpoint(str(folder))


def test_a_checkpoint_of_another_kind_is_none_of_sentences(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    edited("config_sentence_transformers.json", lambda found: {**found, "model_type": "CrossEncoder"})(folder)
    assert described(str(folder)) is None
    (folder / "modules.json").unlink()
    assert described(str(folder)) is None


def test_a_tokenizer_in_lower_case_reads_as_the_librarys(checkpoint: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    edited("sentence_bert_config.json", lambda found: {**found, "do_lower_case": True})(folder)
    mine = Tokenizer.from_str(from_checkpoint(str(folder)).files[names.TOKENIZER_FILE].decode())
    wanted = sentences.library(folder).tokenizer(["The CAT sat"])["input_ids"][0]
    assert mine.encode("The CAT sat").ids == wanted != sentences.tokenizer()(["The CAT sat"])["input_ids"][0]
    assert lower_case({}) == {}
