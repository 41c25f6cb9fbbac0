"""The value of a part of an input: the explained value when the other tokens are replaced.

In: one row of the predict graph's inputs, its tokens in groups, and a function from a row's outputs to the explained
value. Out: the value of any coalition of groups. Many coalitions share one run.

    kept [coalitions, features]  ->  rows of input_ids, others replaced  ->  predict graph  ->  value [coalitions]

Every row has the length of the input, and the attention mask, segments and global tokens of the input. Only the ids
differ. So rows run together in every bundle, even if padding changes answers, and a coalition never moves a token.

Features are the single tokens of the input. If these are too many, features are spans of adjacent tokens, all of the
same length. Words were weighed as features as well, but bytes and Chinese text have no words, and the number of words
can't be chosen.

Source: cooperative games (Shapley 1953); removal by replacement (Covert, Lundberg and Lee 2021, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import EdgexfError, InputError
from edgexf.progress import Steps
from edgexf_runtimes.inputs.preprocess import BATCH_TOKENS

Array = npt.NDArray[Any]
Kept = npt.NDArray[np.bool_]  # [coalitions, features], True if the feature keeps its tokens
Values = npt.NDArray[np.float64]
Outputs = Mapping[str, Array]  # outputs of the predict graph, of one row
Run = Callable[[Mapping[str, Array]], dict[str, Array]]  # from inputs by name to outputs, as `Session.run`

SPECIAL = (0, 0)  # the offsets of a token that stands for nothing in the input


def real_places(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The indices of the tokens that may be left out: all but special tokens. Raises InputError if there are none."""
    places = [place for place, offset in enumerate(offsets) if tuple(offset) != SPECIAL]
    if not places:
        raise InputError("an input must hold a token that can be left out, got special ones alone; give more text.")
    return places


def spans(places: Sequence[int], span: int, most: int) -> list[list[int]]:
    """The places in groups of `span`, or in larger groups if there would be more than `most`. The last group may be
    shorter.
    """
    size = max(span, -(-len(places) // most))
    return [list(places[start : start + size]) for start in range(0, len(places), size)]


class ValueFunction:
    """Computes the values of coalitions of `groups`. Each group is a list of places in the row.

    Before each run, `over` says whether the time is over. `together` rows make one run, by default as many as
    `Session.predict` runs at once. `first` names the input that holds token ids, [1, ...]; places count its tokens in
    flattened order. `fixed` names the inputs that hold no rows.

    Attributes:
        whole: the value of the unchanged row.
        features: the number of groups.
        rows: the number of coalitions that the last call ran.
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
        progress: Steps | None = None,
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
        """The value of each coalition, [coalitions that were run]. If the time is over, the last coalitions were not
        run.
        """
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
        outputs = self._run(rows)
        worth = [self._value({name: array[row] for name, array in outputs.items()}) for row in range(len(kept))]
        if not np.isfinite([self.whole, *worth]).all():
            raise EdgexfError(
                "an explained value must be a finite number, got one that is none; look at the model's outputs for this input."
            )
        return worth


def distinct(kept: Kept) -> tuple[Kept, Values]:
    """Each coalition once, in the order given, and how often it occurs. A coalition that is drawn twice needs only one
    run.
    """
    _, first, counts = np.unique(kept, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return kept[first[order]], counts[order].astype(np.float64)


def r_squared(values: Values, fitted: Values, weights: Values) -> float:
    """The share of the values' weighted variance that a fit explains.

    The best share is 1; it is also 1 if the values do not vary and the fit misses none. The share is below 0 for a fit
    that is worse than the mean of the values, which a fit with a constraint can be.
    """
    missed = float(weights @ (values - fitted) ** 2)
    spread = float(weights @ (values - np.average(values, weights=weights)) ** 2)
    return 1.0 - missed / spread if spread > 0 else float(missed == 0)
