"""Runs of neighbouring bytes or words that speak for an answer or against it.

In: the pieces of a `Relevance`. Out: the strongest `Run`s for or against the target.

Two ways to find runs were weighed. Neighbours of one sign are easy to explain, but one byte of the other sign cuts a
word in two, and a faint sign that never changes makes the whole input one run. Maximal scoring segments above half the
root mean square of the scores have neither fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgexf.report.relevance import Piece


@dataclass(frozen=True)
class Run:
    """Neighbouring pieces with a high sum of scores."""

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


def strongest_runs(pieces: Sequence[Piece], sign: int, count: int) -> list[Run]:
    """The `count` runs with the highest sums for (`sign` 1) or against (`sign` -1) the target, strongest first."""
    if not pieces:
        return []
    threshold = math.sqrt(sum(piece.score**2 for piece in pieces) / len(pieces)) / 2
    segments = maximal_segments([sign * piece.score - threshold for piece in pieces])
    runs = [Run(tuple(pieces[start:end])) for start, end in segments]
    return sorted(runs, key=lambda run: -sign * run.score)[:count]


def maximal_segments(values: Sequence[float]) -> list[tuple[int, int]]:
    """All maximal scoring subsequences as [start, end), in order (Ruzzo and Tompa 1999, section 3).

    A new segment extends to the left over earlier segments while that raises its sum.
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
