"""The options of an export that need no model, checked before anything loads: none of this imports torch.

In: the names of a grid and of explanation methods, an opset. Out: nothing, or a UsageError that names the choices.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgexf.bundle.graphs import OPS, PORTABLE
from edgexf.errors import UsageError
from edgexf_exporters.explain.methods import METHODS

GRIDS = ("quick", "full")
OPSETS = range(20, 24)


def check_options(explain: str | Sequence[str] | None, grid: str, opset: int, ops: str = PORTABLE) -> None:
    """Raises UsageError for an unknown method, grid, opset or set of operators."""
    for method in (explain,) if isinstance(explain, str) else explain or ():
        if method not in METHODS:
            raise UsageError(
                f"an explanation method must be one of {', '.join(METHODS)} or none, got {method!r}; choose one of them."
            )
    if grid not in GRIDS:
        raise UsageError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}; choose one of them.")
    if ops not in OPS:
        raise UsageError(f"ops must be one of {', '.join(OPS)}, got {ops!r}; choose one of them.")
    if opset not in OPSETS:
        raise UsageError(
            f"opset must be {OPSETS.start} to {OPSETS.stop - 1}, got {opset}; leave it out for {OPSETS.start}."
        )
