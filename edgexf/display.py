"""What the pages and the terminal views of explanations share: characters, colours and the strongest runs.

In: an `Explanation`. Out: a `Relevance`: a score for each byte, the bytes cut into characters, and the
largest |score| that a colour has to show; and pure functions from it to colours, words and runs.

Two ways to find runs were weighed. Neighbours of one sign are easy to explain, but one byte of the other
sign cuts a word in two, and a faint sign that never changes makes the whole input one run. Maximal
scoring segments above half the scores' root mean square have neither fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgexf.report import Explanation, Prediction

LEVELS = 20  # steps of colour on each side of zero
INK = (17, 17, 17)  # of text on every colour
END_LIGHTNESS, END_CHROMA = 0.64, 0.15
HUE_AGAINST, HUE_FOR = 252.0, 58.0  # degrees in OKLCH: blue and orange, which every common colour blindness keeps apart
NAMED = 4  # labels of a target with many
SHARES_NOTE = (
    "Scores of a method by attention are shares of it: they sum to 1, speak neither for nor against, and are no parts of "
    "the explained value."
)
TEXT_SHARE = 0.75  # of the bytes, above which an input is read as text

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A character of UTF-8 text, or a byte that belongs to none: bytes [start, end) and the sum of their scores.

    In the runs of a model of tokens it is a word.
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
        """The character, or its name if it would be invisible or would steer the display."""
        return visible(self.char)


@dataclass(frozen=True)
class Run:
    """Neighbouring pieces that score highly together."""

    pieces: tuple[Piece, ...]

    @property
    def start(self) -> int:
        return self.pieces[0].start

    @property
    def end(self) -> int:
        return self.pieces[-1].end

    @property
    def score(self) -> float:
        return sum(piece.score for piece in self.pieces)


@dataclass(frozen=True, eq=False)
class Relevance:
    """An explanation as it is displayed: `data` up to the last byte that the model read, and `byte_scores` float64 [bytes].

    `special_score` is the sum over tokens that stand for no byte, None if there are none, and `special` what to call
    them: a class token, or several special tokens, such as a tokenizer puts around a text. `peak` is the
    largest |score| of a byte or a piece.
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
    """What there is to display; a token's score is spread evenly over its bytes."""
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
    """`data` cut into characters and undecodable bytes, in order and without gaps."""
    pieces, start = [], 0
    for char in decoded(data):
        end = start + len(encoded(char))
        pieces.append(Piece(start, end, char, sum(byte_scores[start:end].tolist())))
        start = end
    return tuple(pieces)


def decoded(data: bytes) -> str:
    """UTF-8 as text; a byte that belongs to no character becomes a lone surrogate, which `encoded` undoes."""
    return data.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def lines_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces broken behind every newline; there is no empty last line."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        lines[-1].append(piece)
        if piece.char == "\n":
            lines.append([])
    return lines if lines[-1] else lines[:-1]


def described(piece: Piece) -> str:
    """A piece's place, bytes and score in words."""
    code = encoded(piece.char)
    values = " ".join(f"0x{value:02X}" for value in code)
    if len(code) == 1:
        return f"offset {piece.start}, byte {values}, score {signed(piece.score)}"
    return (
        f"offset {piece.start} to {piece.end - 1}, bytes {values}, U+{ord(piece.char):04X}, score {signed(piece.score)}"
    )


def is_plain(char: str) -> bool:
    """Whether a character can be shown as it is where lines break."""
    return char.isprintable() or char in "\n\t"


def visible(text: str) -> str:
    """`text` with every character that is invisible, a control or a lone surrogate written as its name."""
    return "".join(char if char.isprintable() else character_name(char) for char in text)


def character_name(char: str) -> str:
    r"""``\x1B`` for a control character or an undecodable byte (U+DC80 to U+DCFF here), else ``U+202E``."""
    code = ord(char)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02X}"
    return f"U+{code:04X}"


def on_one_line(piece: Piece) -> str:
    """What to show where a line break or a tab has no place."""
    return {"\n": "↵", "\t": "⇥"}.get(piece.char, piece.shown)


def one_line(pieces: Sequence[Piece]) -> list[str]:
    """The pieces on one line; spaces are marked if there is nothing else to see."""
    words = [on_one_line(piece) for piece in pieces]
    return words if "".join(words).strip() else ["␣"] * len(words)


def ascii_of(value: int) -> str:
    """A byte in the right-hand column of a hex view."""
    return chr(value) if 0x20 <= value < 0x7F else "·"


def colour_level(score: float, peak: float) -> int:
    """The step of colour, -LEVELS to LEVELS, linear in the score; `peak` has the last step."""
    return round(LEVELS * score / peak) if peak else 0


def colour(level: int) -> Colour:
    """sRGB of a step: white at 0, towards orange above and blue below.

    The line from white to either end is straight in OKLab (Ottosson 2020), with the same lightness and
    chroma on both sides, so equal amounts look equally strong.
    """
    share = abs(level) / LEVELS
    hue = math.radians(HUE_FOR if level > 0 else HUE_AGAINST)
    chroma = END_CHROMA * share
    return _srgb(1 - (1 - END_LIGHTNESS) * share, chroma * math.cos(hue), chroma * math.sin(hue))


def _srgb(lightness: float, a: float, b: float) -> Colour:
    """OKLab to sRGB, with the matrices of its definition."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _gamma(linear: float) -> int:
    """A linear share of light as an sRGB value, 0 to 255."""
    light = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def hex_colour(rgb: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def strongest_runs(pieces: Sequence[Piece], sign: int, count: int) -> list[Run]:
    """The `count` runs with the highest sums for (`sign` 1) or against (`sign` -1) the target, strongest first."""
    if not pieces:
        return []
    threshold = math.sqrt(sum(piece.score**2 for piece in pieces) / len(pieces)) / 2
    segments = maximal_segments([sign * piece.score - threshold for piece in pieces])
    runs = [Run(tuple(pieces[start:end])) for start, end in segments]
    return sorted(runs, key=lambda run: -sign * run.score)[:count]


def maximal_segments(values: Sequence[float]) -> list[tuple[int, int]]:
    """All maximal scoring subsequences as [start, end) (Ruzzo and Tompa 1999, section 3), in order.

    A segment is taken back and extended to the left while that raises its sum.
    """
    done: list[tuple[int, int]] = []
    open_: list[
        tuple[int, int, float, float]
    ] = []  # start, end, and the sums of all values before start and before end
    total = 0.0
    for index, value in enumerate(values):
        before, total = total, total + value
        if value <= 0:
            continue
        start = index
        while open_:
            place = next((at for at in reversed(range(len(open_))) if open_[at][2] < before), None)
            if place is None:
                done += [segment[:2] for segment in open_]
                open_ = []
            elif open_[place][3] >= total:
                break
            else:
                start, before = open_[place][0], open_[place][2]
                del open_[place:]
        open_.append((start, index + 1, before, total))
    return done + [segment[:2] for segment in open_]


def target_text(target: Mapping[str, float]) -> str:
    """The explained value in words: ``python``, ``python over c``, or weights times labels, of many the largest."""
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
    """A label's score: a probability in per cent, another number as it is."""
    return f"{prediction.score:.2%}" if prediction.probabilities else signed(prediction.score)


def place_text(explanation: Explanation) -> str:
    """Which token's logits are explained, in words; empty where there is one answer to the whole input."""
    place = explanation.position
    return "" if place is None else f"at token {place} (“{visible(explanation.tokens[place])}”)"


def signed(value: float) -> str:
    """A score with its sign and four digits."""
    return f"{value:+#.4g}".removesuffix(".") if value else "0"
