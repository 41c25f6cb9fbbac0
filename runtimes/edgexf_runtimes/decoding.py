"""What comes in front of a graph and behind it: an input with its tokens, and what its outputs say.

In: a `Prepared` input, and the outputs of each of its windows. Out: a `Prediction` with labels and scores, or `Features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.manifest import Manifest
from edgexf.records import Record
from edgexf_runtimes.inputs.preprocess import Raw
from edgexf_runtimes.scores import SCORES, best_places

if TYPE_CHECKING:  # an application waits for the imports of the runtime, so these are imported at their first use
    from edgexf.report.prediction import Features, Prediction
    from edgexf_runtimes.inputs.text import Encoded

Array = npt.NDArray[Any]
Answer = tuple[dict[str, Array], float, int]  # outputs of a row, its share of the run in milliseconds, rows of the run


class Prepared(Record):
    """An input after reading and tokenizing.

    Attributes:
        raw: the input as it was read.
        windows: its tokens: one window, or several if the caller gave a stride. A picture has one window without tokens.
        rows: the checked inputs of the graph for each window, as they run where it runs alone.
    """

    raw: Raw
    windows: Sequence[Encoded]
    rows: Sequence[Mapping[str, Array]]

    @property
    def truncated(self) -> bool:
        return self.raw.truncated or self.windows[0].truncated

    @property
    def data(self) -> bytes:
        """The bytes of the input that the model read."""
        last = max((end for window in self.windows for _, end in window.offsets), default=len(self.raw.data))
        return self.raw.data[:last] if self.truncated else self.raw.data


def rows_of(outputs: Mapping[str, Array], rows: int, ms: float) -> list[Answer]:
    """The answer of each row of a run that took `ms` milliseconds."""
    return [({name: array[row] for name, array in outputs.items()}, ms / rows, rows) for row in range(rows)]


def prediction(manifest: Manifest, given: Prepared, answers: Sequence[Answer]) -> Prediction:
    """A classifier's answer, from the mean logits of all windows of an input."""
    from edgexf.report.prediction import Prediction

    logits = np.mean([outputs[manifest.variants[0].outputs[0].name] for outputs, _, _ in answers], axis=0)
    finite = bool(np.isfinite(logits).all())
    with np.errstate(invalid="ignore"):  # of infinite logits, which are flagged
        scores = SCORES[manifest.scores](logits)
    best = best_places(scores)
    top = tuple((manifest.labels[i], float(scores[i])) for i in best)
    ms, batch = sum(ms for _, ms, _ in answers), max(batch for _, _, batch in answers)
    sure = manifest.scores != "none"
    return Prediction(given.raw.name, top[0][0], top[0][1], top, given.truncated, ms, len(answers), sure, batch, finite)


def features(manifest: Manifest, given: Prepared, answer: Answer) -> Features:
    """The outputs of one window, those of tokens without padding."""
    from edgexf.report.prediction import Features

    (window,), (outputs, ms, batch) = given.windows, answer
    tokens = {output.name for output in manifest.variants[0].outputs if output.has_tokens}
    kept = {name: array[: len(window.ids)] if name in tokens else array for name, array in outputs.items()}
    return Features(given.raw.name, window.tokens, window.offsets, kept, given.truncated, ms, batch)
