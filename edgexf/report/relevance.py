"""An explanation as scores of bytes and characters: the values that pages and terminal views share.

In: an `Explanation`. Out: a `Relevance`, which holds a score for each byte, the bytes cut into characters, and the
largest |score| that a colour has to show. Further functions give the texts of both kinds of views: targets, answers,
positions and scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgexf.report.characters import decoded, encoded, is_plain, visible
from edgexf.report.explanation import Explanation
from edgexf.report.picture import PictureExplanation
from edgexf.report.prediction import Prediction

NAMED = 4  # the most labels that the text of a target names
SHARES_NOTE = (
    "Scores of a method by attention are shares of it: they sum to 1, speak neither for nor against, and are no parts of "
    "the explained value."
)
TEXT_SHARE = 0.75  # an input with a larger share of readable bytes is shown as text


@dataclass(frozen=True, slots=True)
class Piece:
    """A character of UTF-8 text, or a byte that belongs to no character.

    In the runs of a model of tokens, a piece is a word or the text between two words.

    Attributes:
        start, end: the bytes [start, end) of the input.
        char: the character, or the text of the word; a lone surrogate for a byte that belongs to no character.
        score: the sum of the scores of the bytes.
    """

    start: int
    end: int
    char: str
    score: float

    @property
    def is_text(self) -> bool:
        return is_plain(self.char)

    @property
    def shown(self) -> str:
        """The character, or its name if the character is invisible or could control the display."""
        return visible(self.char)


@dataclass(frozen=True, eq=False)
class Relevance:
    """An explanation in the form that views display.

    Attributes:
        data: the input up to the last byte that the model read.
        byte_scores: float64 [bytes].
        pieces: the input cut into characters; into words and gaps for the runs of a model of tokens.
        special_score: the sum of the scores of tokens that stand for no byte; None if no token does.
        special: the name of these tokens: ``class token``, or ``special tokens`` for several, such as a tokenizer adds
            to a text.
        peak: the largest |score| of a byte or a piece.
    """

    data: bytes
    byte_scores: npt.NDArray[np.float64]
    pieces: tuple[Piece, ...]
    special_score: float | None
    special: str
    peak: float

    @cached_property
    def is_text(self) -> bool:
        """Whether most bytes are readable characters."""
        readable = sum(len(encoded(char)) for char in decoded(self.data) if is_plain(char))
        return readable > TEXT_SHARE * len(self.data)


def relevance_of(explanation: Explanation) -> Relevance:
    """The values to display. The score of a token is spread evenly over its bytes."""
    size = max((end for _, end in explanation.offsets), default=0)
    data, scores = explanation.data[:size], np.zeros(size)
    outside = []
    for (start, end), score in zip(explanation.offsets, explanation.scores.tolist(), strict=True):
        if start == end:
            outside.append(score)
        else:
            scores[start:end] += score / (end - start)
    pieces = pieces_of(data, scores)
    peak = max((abs(score) for score in [*scores.tolist(), *(piece.score for piece in pieces)]), default=0.0)
    special = "special tokens" if len(outside) > 1 else "class token"
    return Relevance(data, scores, pieces, sum(outside) if outside else None, special, peak)


def pieces_of(data: bytes, byte_scores: npt.NDArray[np.float64]) -> tuple[Piece, ...]:
    """Cuts `data` into characters and undecodable bytes, in order and without gaps."""
    pieces, start = [], 0
    for char in decoded(data):
        end = start + len(encoded(char))
        pieces.append(Piece(start, end, char, sum(byte_scores[start:end].tolist())))
        start = end
    return tuple(pieces)


def lines_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Breaks the pieces into lines behind every newline, without an empty last line."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        lines[-1].append(piece)
        if piece.char == "\n":
            lines.append([])
    return lines if lines[-1] else lines[:-1]


def described(piece: Piece) -> str:
    """The offset, the bytes and the score of a piece in words."""
    code = encoded(piece.char)
    values = " ".join(f"0x{value:02X}" for value in code)
    if len(code) == 1:
        return f"offset {piece.start}, byte {values}, score {signed(piece.score)}"
    return (
        f"offset {piece.start} to {piece.end - 1}, bytes {values}, U+{ord(piece.char):04X}, score {signed(piece.score)}"
    )


def on_one_line(piece: Piece) -> str:
    """The text of a piece in a view without line breaks and tabs."""
    return {"\n": "↵", "\t": "⇥"}.get(piece.char, piece.shown)


def one_line(pieces: Sequence[Piece]) -> list[str]:
    """The pieces on one line. Marks replace spaces if the pieces hold nothing else."""
    words = [on_one_line(piece) for piece in pieces]
    return words if "".join(words).strip() else ["␣"] * len(words)


def target_text(target: Mapping[str, float]) -> str:
    """The explained value in words: ``python``, ``python over c``, or the largest weights times their labels."""
    weights = sorted(target.items(), key=lambda item: -item[1])
    names = [visible(label) for label, _ in weights]
    if not weights:
        return "the model's answer"
    if [weight for _, weight in weights] == [1, -1]:
        return " over ".join(names)
    if [weight for _, weight in weights] == [1]:
        return names[0]
    kept = sorted(weights, key=lambda item: -abs(item[1]))[:NAMED]
    words = " ".join(f"{weight:+g}×{visible(label)}" for label, weight in weights if (label, weight) in kept)
    return words + (f" and {len(weights) - NAMED:,} more" if len(weights) > NAMED else "")


def answer_text(prediction: Prediction) -> str:
    """The score of a label: a probability in per cent, any other number with its sign."""
    return f"{prediction.score:.2%}" if prediction.probabilities else signed(prediction.score)


def place_text(explanation: Explanation | PictureExplanation) -> str:
    """The token whose logits are explained, in words; empty for a model with one answer to its input."""
    if isinstance(explanation, PictureExplanation):
        return ""
    place = explanation.position
    return "" if place is None else f"at token {place} (“{visible(explanation.tokens[place])}”)"


def signed(value: float) -> str:
    """A score as text, with its sign and four digits; ``0`` for zero."""
    return f"{value:+#.4g}".removesuffix(".") if value else "0"
