"""Check a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell the largest relative difference from the eager model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgexf import names
from edgexf.golden import read, relative_difference
from edgexf_runtimes.session import Session


@dataclass(frozen=True)
class GoldenRow:
    """What was seen in one cell: relative differences, `relevance` None without an explain graph."""

    cell: str
    logits: float
    relevance: float | None

    @property
    def worst(self) -> float:
        return max(self.logits, self.relevance or 0.0)


def check(session: Session) -> list[GoldenRow]:
    """Every cell of the bundle's golden outputs, run on this device."""
    rows = []
    explains = bool(session.manifest.methods)
    for cell, tensors in read(session.path / names.GOLDEN_FILE).items():
        ids, mask = (tensors[name].astype(np.int64) for name in (names.INPUT_IDS, names.ATTENTION_MASK))
        predicted = session.run(input_ids=ids, attention_mask=mask)
        found = session.run_explain(input_ids=ids, attention_mask=mask) if explains else predicted
        logits = max(
            relative_difference(found[names.LOGITS], tensors[names.LOGITS]),
            relative_difference(predicted[names.LOGITS], tensors[names.LOGITS]),
        )
        relevance = relative_difference(found[names.RELEVANCE], tensors[names.RELEVANCE]) if explains else None
        rows.append(GoldenRow(cell, logits, relevance))
    return rows
