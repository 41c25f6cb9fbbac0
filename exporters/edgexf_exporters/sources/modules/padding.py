"""Finds out whether padding behind a row changes what a custom module answers to the row.

In: a `Probe` that knows the module's masks, the axes, the inputs and the outputs. Out: a padding rule of
`edgexf.bundle.manifest.Limits`: ``invariant``, or ``none``.

    rows of several lengths, each alone                  ->  answers
    the same rows in one batch, padded to several totals ->  answers at the real tokens: the same, in every case

Only ids and their mask can be padded so: a module that ignores its mask, or averages over all positions, answers
otherwise. The padding holds any ids. A leak through the mask grows with the amount of padding, so the shortest row is
also padded to the longest length. ``none`` is the answer in each doubt, since it only costs batches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from edgexf.bundle.manifest import Tensor
from edgexf.bundle.signature import Axis, Signature
from edgexf.errors import EdgexfError
from edgexf_exporters.sources.modules.examples import Array, is_choice
from edgexf_exporters.sources.modules.probe import SAME, Probe

NONE, INVARIANT = "none", "invariant"
AROUND = (63, 64, 65, 197)  # lengths around a block and over several, as in the grid
Inputs = dict[str, Array]


def rule_of(
    probe: Probe, signature: Signature, inputs: Sequence[Tensor], outputs: Sequence[Tensor], length: str
) -> str:
    """The padding rule of a module whose outputs have their real tokens along the axis `length`."""
    along = {one.name for one in outputs if cropped(one, signature.samples, length)}
    asked = Padded(probe, signature, length, along)
    if not asked.possible(inputs, outputs):
        return NONE
    return INVARIANT if all(asked.alike(total, rows, filled) for total, rows, filled in asked.cases()) else NONE


@dataclass(frozen=True)
class Padded:
    """Rows alone, beside the same rows in a padded batch.

    Attributes:
        probe: runs the module.
        signature: the axes of the module.
        length: the name of the axis of tokens.
        along: the outputs that have a value for each token.
    """

    probe: Probe
    signature: Signature
    length: str
    along: Collection[str]

    @property
    def axis(self) -> Axis:
        return self.signature.axis(self.length)

    def possible(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bool:
        """Whether inputs and outputs are of the kind that can be padded: rows of tokens, ids and a mask among them."""
        known, rows = self.probe.draws, (self.signature.samples, self.length)
        two = bool(self.signature.samples) and {axis.name for axis in self.signature.axes} == set(rows)
        if not two or self.signature.within or not known.below or self.axis.least == self.axis.most:
            return False
        masks = [one for one in inputs if one.name in known.real and one.shape == rows]
        return (
            len(masks) == len(known.real) == 1
            and all(
                one.shape[:2] == rows and not any(isinstance(size, str) for size in one.shape[2:]) for one in inputs
            )
            and all(cropped(one, self.signature.samples, self.length) is not None for one in outputs)
            and self.signature.axis(self.signature.samples).least == 1
        )

    def cases(self) -> Iterator[tuple[int, list[int], str]]:
        """Yields a padded length, the lengths of the rows, and what their padding holds. The cheapest comes first."""
        step, least, most = self.axis.step, self.axis.least, self.axis.most
        near = [-(-size // step) * step for size in (least, least + step, *AROUND)]
        near = sorted({size for size in near if least <= size <= most})
        batch = self.signature.axis(self.signature.samples).most
        for total in dict.fromkeys((near[1:2] or [most]) + near[-2:]):
            rows = [size for size in near if size <= total][:batch]
            for filled in ("any", "first", "last"):
                yield total, rows, filled
        for filled in ("any", "last"):  # one id throughout leaks the same way at each place
            yield most // step * step, near[:1], filled

    def alike(self, total: int, rows: Sequence[int], filled: str) -> bool:
        """Whether the module answers to each row in the padded batch as to the row alone."""
        given = self.filled(self.drawn(total, rows), rows, filled)
        try:
            together = self.probe.answer(given)
            alone = [
                self.probe.answer({name: array[place : place + 1, :size] for name, array in given.items()})
                for place, size in enumerate(rows)
            ]
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at ids or a mask that it refuses)
            return False
        return all(
            row_difference(together[name], [one[name] for one in alone], name in self.along) <= SAME
            for name in together
        )

    def drawn(self, total: int, rows: Sequence[int]) -> Inputs:
        return self.probe.draws(
            {self.signature.samples: len(rows), self.length: total}, total, lambda row, length: min(rows[row], length)
        )

    def filled(self, given: Inputs, rows: Sequence[int], filled: str) -> Inputs:
        """The inputs, whose padding holds any ids, or in each place the first or the last one."""
        chance, draws = np.random.default_rng(len(rows)), self.probe.draws
        for name, below in draws.below.items():
            array = given[name]
            if is_choice(name):
                continue
            ids = chance.integers(0, below, array.shape) if filled == "any" else 0 if filled == "first" else below - 1
            behind = np.arange(array.shape[1]) >= np.array(rows)[:, None]
            given[name] = np.where(behind, ids, array).astype(array.dtype)
        return given


def row_difference(together: Array, alone: Sequence[Array], tokens: bool) -> float:
    """max |difference| / max |alone| over all rows; infinite for values that are not finite and for other shapes.

    With `tokens`, the second axis holds the tokens of a row and its padding, and the tokens count alone.
    """
    worst, scale = 0.0, float(np.finfo(np.float32).tiny)
    for place, row in enumerate(alone):
        found = together[place : place + 1]
        found = found[:, : row.shape[1]] if tokens else found
        if found.shape != row.shape or not (np.isfinite(found).all() and np.isfinite(row).all()):
            return inf
        worst = max(worst, float(np.abs(found.astype(np.float64) - row).max(initial=0.0)))
        scale = max(scale, float(np.abs(row.astype(np.float64)).max(initial=0.0)))
    return worst / scale


def cropped(output: Tensor, samples: str, length: str) -> bool | None:
    """Whether an output has a value for each token, behind the samples; None for other axes that vary."""
    varies = [size for size in output.shape if isinstance(size, str)]
    if varies == [samples] and output.shape[0] == samples:
        return False
    return True if varies == [samples, length] and output.shape[:2] == (samples, length) else None
