"""A user's own input at each length of a measurement, for every kind of kept bundle."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DATA, prompt

import edgexf
from edgexf.cli import main
from edgexf.errors import InputError, UsageError
from edgexf.report.latency.measured.inputs import Inputs
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.measure.cases import Case, feeds, tokens_of
from edgexf_runtimes.measure.latency.bench import measure
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.user_input import arrays_of, keep, source_of

BUNDLES = DATA / "bundles" / "v1"
TEXT = "the cat sat on"  # of the words in the vocabulary of the kept tokenizers
QUICK: dict[str, Any] = {"dtypes": ["fp32"], "queries": 2, "seconds": 0.0, "processes": 1}


def kept(name: str, file: Path, lengths: list[int], folder: Path) -> dict[int, dict[str, Any]]:
    with edgexf.load(BUNDLES / name) as session:
        keep(session, file, lengths, folder)
        found = {length: arrays_of(session.manifest, folder, length) for length in lengths}
        for arrays in found.values():
            session.run(arrays)
        return found


def written(folder: Path, content: str | bytes | dict[str, Any]) -> Path:
    file = folder / "given"
    if isinstance(content, dict):
        with file.open("wb") as opened:
            np.savez(opened, **content)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_bytes_stay_behind_the_class_token(tmp_path: Path) -> None:
    found = kept("linformer", written(tmp_path, b"abc\xff"), [2, 6], tmp_path)
    assert found[2]["input_ids"].tolist() == [[257, *b"ab"]]
    assert found[6]["input_ids"].tolist() == [[257, *b"abc\xffab"]]
    with edgexf.load(BUNDLES / "linformer") as session:
        assert source_of(session.manifest, tmp_path, 6) == b"abc\xffab"


@pytest.mark.parametrize("name", ["features", "tokens"])
def test_a_text_keeps_its_special_tokens_at_each_length(name: str, tmp_path: Path) -> None:
    lengths = [3, 5, 6, 15]
    found = kept(name, written(tmp_path, TEXT), lengths, tmp_path)
    with edgexf.load(BUNDLES / name) as session:
        whole = session.encode(TEXT)["input_ids"][0].tolist()
        first, *own, last = whole
        assert len(own) == 4
        for length in lengths:
            wanted = [first, *(own * 4)[: length - 2], last]
            assert found[length]["input_ids"].tolist() == [wanted]
            source = source_of(session.manifest, tmp_path, length)
            assert isinstance(source, str)
            assert session.encode(source)["input_ids"].tolist() == [wanted]  # the text of the whole answer
        with pytest.raises(UsageError, match=r"leave room for a token beside the special ones \(2\), got 2"):
            keep(session, tmp_path / "given", [2], tmp_path)


def test_a_long_text_is_read_as_far_as_the_model_takes_it(tmp_path: Path) -> None:
    """The tokens of the first part are few, since blanks make none, so more is read."""
    text = "cat" + " " * 5_000 + "dog " * 20_000
    found = kept("features", written(tmp_path, text), [130], tmp_path)
    ids = found[130]["input_ids"][0].tolist()
    assert len(set(ids[2:-1])) == 1
    assert ids[1] != ids[2]


def test_ids_are_those_of_the_file_with_its_segments(tmp_path: Path) -> None:
    given = {"input_ids": [[5, 6, 7]], "token_type_ids": [[0, 1, 1]]}
    found = kept("answers", written(tmp_path, given), [2, 7], tmp_path)
    assert found[7]["input_ids"].tolist() == [[5, 6, 7, 5, 6, 7, 5]]
    assert found[7]["token_type_ids"].tolist() == [[0, 1, 1, 0, 1, 1, 0]]
    assert found[2]["attention_mask"].tolist() == [[1, 1]]


def test_ids_of_choices_and_of_a_decoder(tmp_path: Path) -> None:
    file = written(tmp_path, {"input_ids": np.arange(6).reshape(1, 3, 2)})
    assert kept("choices", file, [4], tmp_path)[4]["input_ids"].tolist() == [[[0, 1] * 2, [2, 3] * 2, [4, 5] * 2]]
    with edgexf.load(BUNDLES / "choices") as session:
        assert tokens_of(session, Case("predict", 4, str(tmp_path))) == 12  # of three choices
        assert feeds(session, Case("attnlrp", 4, str(tmp_path)))["input_ids"].shape == (1, 3, 4)
    file = written(tmp_path, {"input_ids": [[5, 6]], "global_attention_mask": [[1, 0]]})
    found = kept("decoder", file, [4], tmp_path)[4]
    assert found["global_attention_mask"].tolist() == [[1, 0, 0, 0]]
    assert found["decoder_input_ids"].tolist() == [[5, 6, 5, 6]]
    file = written(tmp_path, {"input_ids": [[5, 6]], "decoder_input_ids": [[2]]})
    assert kept("decoder", file, [4], tmp_path)[4]["decoder_input_ids"].tolist() == [[2]]


def test_arrays_of_a_custom_module_are_stretched_along_all_axes_but_samples(tmp_path: Path) -> None:
    found = kept("module", written(tmp_path, {"tokens": [[3], [4], [5]]}), [2, 5], tmp_path)
    assert {length: arrays["tokens"][:, 0].tolist() for length, arrays in found.items()} == {
        2: [3, 4],
        5: [3, 4, 5, 3, 4],
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("linformer", b"", "at least one byte"),
        ("features", b"", "at least one byte"),
        ("features", b"\xff\xfe", "must be UTF-8 text"),
        ("features", " ", "special ones alone"),
        ("answers", b"1 2 3", "must be an .npz of them by name, got given, which is none"),
        ("answers", {"input_ids": [[5, 50]]}, "input_ids must be 0 to 49, got 50 in row 0"),
        ("answers", {"input_ids": [[5, -1]]}, "input_ids must be 0 to 49, got -1 in row 0"),
        ("answers", {"input_ids": [[5], [6]]}, r"of one sample, got int64 \[2, 1\]"),
        ("answers", {"input_ids": [[0.5]]}, "must be whole numbers"),
        ("answers", {"input_ids": [5]}, "must be whole numbers"),
        ("answers", {"ids": [[5]]}, "arrays must be input_ids, and others of"),
        ("answers", {"input_ids": [[5, 6]], "attention_mask": [[1, 0]]}, "attention_mask must be ones"),
        (
            "answers",
            {"input_ids": [[5, 6]], "token_type_ids": [[1]]},
            "token_type_ids must have the shape of input_ids",
        ),
        ("module", {"tokens": [[5, 6]]}, "got 1 in tokens"),
        ("module", {"tokens": [[5, 6], [7, 8]]}, "batch_size must be 1 in a file to measure, got 2"),
        ("module", {"tokens": [5]}, "tokens must be int64"),
        ("module", {"tokens": [[60], [1]]}, "tokens must be 0 to 59, got 60"),
        ("module", {"others": [[60], [1]]}, "inputs must be the model's"),
    ],
)
def test_bad_input_is_an_error_that_names_the_file(name: str, content: Any, sentence: str, tmp_path: Path) -> None:
    file = written(tmp_path, content)
    with (
        edgexf.load(BUNDLES / name) as session,
        pytest.raises(InputError, match=f"the bundle takes, got given: .*{sentence}"),
    ):
        keep(session, file, [8], tmp_path)


def test_bad_input_is_wrong_usage_of_the_prompt(tmp_path: Path) -> None:
    file = written(tmp_path, {"input_ids": [[5, 50]]})
    found = prompt().invoke(main, ["bench", str(BUNDLES / "answers"), "--input", str(file), "--lengths", "8"])
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1
    assert "got given: input_ids must be 0 to 49, got 50 in row 0" in found.stderr


def test_a_report_names_the_file_and_its_hash_and_no_folder(tmp_path: Path) -> None:
    """Everything that measures reads the input: rounds, cold starts and profiles."""
    file = written(tmp_path, {"input_ids": np.ones((1, 3, 2), dtype=np.int64)})
    plan = Plan([4], methods=["attnlrp"], operators=True, **QUICK)
    report = measure(BUNDLES / "choices", plan, input=file)
    assert report.inputs == Inputs("file", "given", hashlib.sha256(file.read_bytes()).hexdigest())
    assert {row.of.tokens for row in report.rows} == {12}
    text = report.to_json()
    assert LatencyReport.from_json(text) == report
    assert str(tmp_path) not in text
    assert "- inputs: given (sha256 " in report.to_markdown()
    without = text.replace(f', "inputs": {{"kind": "file", "name": "given", "sha256": "{report.inputs.sha256}"}}', "")
    assert LatencyReport.from_json(without).inputs is None  # as an earlier edgexf wrote it


def test_what_is_made_is_named_too() -> None:
    assert measure(BUNDLES / "module", Plan([8], **QUICK)).inputs == Inputs("golden")
