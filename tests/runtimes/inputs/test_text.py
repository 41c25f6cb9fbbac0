"""Text through the tokenizer in a bundle: arrays, labels, windows, offsets, and refused inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import HAS_TORCH, Kept
from small import prompt
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors

import edgexf
from edgexf.cli import main
from edgexf.errors import BundleError, ExportError, InputError, UsageError
from edgexf.passes.quantize.sample import TEXTS
from edgexf.pipeline.measure_mode import seen_inputs
from edgexf.report.terminal.explanation import explanation_text
from edgexf_runtimes.inputs.text import Tokenizer
from edgexf_runtimes.measure.calibration import stream, whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

if HAS_TORCH:
    import torch
    from families import small

pytestmark = pytest.mark.slow  # exports or runs many models

WORDS = ("<s>", "<pad>", "</s>", "<unk>", *(f"w{index}" for index in range(40)), "straße", "日本", "day")
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="compares with the eager model, or refuses to export one")


def word_tokenizer() -> Backend:
    """Makes a word tokenizer with RoBERTa's special tokens.

    Its file holds settings for truncation and padding, as after a training.
    """
    backend = Backend(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))  # noqa: S106
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    backend.enable_truncation(5)
    backend.enable_padding(length=9, pad_id=1, pad_token="<pad>")  # noqa: S106
    return backend


def tokenizer() -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast  # it needs torch

    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=word_tokenizer(), **names)


@pytest.fixture(scope="module")
def classifier(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a Longformer that reads text of at most 128 tokens, with an explain graph."""

    def export(path: Path) -> None:
        checkpoint = tmp_path_factory.mktemp("text") / "checkpoint"
        small("Longformer", "ForSequenceClassification").save_pretrained(checkpoint)
        tokenizer().save_pretrained(checkpoint)
        edgexf.export(checkpoint, output=path)

    return kept("text", export)


def test_layers_are_watched_on_texts_and_calibration_data_as_they_come(classifier: Path, tmp_path: Path) -> None:
    """Layers are observed on padded rows, because padding changes the inputs of a layer at run time.

    The calibration of fixed ranges uses rows of whole blocks, without padding.
    """
    path = tmp_path / "calibration.txt"
    path.write_text("w1\nw1 w2 w3 w4")
    with edgexf.load(classifier) as session:
        rows, seen = list(stream(session, path)), seen_inputs(session, path, [])
        short, long = (whole(session, row)["input_ids"].tolist() for row in rows)
        assert session.manifest.limits.block == 4
    first, second = (row["input_ids"][0].tolist() for row in rows)
    assert (len(first), len(second)) == (3, 6)
    assert len(seen) == len(TEXTS) + 2
    assert [row["input_ids"][0].tolist() for row in seen[-2:]] == [first, second]
    assert short == [[*first, first[0]]]  # the row is repeated until it fills a block
    assert long == [second[:4]]


def logits(*words: str) -> np.ndarray[Any, Any]:
    ids = torch.tensor([[0, *(WORDS.index(word) for word in words), 2]])
    with torch.no_grad():
        found: np.ndarray[Any, Any] = small("Longformer", "ForSequenceClassification")(input_ids=ids).logits[0].numpy()
    return found


def softmax(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.exp(values) / np.exp(values).sum()


@needs_torch
def test_a_text_gets_the_models_label_and_score(classifier: Path) -> None:
    texts = {"w1 w2 W3 Straße": ("w1", "w2", "w3", "straße"), "日本": ("日本",), "w5 " * 20: ("w5",) * 20}
    with edgexf.load(classifier) as session:
        found = session.predict(list(texts))
    for prediction, words in zip(found, texts.values(), strict=True):
        assert max(softmax(logits(*words))) == pytest.approx(prediction.score, rel=1e-4)
        assert not prediction.truncated


@needs_torch
def test_a_text_that_is_too_long_is_an_error_unless_it_may_be_cut(classifier: Path) -> None:
    words = [f"w{index % 40}" for index in range(200)]
    long = " ".join(words)
    with edgexf.load(classifier) as session:
        with pytest.raises(InputError, match="at most 128 tokens, got 202"):
            session.predict(long)
        (cut,) = session.predict(long, truncate=True)
        (joined,) = session.predict(long, stride=20)
        for wrong in ({"truncate": True, "stride": 2}, {"stride": 126}, {"stride": -1}):
            with pytest.raises(UsageError, match="choose"):
                session.predict(long, **wrong)
        arrays = session.encode(long, stride=20)
    assert cut.truncated
    assert cut.score == pytest.approx(max(softmax(logits(*words[:126]))), rel=1e-4)
    windows = [words[:126], words[106:]]
    assert [row.sum() for row in arrays["attention_mask"]] == [len(part) + 2 for part in windows]
    assert joined.windows == 2
    assert joined.to_dict()["windows"] == 2
    mean = np.mean([logits(*part) for part in windows], axis=0)
    assert joined.score == pytest.approx(max(softmax(mean)), rel=1e-4)


def test_an_explanation_points_at_the_bytes_of_its_tokens(classifier: Path) -> None:
    text = "w1  日本 straße"
    with edgexf.load(classifier) as session:
        why = session.explain(text)
    assert why.tokens == ("<s>", "w1", "日本", "straße", "</s>")
    assert [why.data[start:end].decode() for start, end in why.offsets] == ["", "w1", "日本", "straße", ""]
    assert why.explained == pytest.approx(float(why.scores.sum()) + why.residual, rel=1e-4, abs=1e-5)
    assert "日" in why.to_html()
    assert "Special tokens" in why.to_html()
    assert "special tokens" in explanation_text(why).plain


def test_the_command_line_reads_text_and_files_of_it(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("w1 w2", encoding="utf-8")
    (tmp_path / "long.txt").write_text("w1 " * 200, encoding="utf-8")
    (tmp_path / "bytes.bin").write_bytes(b"w1 \xff")
    files = [str(tmp_path / name) for name in ("good.txt", "long.txt", "bytes.bin")]
    done = prompt().invoke(main, ["run", str(classifier), "--text", "w1 w2", *files])
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [answer["label"] for answer in answers] == [answers[0]["label"]] * 2
    assert "at most 128 tokens" in done.stderr
    assert "UTF-8" in done.stderr
    done = prompt().invoke(main, ["run", str(classifier), "--stride", "8", files[1]])
    assert json.loads(done.stdout)["windows"] == 2
    assert json.loads(prompt().invoke(main, ["run", str(classifier), "--truncate", files[1]]).stdout)["truncated"]
    assert prompt().invoke(main, ["run", str(classifier), "--stride", "127", *files]).exit_code == 2
    shown = prompt().invoke(main, ["explain", str(classifier), "--truncate", files[1]])
    assert shown.exit_code == 0, shown.output


@needs_torch
def test_a_model_in_memory_takes_its_tokenizer_along_and_gives_features(tmp_path: Path) -> None:
    """Tests a pair of texts too. A model without labels answers with its outputs, without padding."""
    model = small("Longformer", "Model")
    bundle = edgexf.export(model, tokenizer=tokenizer(), explain=(), output=tmp_path / "out", max_global=3)
    with edgexf.load(bundle.path) as session:
        one, pair = session.predict(["w1 w2 w3", ("w1", "day w2")])
        rows = session.encode("w1 w2 " * 100, stride=4)
        long = session.predict("w1 w2 " * 100, stride=4)
        windows = session.run(**rows)["last_hidden_state"]
    assert long.tokens == ("<s>", *("w1", "w2") * 100, "</s>")
    read = long.outputs["last_hidden_state"]  # of tokens in two windows, the one with more neighbours reads them
    assert np.abs(read[:3] - windows[0, :3]).max() <= 1e-5
    inside = int(rows["attention_mask"][0].sum()) - 2  # of the first window, without its special tokens
    assert np.abs(read[inside - 2] - windows[0, inside - 2]).max() <= 1e-5
    assert np.abs(read[inside - 1] - windows[1, 3]).max() <= 1e-5
    assert np.abs(read[inside] - windows[1, 4]).max() <= 1e-5
    assert one.tokens == ("<s>", "w1", "w2", "w3", "</s>")
    assert pair.tokens == ("<s>", "w1", "</s>", "</s>", "day", "w2", "</s>")
    assert [b"w1\nday w2"[start:end] for start, end in pair.offsets] == [b"", b"w1", b"", b"", b"day", b"w2", b""]
    for answer, ids in ((one, [0, 5, 6, 7, 2]), (pair, [0, 5, 2, 2, 46, 6, 2])):
        with torch.no_grad():
            wanted = model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        found = answer.outputs["last_hidden_state"]
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert json.loads(one.to_json())["tokens"] == list(one.tokens)


@needs_torch
def test_a_text_for_a_decoder_is_encoded_and_run_with_what_was_written(tmp_path: Path) -> None:
    model = small("LED", "ForConditionalGeneration")
    bundle = edgexf.export(model, tokenizer=tokenizer(), explain=(), output=tmp_path / "out", max_global=3)
    with edgexf.load(bundle.path) as session:
        arrays = session.encode("w1 " * 60)
        found = session.run(**arrays, decoder_input_ids=[[2, 0, 5]])["logits"]
        with pytest.raises(UsageError, match="token by token"):
            session.predict("w1")
    with torch.no_grad():
        wanted = model(input_ids=torch.from_numpy(arrays["input_ids"]), decoder_input_ids=torch.tensor([[2, 0, 5]]))
    assert np.abs(found - wanted.logits.numpy()).max() <= 1e-4 * wanted.logits.abs().max()


def test_the_bundle_holds_the_tokenizer_and_its_settings(classifier: Path) -> None:
    manifest = edgexf.load(classifier).manifest
    assert "tokenizer.json" in manifest.files
    assert manifest.provenance["tokenizer"] == "as transformers reads it"
    assert json.loads((classifier / "tokenizer_config.json").read_text())["pad_token"] == WORDS[1]


@needs_torch
def test_a_tokenizer_that_does_not_fit_its_model_is_a_sentence(tmp_path: Path) -> None:
    model = small("Longformer", "ForSequenceClassification")
    more = tokenizer()
    more.add_tokens([f"new{index}" for index in range(9)])
    for name, made, sentence in (("large", more, "embedding, got the id 55"), ("broken", tokenizer(), "whole")):
        model.save_pretrained(tmp_path / name)
        made.save_pretrained(tmp_path / name)
        if name == "broken":
            path = tmp_path / name / "tokenizer.json"
            path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ExportError, match=sentence) as caught:
            edgexf.export(tmp_path / name, output=tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_was_changed_or_is_text_no_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json must be a tokenizer"):
        Tokenizer(path, 10)
    path.write_text(word_tokenizer().to_str(), encoding="utf-8")
    with pytest.raises(InputError, match="Unicode"):
        Tokenizer(path, 10).encode("w1 \ud800")
    with pytest.raises(InputError, match="first of a pair"):
        Tokenizer(path, 10).encode(("w1 " * 20, "w2"), truncate=True)
    windows = Tokenizer(path, 20).encode(("w1 " * 10, "w2 " * 60), stride=5)
    assert all(len(window.ids) <= 20 for window in windows)
    for stride in (6, 7):  # of this text alone: the first of the pair takes the rest
        with pytest.raises(InputError, match=f"must leave room for the second .* share {stride}, got room for 6"):
            Tokenizer(path, 20).encode(("w1 " * 10, "w2 " * 60), stride=stride)
    for stride in (16, -1, "3", True):
        with pytest.raises(UsageError, match=r"0 to 15 tokens|a whole number of tokens, got (-1|'3'|True)"):
            Tokenizer(path, 20).encode(("w1 " * 10, "w2 " * 60), stride=stride)  # type: ignore[arg-type]


@needs_torch
def test_ids_are_those_of_transformers_where_the_published_file_gives_others(tmp_path: Path) -> None:
    """The library rebuilds parts of a tokenizer from its class and config. Here this part is lowercasing."""
    from transformers import AutoTokenizer, BertTokenizer

    from edgexf_exporters.sources.tokenizer import of_checkpoint

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "hello": 5, "Hello": 6}
    BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_lower_case": False}))
    small("BigBird", "Model").config.save_pretrained(tmp_path)
    carried = of_checkpoint(str(tmp_path), True, 10)
    library = AutoTokenizer.from_pretrained(tmp_path)("Hello")["input_ids"]
    assert Backend.from_str(carried.files["tokenizer.json"].decode()).encode("Hello").ids == library == [2, 6, 3]
    assert "other ids than transformers" in carried.note


def test_rows_that_the_model_pads_to_other_lengths_are_not_encoded_together(kept: Kept) -> None:
    def export(path: Path) -> None:
        edgexf.export(small("BigBird", "ForSequenceClassification"), tokenizer=tokenizer(), explain=(), output=path)

    texts = ["w1 " * 30, "w1 " * 100, "w2 " * 29]
    with edgexf.load(kept("text-in-blocks", export)) as session:
        with pytest.raises(UsageError, match="pads alike"):
            session.encode(texts)
        together, alone = session.predict(texts), [session.predict(text)[0] for text in texts]
        for wrong in ([], [("w1", "w2", "w3")], [("w1", 5)]):
            with pytest.raises(UsageError, match=r"at least one, got no input|pair"):
                session.encode(wrong)  # type: ignore[arg-type]
    assert [p.score for p in together] == pytest.approx([p.score for p in alone], rel=1e-5)


def test_a_text_without_a_token_is_named_and_the_rest_answered(kept: Kept, tmp_path: Path) -> None:
    """Tests a tokenizer without special tokens. Another text in the batch must not hide the empty text."""
    bundle = kept("text-without-special-tokens", export_without_special_tokens)
    for name, text in (("good", "w1 w2 w3"), ("empty", "\n"), ("one", "w1")):
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("good", "empty", "one")]
    done = prompt().invoke(main, ["run", str(bundle), *files])
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.count("Error: ") == 2


def export_without_special_tokens(path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    plain = Backend(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=WORDS[3]))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=WORDS[1], unk_token=WORDS[3])
    edgexf.export(small("Longformer", "ForSequenceClassification"), tokenizer=made, explain=(), output=path)
