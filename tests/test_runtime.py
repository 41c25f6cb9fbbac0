"""The runtime: what it accepts, what it refuses, and that batching changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exported

import edgexf
from edgexf.errors import InputError, UsageError
from edgexf.manifest import Limits
from edgexf_runtimes.preprocess import BATCH_TOKENS, batches, check_tokens

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
        check_tokens(ids if not isinstance(ids, list) else to_array(ids), mask, LIMITS)


def to_array(rows: list[Any]) -> Any:
    try:
        return np.array(rows)
    except ValueError:
        return np.array(rows, dtype=object)


def test_every_index_is_in_one_batch_and_batches_are_bounded() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(2, 4098, 300)]
    found = list(batches(lengths, LIMITS))
    assert sorted(index for batch in found for index in batch) == list(range(300))
    assert all(len(batch) * max(lengths[i] for i in batch) <= BATCH_TOKENS for batch in found)


def test_where_padding_matters_only_equal_lengths_share_a_batch() -> None:
    limits = Limits(258, 2, 10, 1, 0, "none")
    assert sorted(map(sorted, batches([3, 5, 3, 5, 4], limits))) == [[0, 2], [1, 3], [4]]


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
