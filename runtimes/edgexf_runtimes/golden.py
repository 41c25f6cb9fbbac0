"""Check a bundle's golden outputs on this device, with numpy and onnxruntime alone.

In: an open session. Out: for each golden cell the largest relative difference from the eager model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgexf import names
from edgexf.errors import BundleError
from edgexf.golden import Array, read, relative_difference, residual_difference
from edgexf_runtimes.session import Session


@dataclass(frozen=True)
class GoldenRow:
    """What was seen in one cell: relative differences, None without an explain graph."""

    cell: str
    logits: float
    relevance: float | None
    residual: float | None = None

    @property
    def worst(self) -> float:
        return max(self.logits, self.relevance or 0.0, self.residual or 0.0)


def check(session: Session) -> list[GoldenRow]:
    """Every cell of the bundle's golden outputs, run on this device. BundleError where there are none to check."""
    cells = read(session.path / names.GOLDEN_FILE)
    explains = bool(session.manifest.methods)
    wanted = {names.INPUT_IDS, names.ATTENTION_MASK, names.TARGET, names.LOGITS}
    wanted |= {names.RELEVANCE, names.RESIDUAL} if explains else set()
    if not cells or any(set(tensors) != wanted for tensors in cells.values()):
        raise BundleError(
            f"{names.GOLDEN_FILE} must hold cells of {sorted(wanted)}, got others or none; export the bundle again."
        )
    return [check_cell(session, cell, tensors, explains) for cell, tensors in cells.items()]


def check_cell(session: Session, cell: str, tensors: Mapping[str, Array], explains: bool) -> GoldenRow:
    ids, mask = (tensors[name].astype(np.int64) for name in (names.INPUT_IDS, names.ATTENTION_MASK))
    logits = relative_difference(session.run(input_ids=ids, attention_mask=mask)[names.LOGITS], tensors[names.LOGITS])
    if not explains:
        return GoldenRow(cell, logits, None)
    found = session.run_explain(input_ids=ids, attention_mask=mask, target=tensors[names.TARGET])
    return GoldenRow(
        cell,
        max(logits, relative_difference(found[names.LOGITS], tensors[names.LOGITS])),
        relative_difference(found[names.RELEVANCE], tensors[names.RELEVANCE]),
        residual_difference(found[names.RESIDUAL], tensors[names.RESIDUAL], tensors[names.RELEVANCE]),
    )
