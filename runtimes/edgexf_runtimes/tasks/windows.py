"""Joins the windows of a long text, token by token.

In: the windows of one text. Out: for each token of the text the window in which it is read, and its place there.

Windows overlap, so a token may stand in several. It is read where it has most neighbours: in the window whose nearer edge
is farthest away, as the reference code of BERT reads answers in long documents ("maximum context", Devlin et al. 2019).
At equal distances the earlier window reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgexf_runtimes.inputs.text import NOWHERE, Encoded

Places = npt.NDArray[np.int64]


def tokens_of(window: Encoded, text: int = 0) -> Places:
    """The places of a text's tokens in a window."""
    return np.flatnonzero(window.places.texts == text)


def starts(windows: Sequence[Encoded], stride: int, text: int = 0) -> list[int]:
    """How many tokens of the text stand before each window."""
    found = [0]
    for window in windows[:-1]:
        found.append(found[-1] + len(tokens_of(window, text)) - stride)
    return found


def read_in(windows: Sequence[Encoded], stride: int, text: int = 0) -> tuple[Places, Places]:
    """For each token of the text, the window in which it is read, and its place in that window."""
    first, places = starts(windows, stride, text), [tokens_of(window, text) for window in windows]
    total = first[-1] + len(places[-1])
    best, window_of, place_of = (np.full(total, NOWHERE) for _ in range(3))
    for number, (start, here) in enumerate(zip(first, places, strict=True)):
        inside = np.arange(len(here))
        context = np.minimum(inside, len(here) - 1 - inside)
        span = slice(start, start + len(here))
        better = context > best[span]
        best[span][better], window_of[span][better], place_of[span][better] = context[better], number, here[better]
    return window_of, place_of
