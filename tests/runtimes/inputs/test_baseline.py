"""The baseline token that replaces left-out tokens, chosen by the files of the tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

from edgexf.bundle.manifest import Graph, Limits, Manifest, Tensor
from edgexf.bundle.preprocess import Bytes, Text
from edgexf.errors import UsageError
from edgexf_runtimes.inputs.baseline import Baseline, of_bytes, of_text
from edgexf_runtimes.inputs.text import Tokenizer

READER = Bytes("bytes", class_id=257, padding_id=256, max_bytes=4096)
WORD_LEVEL = models.WordLevel({"<pad>": 0, "?": 1, "hello": 2, "7": 3}, unk_token="?")  # noqa: S106
UNIGRAM = models.Unigram([("<pad>", 0.0), ("?", 0.0), ("hello", -1.0), ("7", -2.0)], unk_id=1)
PAIRS = models.BPE({"<pad>": 0, "?": 1, "hello": 2, "7": 3}, [])  # has no unknown token


def chosen(
    folder: Path, model: Any, added: tuple[str, ...] = (), files: dict[str, Any] | None = None,
    baseline: str | int | None = None,
) -> Baseline:  # fmt: skip
    """Returns the baseline for a tokenizer of `model` with `added` tokens and `files` beside it."""
    backend = Backend(model)
    backend.add_special_tokens([AddedToken(text, special=True) for text in added])
    backend.save(str(folder / "tokenizer.json"))
    for name, values in (files or {}).items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    tensor = Tensor("input_ids", "int64", ("batch_size", "sequence_length"))
    manifest = Manifest(
        name="m", task="t", limits=Limits(9, 2, 10, 1, 0, "invariant"), labels=(),
        preprocess=Text("text", padding_id=0, segments=False), tolerance=1e-4, grid={}, provenance={},
        variants=(Graph("predict", "fp32", "onnx/model.onnx", (tensor,), (tensor,)),),
        files={path.name: {} for path in folder.iterdir()},
    )  # fmt: skip
    return of_text(Tokenizer(folder / "tokenizer.json", 10), folder, manifest, baseline)


@pytest.mark.parametrize(
    ("model", "added", "files", "wanted"),
    [
        (WORD_LEVEL, ("[X]",), {"tokenizer_config.json": {"mask_token": "[X]", "unk_token": "?"}}, "[X] (id 4)"),
        (WORD_LEVEL, ("[X]",), {"special_tokens_map.json": {"mask_token": {"content": "[X]"}}}, "[X] (id 4)"),
        (WORD_LEVEL, ("<mask>",), {}, "<mask> (id 4)"),
        (PAIRS, ("[CLS]", "[MASK]"), {}, "[MASK] (id 5)"),
        (WORD_LEVEL, ("[CLS]",), {}, "? (id 1)"),
        (UNIGRAM, (), {}, "? (id 1)"),
        (PAIRS, (), {"tokenizer_config.json": {"mask_token": None, "unk_token": "?"}}, "? (id 1)"),
        (PAIRS, (), {}, "<pad> (id 0)"),
        (PAIRS, (), {"tokenizer_config.json": {"mask_token": "[gone]"}}, "<pad> (id 0)"),
    ],
)
def test_a_mask_token_comes_first_then_the_unknown_one_then_padding(
    tmp_path: Path, model: Any, added: tuple[str, ...], files: dict[str, Any], wanted: str
) -> None:
    assert chosen(tmp_path, model, added, files).name == wanted


def test_a_token_in_words_comes_before_an_id_in_digits(tmp_path: Path) -> None:
    assert chosen(tmp_path, WORD_LEVEL, baseline="7") == Baseline(3, "7 (id 3)")
    assert chosen(tmp_path, WORD_LEVEL, baseline="2") == Baseline(2, "hello (id 2)")
    assert chosen(tmp_path, WORD_LEVEL, baseline=8) == Baseline(8, "no token (id 8)")
    for wrong in ("goodbye", 9, -1, "9", ""):
        with pytest.raises(UsageError, match="below 9"):
            chosen(tmp_path, WORD_LEVEL, baseline=wrong)


def test_a_byte_is_written_as_tokens_are() -> None:
    assert of_bytes(READER, None) == Baseline(256, "[padding] (id 256)")
    assert of_bytes(READER, "[class]") == Baseline(257, "[class] (id 257)")
    assert of_bytes(READER, "7") == Baseline(0x37, "7 (id 55)")
    assert of_bytes(READER, "\\xff") == Baseline(0xFF, "\\xff (id 255)")
