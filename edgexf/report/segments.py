"""An input cut into words or tokens, as pages and terminals show it.

In: one `Explanation`, or several of the same tokens. Out: `Segment`s in order and without gaps, or `Unit`s: the
strongest words, with the score that each explanation gives to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgexf.report.characters import decoded
from edgexf.report.explanation import Explanation
from edgexf.report.relevance import Piece, Relevance, relevance_of

STRONGEST = 10  # words of each explanation


@dataclass(frozen=True, slots=True)
class Segment:
    """A word, a token, or the input between two of them.

    Attributes:
        start, end: the bytes [start, end) of the input.
        text: the text of these bytes.
        score: the score; None for the input between two words or tokens.
        names: the texts of the tokens of a token segment: several if they share a character.
    """

    start: int
    end: int
    text: str
    score: float | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, or a token of an input without words, with one score from each explanation."""

    text: str
    start: int
    scores: tuple[float, ...]


def reads_bytes(explanation: Explanation) -> bool:
    """Whether every byte of the input is one token, as for a model of bytes."""
    sizes = [end - start for start, end in explanation.offsets]
    return max(sizes, default=0) <= 1 and sum(sizes) == max((end for _, end in explanation.offsets), default=0)


def word_segments(explanation: Explanation) -> list[Segment]:
    """The input cut into words and the gaps between them."""
    words = [Segment(word.start, word.end, word.text, word.score) for word in explanation.words]
    return with_gaps(words, explanation.data)


def token_segments(explanation: Explanation) -> list[Segment]:
    """The input cut into tokens and the gaps between them. Tokens that share a character are one segment.

    Special tokens, which stand for no byte of the input, are not among the segments.
    """
    found: list[Segment] = []
    rows = zip(explanation.offsets, explanation.scores.tolist(), explanation.tokens, strict=True)
    for (start, end), score, token in sorted(rows, key=lambda row: row[0]):
        if start == end:
            continue
        names: tuple[str, ...] = (token,)
        if found and start < found[-1].end:
            last = found.pop()
            start, end, score, names = last.start, max(end, last.end), (last.score or 0) + score, (*last.names, token)
        found.append(Segment(start, end, decoded(explanation.data[start:end]), score, names))
    return with_gaps(found, explanation.data)


def with_gaps(segments: Sequence[Segment], data: bytes) -> list[Segment]:
    """The segments, and in front of each a segment without score for the gap before it, if there is one."""
    whole, place = [], 0
    for segment in segments:
        if segment.start > place:
            whole.append(Segment(place, segment.start, decoded(data[place : segment.start]), None))
        whole.append(segment)
        place = segment.end
    return whole


def in_runs(explanation: Explanation) -> Relevance:
    """The relevance in which to search for runs: by characters for a model of bytes, by whole words for others."""
    relevance = relevance_of(explanation)
    if reads_bytes(explanation):
        return relevance
    segments = word_segments(explanation)
    pieces = tuple(Piece(part.start, part.end, part.text, part.score or 0.0) for part in segments)
    return replace(relevance, pieces=pieces, peak=peak_of(segments))


def peak_of(segments: Sequence[Segment]) -> float:
    """The largest |score| of the segments."""
    return max((abs(segment.score) for segment in segments if segment.score is not None), default=0.0)


def special_tokens(explanation: Explanation) -> list[tuple[str, float]]:
    """The tokens that stand for no byte of the input, each with its score."""
    rows = zip(explanation.tokens, explanation.offsets, explanation.scores.tolist(), strict=True)
    return [(token, score) for token, (start, end), score in rows if start == end]


def strongest_units(explanations: Sequence[Explanation], count: int = STRONGEST) -> tuple[str, list[Unit]]:
    """The kind of units (``word`` or ``token``), and the strongest `count` units by each explanation, in input order.

    The explanations must be of the same tokens, and so have the same words.
    """
    what, columns = scored_units(explanations[0])[0], [scored_units(one)[1] for one in explanations]
    chosen = {place for column in columns for place in strongest_places(column, count)}
    rows = [(place, [column[place] for column in columns]) for place in sorted(chosen)]
    return what, [Unit(row[0].text, row[0].start, tuple(one.score or 0.0 for one in row)) for _, row in rows]


def scored_units(explanation: Explanation) -> tuple[str, list[Segment]]:
    """The kind of units (``word`` or ``token``), and the words, or the tokens of an input without words."""
    what, segments = (
        ("word", word_segments(explanation)) if explanation.words else ("token", token_segments(explanation))
    )
    return what, [segment for segment in segments if segment.score is not None]


def strongest_places(segments: Sequence[Segment], count: int) -> list[int]:
    """The indices of the `count` largest |score|, strongest first, without scores of 0."""
    order = sorted(range(len(segments)), key=lambda place: -abs(segments[place].score or 0.0))
    return [place for place in order[:count] if segments[place].score]
