"""The runtime: accepted inputs, refused inputs, and batching, which changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exported
from small import DATA

import edgexf
from edgexf import names
from edgexf.bundle.manifest import Decoder, Globals, Graph, Limits, Manifest, Segments, Tensor
from edgexf.errors import InputError, UsageError
from edgexf_runtimes import Session
from edgexf_runtimes.inputs.checks import TokenChecks, check_inputs
from edgexf_runtimes.inputs.preprocess import BATCH_TOKENS, batches

LIMITS = Limits(vocab=258, min_length=2, max_length=10, block=1, max_global=0, padding="invariant")


@pytest.mark.parametrize(
    ("ids", "mask", "word"),
    [
        ([[1, 2], [3]], None, "batch, sequence"),
        ([1, 2, 3], None, "batch, sequence"),
        ([[1.0, 2.0]], None, "whole numbers"),
        (np.zeros((0, 4), dtype=np.int64), None, "at least one row"),
        ([[1]], None, "2 to 10"),
        ([[0] * 11], None, "2 to 10"),
        ([[0, 258]], None, "0 to 257"),
        ([[0, -1]], None, "0 to 257"),
        ([[0, 1]], [[1, 1, 1]], "shape"),
        ([[0, 1]], [[0, 1]], "ones and then zeros"),
        ([[0, 1]], [[0, 0]], "ones and then zeros"),
        ([[0, 1, 2]], [[1, 0, 1]], "ones and then zeros"),
        ([[0, 1]], [[2, 1]], "ones and then zeros"),
    ],
)
def test_an_array_outside_the_contract_is_refused(ids: Any, mask: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        check_inputs({"input_ids": ids, "attention_mask": mask}, manifest())


def manifest(
    axes: tuple[str, ...] = ("batch_size", "sequence_length"),
    extra: dict[str, tuple[str, ...]] | None = None,
    **fields: Any,
) -> Manifest:
    """Returns the manifest of a model that takes ids, a mask, and `extra` inputs of other shapes."""
    shapes = {"input_ids": axes, "attention_mask": axes, **(extra or {})}
    inputs = tuple(Tensor(name, "int64", shape) for name, shape in shapes.items())
    graph = Graph("predict", "fp32", "onnx/model.onnx", inputs, (Tensor("logits", "float32", ("batch_size", 2)),))
    plain = {
        "name": "m", "task": "t", "limits": LIMITS, "labels": ("a", "b"), "preprocess": None, "variants": (graph,),
        "tolerance": 1e-4, "grid": {}, "provenance": {},
    }  # fmt: skip
    return Manifest(**{**plain, **fields})


def test_of_choices_each_is_a_row_and_the_answer_is_global() -> None:
    axes = ("batch_size", "num_choices", "sequence_length")
    globals_ = Globals("answer", 9)
    limits = replace(LIMITS, max_global=5)
    chosen = manifest(axes, {"global_attention_mask": axes}, limits=limits, globals=globals_)
    ids = np.array([[[0, 5, 9, 9, 6, 9], [0, 9, 9, 6, 7, 9]]])
    found = check_inputs({"input_ids": ids}, chosen)
    assert found["global_attention_mask"].tolist() == [[[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]]
    with pytest.raises(InputError, match="choices"):
        check_inputs({"input_ids": ids[0]}, chosen)


def test_what_a_decoder_begins_with_is_the_input_one_place_later() -> None:
    model = manifest(extra={"decoder_input_ids": ("batch_size", "decoder_sequence_length")}, decoder=Decoder(2, 3))
    found = check_inputs({"input_ids": [[7, 8, 9]]}, model)
    assert found["decoder_input_ids"].tolist() == [[2, 7, 8]]
    written = check_inputs({"input_ids": [[7, 8, 9, 5]], "decoder_input_ids": [[2]]}, model)["decoder_input_ids"]
    assert written.tolist() == [[2]]
    for wrong, word in (([[2, 1, 1, 1]], "1 to 3"), ([[2], [2]], "row for each"), ([[258]], "0 to 257")):
        with pytest.raises(InputError, match=word):
            check_inputs({"input_ids": [[7, 8]], "decoder_input_ids": wrong}, model)
    with pytest.raises(InputError, match="decoder_input_ids must have 1 to 3"):
        check_inputs({"input_ids": [[7, 8, 9, 5]]}, model)


@pytest.mark.parametrize(("row", "segments"), [([0, 5, 9, 6, 9], [0, 0, 0, 1, 1]), ([0, 5, 5, 5, 5], [0, 1, 1, 1, 1])])
def test_the_context_begins_behind_the_first_separator(row: list[int], segments: list[int]) -> None:
    """BigBird's head for question answering fills in segments in this way, also without a separator."""
    model = manifest(
        extra={"token_type_ids": ("batch_size", "sequence_length")},
        limits=replace(LIMITS, token_types=2),
        segments=Segments("context", 9),
    )
    assert check_inputs({"input_ids": [row]}, model)["token_type_ids"].tolist() == [segments]


def test_every_index_is_in_one_batch_and_batches_are_bounded() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(2, 4098, 300)]
    found = list(batches(lengths, LIMITS))
    assert sorted(index for batch in found for index in batch) == list(range(300))
    assert all(len(batch) * max(lengths[i] for i in batch) <= BATCH_TOKENS for batch in found)


def test_where_padding_matters_only_equal_lengths_share_a_batch() -> None:
    limits = Limits(258, 2, 10, 1, 0, "none")
    assert sorted(map(sorted, batches([3, 5, 3, 5, 4], limits))) == [[0, 2], [1, 3], [4]]


def test_lengths_that_the_model_itself_pads_alike_share_a_batch() -> None:
    limits = Limits(258, 2, 10, 1, 0, "to_multiple(4)")
    assert sorted(map(sorted, batches([3, 5, 4, 8, 9], limits))) == [[0, 2], [1, 3], [4]]


def test_batches_change_no_answer(linformer: Exported, tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    files = []
    for index, size in enumerate([1, 5000, 17, 300, 4096, 301, 64, 2]):
        files.append(tmp_path / f"{index}.bin")
        files[-1].write_bytes(chance.integers(32, 127, size, dtype=np.uint8).tobytes())
    with edgexf.load(linformer.bundle.path) as session:
        together = session.predict(files)
        alone = [session.predict(file)[0] for file in files]
    assert [p.input for p in together] == [str(file) for file in files]
    assert [p.label for p in together] == [p.label for p in alone]
    assert [p.truncated for p in together] == [False, True, False, False, False, False, False, False]
    assert np.allclose([p.score for p in together], [p.score for p in alone], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "call", "wanted"),
    [
        ("linformer", lambda session: session.predict("abc"), [1]),
        ("tokens", lambda session: session.predict("w1 w2"), [1]),
        ("linformer", lambda session: session.explain("abc"), [1]),
        ("tokens", lambda session: session.explain("w1 w2", position=0), [1]),
        ("linformer", lambda session: session.predict(["abc", "d"]), [1, 1, 2]),  # a batch could hide what is wrong with a row
    ],
)  # fmt: skip
def test_a_window_that_runs_alone_is_checked_once(
    name: str, call: Callable[[Session], object], wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, check = [], TokenChecks.__call__

    def seen(checks: TokenChecks, given: Mapping[str, Any]) -> dict[str, Any]:
        rows.append(len(given[names.INPUT_IDS]))
        return check(checks, given)

    with edgexf.load(DATA / "bundles" / "v1" / name, dtype="fp32") as session:
        monkeypatch.setattr(TokenChecks, "__call__", seen)
        call(session)
    assert rows == wanted


def test_text_bytes_and_a_path_with_the_same_content_get_the_same_answer(linformer: Exported, tmp_path: Path) -> None:
    text = "SELECT name, COUNT(*) FROM pets GROUP BY name;\n"
    path = tmp_path / "query"
    path.write_text(text)
    with edgexf.load(linformer.bundle.path) as session:
        answers = [session.predict(source)[0] for source in (text, text.encode(), path)]
    assert len({(answer.label, answer.top) for answer in answers}) == 1


def test_scores_are_probabilities(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path) as session:
        answer = session.predict("hello")[0]
    scores = [score for _, score in answer.top]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1 + 1e-9
    assert answer.top[0] == (answer.label, answer.score)


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        ({"dtype": "fp8"}, "fp8"),
        ({"providers": ("npu",)}, "npu"),
        ({"verify": "maybe"}, "maybe"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_choice_that_is_none_is_refused(linformer: Exported, choice: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        edgexf.load(linformer.bundle.path, **choice)


def test_an_empty_input_is_refused(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path) as session, pytest.raises(InputError, match="at least one byte"):
        session.predict(b"")
