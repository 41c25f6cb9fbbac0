"""The scores of tokens, summed over words.

In: the bytes of an input, and the [start, end) and the score of each token. Out: `Word`s in order.

A word is a run of characters that are neither white space, nor control characters, nor bytes outside UTF-8. The words
of a text are therefore the parts between its spaces, for any tokenizer: ``##ding`` joins ``embed``, and a model of
bytes has the same words as a model of tokens. In binary data, a word is readable text between other bytes, such as a
string in a program. In scripts without spaces, a word is a whole sentence: look at the tokens there.

The score of a token is spread evenly over its bytes inside words; white space takes no share. A token without such a
byte (a space, a line break, a special token) belongs to no word. The scores of the words and of these tokens add up to
the sum over all tokens.

Two alternatives were weighed. The word numbers of a tokenizer cut ``don't`` and ``os.path`` differently in each
tokenizer, and a model of bytes has none. The word boundaries of Unicode (UAX 29) need tables on the device.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

APART = ("Cc", "Cs")  # control characters, and bytes outside UTF-8, which decode to surrogates

Offset = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the input.

    Attributes:
        text: the text of the word.
        start, end: the bytes [start, end) of the input.
        score: the sum of the shares that its bytes have in the scores of tokens.
    """

    text: str
    start: int
    end: int
    score: float


def words_of(data: bytes, offsets: Sequence[Offset], scores: Sequence[float]) -> tuple[Word, ...]:
    """The words up to the last byte that belongs to a token, each with its score."""
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
    """The [start, end) of each word in the bytes."""
    spans, start = [], 0
    for inside, group in groupby(data.decode("utf-8", "surrogateescape"), key=is_of_a_word):
        end = start + len("".join(group).encode("utf-8", "surrogateescape"))
        if inside:
            spans.append((start, end))
        start = end
    return spans


def is_of_a_word(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in APART
