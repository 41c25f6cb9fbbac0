"""Merges the labels of tokens into those of words and entities.

In: the tokens of a text with their probabilities. Out: dicts as the token-classification pipeline of transformers gives
them: of tokens (``entity``, ``index``) or of groups (``entity_group``).

| strategy | the label of a word | what is a group |
|---|---|---|
| none | - | each token alone |
| simple | - | neighbouring tokens with one tag, until a label begins with ``B-`` |
| first | that of its first token | neighbouring words, as above |
| average | the largest mean probability of its tokens | the same |
| max | that of its surest token | the same |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Entity = dict[str, Any]
BEGINS, GOES_ON = "B-", "I-"


@dataclass(frozen=True)
class Token:
    """A token of a text.

    Attributes:
        word: the token as text.
        scores: the probability of each label, float64 [labels].
        start, end: its place in the text, in code points.
        index: its place among the tokens of its window.
        continues: the token continues the word of the token before it.
    """

    word: str
    scores: Scores
    start: int
    end: int
    index: int
    continues: bool


Merge = Callable[[Sequence[Token]], Scores]  # the tokens of a word -> the scores of its labels


def surest(tokens: Sequence[Token]) -> Scores:
    return max(tokens, key=lambda token: float(token.scores.max())).scores


def mean_scores(tokens: Sequence[Token]) -> Scores:
    found: Scores = np.mean([token.scores for token in tokens], axis=0)
    return found


NONE, SIMPLE = "none", "simple"
BY_WORD: dict[str, Merge] = {"first": lambda tokens: tokens[0].scores, "average": mean_scores, "max": surest}
STRATEGIES = (NONE, SIMPLE, *BY_WORD)


def entities(
    tokens: Sequence[Token], labels: Sequence[str], strategy: str, text_of: Callable[[Sequence[str]], str]
) -> list[Entity]:
    """The entities of a text, in order. `text_of` makes the text of tokens."""
    if strategy not in BY_WORD:
        found = [of_token(token, labels) for token in tokens]
        return found if strategy == NONE else groups(found, text_of)
    return groups([of_word(word, labels, BY_WORD[strategy], text_of) for word in words(tokens)], text_of)


def of_token(token: Token, labels: Sequence[str]) -> Entity:
    best = int(token.scores.argmax())
    return {
        "entity": labels[best], "score": float(token.scores[best]), "index": token.index, "word": token.word,
        "start": token.start, "end": token.end,
    }  # fmt: skip


def of_word(
    tokens: Sequence[Token], labels: Sequence[str], merge: Merge, text_of: Callable[[Sequence[str]], str]
) -> Entity:
    scores = merge(tokens)
    best = int(scores.argmax())
    return {
        "entity": labels[best], "score": float(scores[best]), "word": text_of([token.word for token in tokens]),
        "start": tokens[0].start, "end": tokens[-1].end,
    }  # fmt: skip


def words(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens of each word."""
    found: list[list[Token]] = []
    for token in tokens:
        if token.continues and found:
            found[-1].append(token)
        else:
            found.append([token])
    return found


def groups(found: Sequence[Entity], text_of: Callable[[Sequence[str]], str]) -> list[Entity]:
    """The entities of neighbours with one tag. A label that begins with ``B-`` begins an entity."""
    together: list[list[Entity]] = []
    for one in found:
        begins, tag = tagged(one["entity"])
        if together and not begins and tagged(together[-1][-1]["entity"])[1] == tag:
            together[-1].append(one)
        else:
            together.append([one])
    return [group(members, text_of) for members in together]


def tagged(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and its tag. A label without ``B-`` or ``I-`` goes on."""
    plain = label.removeprefix(BEGINS) if label.startswith(BEGINS) else label.removeprefix(GOES_ON)
    return label.startswith(BEGINS), plain


def group(members: Sequence[Entity], text_of: Callable[[Sequence[str]], str]) -> Entity:
    return {
        "entity_group": members[0]["entity"].split("-", 1)[-1],
        "score": float(np.mean([one["score"] for one in members])),
        "word": text_of([one["word"] for one in members]),
        "start": members[0]["start"],
        "end": members[-1]["end"],
    }


def joined(found: Sequence[Entity]) -> list[Entity]:
    """The entities of several windows: of two that overlap, the longer one stays, and of equally long ones the surer."""
    kept: list[Entity] = []
    for one in sorted(found, key=lambda entity: entity["start"]):
        if kept and kept[-1]["start"] <= one["start"] < kept[-1]["end"]:
            if size_of(one) > size_of(kept[-1]):
                kept[-1] = one
        else:
            kept.append(one)
    return kept


def size_of(entity: Entity) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
