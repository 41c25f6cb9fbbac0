"""Scores of tokens summed over words.

In: an input's bytes, and the tokens' [start, end) in them with their scores. Out: `Word`s in order, and what belongs
to none.

A word is a run of characters that are neither white space, nor control characters, nor bytes that are no UTF-8. So a
text's words are what stands between its spaces, whatever its tokenizer made of them: ``##ding`` joins ``embed``, and
a model of bytes has the same words as a model of tokens. In binary data a word is readable text between other bytes,
as a program's strings are. In scripts that are written without spaces a word is a sentence: look at the tokens there.

A token's score goes to the words that hold its bytes, evenly over those bytes; its white space takes no share. A token
without such a byte (a space, a line break, a special token) belongs to no word, so that the scores of the words and
of what is outside them add up to the sum over the tokens.

Two alternatives were weighed. The tokenizer's own word numbers cut ``don't`` and ``os.path`` differently in each
tokenizer, and a model of bytes has none. Unicode's word boundaries (UAX 29) need its tables on the device.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

APART = ("Cc", "Cs")  # control characters, and bytes that are no UTF-8, which decode to surrogates

Offset = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Word:
    """A word's text, its [start, end) in the input's bytes, and the sum of what its bytes have of the tokens' scores."""

    text: str
    start: int
    end: int
    score: float


def words_of(data: bytes, offsets: Sequence[Offset], scores: Sequence[float]) -> tuple[Word, ...]:
    """The words up to the last byte that a token stands for, each with its score."""
    spans = word_spans(data[: max((end for _, end in offsets), default=0)])
    owner = np.full(len(data), -1)
    for index, (start, end) in enumerate(spans):
        owner[start:end] = index
    totals = np.zeros(len(spans))
    for (start, end), score in zip(offsets, scores, strict=True):
        inside = owner[start:end][owner[start:end] >= 0]
        if inside.size:
            first = int(inside[0])
            shares = np.bincount(inside - first) / inside.size
            totals[first : first + shares.size] += score * shares
    return tuple(
        Word(data[start:end].decode("utf-8"), start, end, total)
        for (start, end), total in zip(spans, totals.tolist(), strict=True)
    )


def word_spans(data: bytes) -> list[Offset]:
    """Where the words are, [start, end)."""
    spans, start = [], 0
    for inside, group in groupby(data.decode("utf-8", "surrogateescape"), key=is_of_a_word):
        end = start + len("".join(group).encode("utf-8", "surrogateescape"))
        if inside:
            spans.append((start, end))
        start = end
    return spans


def is_of_a_word(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in APART
