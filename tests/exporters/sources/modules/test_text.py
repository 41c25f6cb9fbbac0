"""Custom modules that read text: the tokenizer's arrays go to inputs of the same names, and its files into the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

import edgexf
from edgexf.errors import ExportError, InputError, UsageError

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat")


def tokenizer(**changes: Any) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names, **changes)


class Sentences(nn.Module):
    """Logits from the mean of words and segments, as many users write them; segments come first."""

    def __init__(self, words: int = len(WORDS)) -> None:
        super().__init__()
        self.words, self.types = nn.Embedding(words, 8), nn.Embedding(2, 8)
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, token_type_ids: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        seen = (self.words(input_ids) + self.types(token_type_ids)) * attention_mask[..., None]
        return {"logits": self.head(torch.tanh(self.inner(seen.sum(1) / attention_mask.sum(1, keepdim=True))))}


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(len(WORDS), 3)

    def forward(self, ids: Tensor) -> Tensor:
        answer: Tensor = self.words(ids)
        return answer


def examples(names: tuple[str, ...]) -> dict[str, Tensor]:
    ones = torch.ones(2, 5, dtype=torch.long)
    return {
        name: ones if name == "attention_mask" else torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]]) for name in names
    }


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    module, path = Sentences().eval(), tmp_path_factory.mktemp("text") / "bundle"
    given = examples(("token_type_ids", "input_ids", "attention_mask"))
    edgexf.export(module, example_inputs=given, tokenizer=tokenizer(model_max_length=40), output=path)
    return module, path


def test_texts_and_pairs_are_answered_as_the_module_answers_what_transformers_tokenizes(
    sentences: tuple[nn.Module, Path],
) -> None:
    module, path = sentences
    texts = ["the cat sat on a mat", "the", ("the cat", "a dog sat on the mat"), "a cat"]
    with edgexf.load(path) as session:
        assert session.manifest.limits.padding == "invariant"
        answers = session.predict(texts)
    found = [dict(answer.top) for answer in answers]
    assert [answer.batch for answer in answers] == [4, 4, 4, 4]  # lengths differ, and padding changes nothing
    for text, scores in zip(texts, found, strict=True):
        given = tokenizer()(
            *(text if isinstance(text, tuple) else (text,)), return_token_type_ids=True, return_tensors="pt"
        )
        with torch.no_grad():
            wanted = module(**given)["logits"].softmax(-1)[0].numpy()
        assert np.abs(np.array([scores[f"LABEL_{index}"] for index in range(3)]) - wanted).max() <= 1e-6


def test_a_text_over_the_tokenizers_limit_is_truncated_as_transformers_does_and_says_so(
    sentences: tuple[nn.Module, Path],
) -> None:
    module, path = sentences
    text = "the cat sat on a mat " * 20
    given = tokenizer(model_max_length=40)(text, truncation=True, return_token_type_ids=True, return_tensors="pt")
    with edgexf.load(path) as session:
        with pytest.raises(InputError, match="at most 40 tokens, got 122"):
            session.predict([text])
        (answer,) = session.predict([text], truncate=True)
    with torch.no_grad():
        wanted = module(**given)["logits"].softmax(-1)[0].numpy()
    assert answer.truncated
    assert np.abs(np.array([dict(answer.top)[f"LABEL_{index}"] for index in range(3)]) - wanted).max() <= 1e-6


def test_a_text_is_explained_word_by_word(sentences: tuple[nn.Module, Path]) -> None:
    with edgexf.load(sentences[1]) as session:
        why, outside = session.explain("the cat sat"), session.explain("the cat sat", method="occlusion")
    assert why.tokens == outside.tokens == ("[CLS]", "the", "cat", "sat", "[SEP]")
    assert np.isclose(why.explained, outside.explained, rtol=1e-4)
    assert np.count_nonzero(why.scores) == len(why.tokens)


def test_the_bundle_carries_all_that_the_tokenizer_saves(sentences: tuple[nn.Module, Path], tmp_path: Path) -> None:
    tokenizer(model_max_length=40).save_pretrained(tmp_path)
    for file in tmp_path.iterdir():
        assert json.loads((sentences[1] / file.name).read_text()) == json.loads(file.read_text())
    assert {"tokenizer.json", "tokenizer_config.json"} <= {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("module", "given", "error", "sentence"),
    [
        (
            Bag(),
            {"ids": torch.ones(2, 5, dtype=torch.long)},
            UsageError,
            "input_ids, attention_mask, .* got the inputs ids",
        ),
        (Sentences(5), examples(("token_type_ids", "input_ids", "attention_mask")), ExportError, "got the id 9"),
    ],
)
def test_a_tokenizer_that_does_not_fit_the_module_is_a_sentence(
    module: nn.Module, given: dict[str, Tensor], error: type[Exception], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        edgexf.export(module.eval(), example_inputs=given, tokenizer=tokenizer(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
