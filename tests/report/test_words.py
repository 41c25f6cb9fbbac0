"""Scores summed over words: sub-word tokens and bytes join, nothing is counted twice or lost."""

from __future__ import annotations

import numpy as np
import pytest
from explanations import explanation, explanations, token_explanation, token_explanations
from hypothesis import given
from hypothesis import strategies as st

from edgexf.report.explanation import Explanation
from edgexf.report.words import Word, words_of


def test_sub_word_tokens_join_and_special_tokens_belong_to_none() -> None:
    shown = token_explanation(["embed", "ding", "s", " ", "help", "."], [9.0, 1.0, 0.5, 0.25, -2.0, 0.5, 9.0])
    assert shown.words == (Word("embeddings", 0, 10, 1.75), Word("help.", 11, 16, -1.5))


def test_a_word_of_bytes_sums_over_its_characters_of_several_bytes() -> None:
    shown = explanation("é 日x".encode(), [1.0, 2.0, 64.0, 4.0, 8.0, 16.0, 32.0])
    assert shown.words == (Word("é", 0, 2, 3.0), Word("日x", 3, 7, 60.0))


def test_a_token_over_several_words_is_shared_by_their_bytes() -> None:
    shown = token_explanation([" New York  "], [9.0, 7.0, 9.0])
    assert shown.words == (Word("New", 1, 4, 3.0), Word("York", 5, 9, 4.0))


def test_a_space_in_front_of_a_word_is_no_part_of_it_but_its_token_is() -> None:
    """Tokenizers of the RoBERTa and T5 families split text in this way."""
    shown = token_explanation(["a", " b", " cd"], [1.0, 2.0, 4.0], special=False)
    assert shown.words == (Word("a", 0, 1, 1.0), Word("b", 2, 3, 2.0), Word("cd", 4, 6, 4.0))


def test_tokens_that_share_a_character_all_count() -> None:
    assert words_of("👩 ".encode(), [(0, 4), (0, 4), (0, 4)], [1.0, 2.0, 4.0]) == (Word("👩", 0, 4, 7.0),)


def test_words_of_binary_data_are_the_texts_in_it() -> None:
    data = b"\x7fELF\x00\x00\xff.text\x00a b"
    assert [word.text for word in explanation(data).words] == ["ELF", ".text", "a", "b"]


@pytest.mark.parametrize("joined", ["\u200d", "\u200c", "\u0301", "\xad", "."])
def test_joiners_and_marks_stay_inside_a_word(joined: str) -> None:
    assert [word.text for word in token_explanation([f"a{joined}b"]).words] == [f"a{joined}b"]


@pytest.mark.parametrize("apart", [" ", "\t", "\n", "\r\n", "\xa0", "\u2028", "\u3000", "\x85", "\x00", "\x1b"])
def test_every_white_space_and_control_character_ends_a_word(apart: str) -> None:
    assert [word.text for word in token_explanation([f"a{apart}b"]).words] == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"  \n", b"\xff\xfe", b"\x00"])
def test_an_input_without_a_word_has_none(data: bytes) -> None:
    assert explanation(data).words == ()


def test_text_behind_the_last_token_has_no_words() -> None:
    assert [word.text for word in words_of(b"one two three", [(0, 3), (4, 6)], [1.0, 1.0])] == ["one", "tw"]


@given(explanations() | token_explanations())
def test_words_and_what_is_outside_them_add_up_to_all_scores(shown: Explanation) -> None:
    """Computes the definition byte by byte: a token's score is split evenly over its bytes inside words."""
    inside = np.zeros(len(shown.data), dtype=bool)
    for word in shown.words:
        assert not inside[word.start : word.end].any()
        assert shown.data[word.start : word.end].decode() == word.text
        inside[word.start : word.end] = True
    wanted = np.zeros(len(shown.data))
    for (start, end), score in zip(shown.offsets, shown.scores.tolist(), strict=True):
        places = [place for place in range(start, end) if inside[place]]
        for place in places:
            wanted[place] += score / len(places)
    found = [word.score for word in shown.words]
    assert found == pytest.approx([wanted[word.start : word.end].sum() for word in shown.words], abs=1e-9)


@given(st.text(max_size=40))
def test_the_words_are_what_is_between_spaces(text: str) -> None:
    plain = "".join(char for char in text if char.isprintable() or char.isspace())
    wanted = "".join(" " if char.isspace() else char for char in plain).split(" ")
    assert [word.text for word in explanation(plain.encode()).words] == [part for part in wanted if part]
