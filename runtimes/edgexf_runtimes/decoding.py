"""What comes in front of a graph and behind it: an input with its tokens, and the outputs of each of its windows.

In: an input after reading and tokenizing. Out: a `Prepared`, and the `Answer` of each window, from which
`edgexf_runtimes.tasks` makes the answer to the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgexf.records import Record
from edgexf_runtimes.inputs.preprocess import Raw

if TYPE_CHECKING:  # an application waits for the imports of the runtime, so these are imported at their first use
    from edgexf_runtimes.inputs.text import Encoded

Array = npt.NDArray[Any]
Answer = tuple[dict[str, Array], float, int]  # outputs of a row, its share of the run in milliseconds, rows of the run


class Prepared(Record):
    """An input after reading and tokenizing.

    Attributes:
        raw: the input as it was read.
        windows: its tokens: one window, or several if the caller gave a stride. A picture has one window without tokens.
        rows: the checked inputs of the graph for each window, as they run where it runs alone.
        stride: the tokens that each window shares with the window before it.
    """

    raw: Raw
    windows: Sequence[Encoded]
    rows: Sequence[Mapping[str, Array]]
    stride: int = 0

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
