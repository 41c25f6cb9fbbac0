"""What a part of an input is worth to the model: the explained value with the other tokens replaced.

In: one row of the predict graph's inputs, its tokens in groups, and what a row's outputs are worth. Out: the worth of
any coalition of groups, many of them in one run.

    kept [coalitions, features]  ->  rows of input_ids, others replaced  ->  predict graph  ->  value [coalitions]

Every row has the very length of the input, and its attention mask, segments and global tokens: only ids differ. So rows
run together in every bundle, also where padding changes answers, and a coalition never moves a token to another place.

Features are the input's tokens one by one or, where that is too many, spans of equally many tokens that follow each other.
Words were weighed as well: bytes and Chinese have none, and their number can't be chosen.

Source: cooperative games (Shapley 1953); removal by a stand-in (Covert, Lundberg and Lee 2021, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import EdgexfError, InputError
from edgexf_runtimes.inputs.preprocess import BATCH_TOKENS

Array = npt.NDArray[Any]
Kept = npt.NDArray[np.bool_]  # [coalitions, features], whether a feature's own tokens stand there
Values = npt.NDArray[np.float64]
Outputs = Mapping[str, Array]  # the predict graph's, of one row
Run = Callable[..., dict[str, Array]]  # from inputs by name to outputs, as `Session.run`
Progress = Callable[[int, int], None]  # rows that were run, rows that will be

SPECIAL = (0, 0)  # the offsets of a token that stands for nothing in the input


def real_places(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Where tokens stand that may be left out: all but special ones. InputError where there is none."""
    places = [place for place, offset in enumerate(offsets) if tuple(offset) != SPECIAL]
    if not places:
        raise InputError("an input must hold a token that can be left out, got special ones alone; give more text.")
    return places


def spans(places: Sequence[int], span: int, most: int) -> list[list[int]]:
    """The places in groups of `span`, or of the fewest that make at most `most` groups; the last may be shorter."""
    size = max(span, -(-len(places) // most))
    return [list(places[start : start + size]) for start in range(0, len(places), size)]


class ValueFunction:
    """The worth of coalitions of `groups`, each a list of places in the row.

    `whole` is the worth of the unchanged row. Between two runs it ends where `over` says so. `together` rows make one run,
    by default as many as `Session.predict` runs at once. `first` names the input that holds token ids, [1, ...], in whose
    tokens one behind the other places count, and `fixed` those that hold no rows.
    """

    def __init__(
        self,
        run: Run,
        inputs: Mapping[str, Array],
        groups: Sequence[Sequence[int]],
        token_id: int,
        value: Callable[[Outputs], float],
        whole: float,
        over: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
        together: int | None = None,
        first: str = names.INPUT_IDS,
        fixed: Collection[str] = (),
    ) -> None:
        self._run, self._inputs, self._value = run, inputs, value
        self._token_id, self._over, self._progress = token_id, over, progress
        self._first, self._fixed = first, fixed
        self.whole, self.features, self.rows = whole, len(groups), 0
        length = inputs[first][0].size
        self._together = together or max(BATCH_TOKENS // length, 1)
        self._member = np.zeros((self.features, length), dtype=bool)  # [features, sequence]
        for feature, places in enumerate(groups):
            self._member[feature, places] = True

    def __call__(self, kept: Kept) -> Values:
        """The worth of each coalition, of fewer than all where the time was over: [coalitions that were run]."""
        found: list[float] = []
        for start in range(0, len(kept), self._together):
            if self._over():
                break
            found += self._worth(kept[start : start + self._together])
            self.rows = len(found)
            if self._progress is not None:
                self._progress(self.rows, len(kept))
        return np.array(found, dtype=np.float64)

    def _worth(self, kept: Kept) -> list[float]:
        left_out = ~kept @ self._member  # [rows, sequence]
        rows = {
            name: array if name in self._fixed else np.repeat(array, len(kept), axis=0)
            for name, array in self._inputs.items()
        }
        ids = rows[self._first]
        rows[self._first] = np.where(left_out.reshape(ids.shape), self._token_id, ids).astype(ids.dtype)
        outputs = self._run(**rows)
        worth = [self._value({name: array[row] for name, array in outputs.items()}) for row in range(len(kept))]
        if not np.isfinite([self.whole, *worth]).all():
            raise EdgexfError(
                "an explained value must be a finite number, got one that is none; look at the model's outputs for this input."
            )
        return worth


def distinct(kept: Kept) -> tuple[Kept, Values]:
    """Each coalition once, in the order given, and how often it was there: what is drawn twice is run once."""
    _, first, counts = np.unique(kept, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return kept[first[order]], counts[order].astype(np.float64)


def r_squared(values: Values, fitted: Values, weights: Values) -> float:
    """The share of the values' weighted variance that a fit explains; 1 at best, and where nothing varies or is missed.

    Below 0 for a fit that is worse than the values' mean, as one with a constraint can be.
    """
    missed = float(weights @ (values - fitted) ** 2)
    spread = float(weights @ (values - np.average(values, weights=weights)) ** 2)
    return 1.0 - missed / spread if spread > 0 else float(missed == 0)
