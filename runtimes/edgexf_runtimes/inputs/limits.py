"""How much one call may bring: the ``limits=`` of `edgexf.load`.

In: a mapping, or None. Out: `CallLimits`. The sizes of a call are compared with them before anything is converted or
copied, so that a request can't take the memory of a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgexf.checks import is_count, require_choice
from edgexf.errors import InputError, UsageError, enumerated
from edgexf.records import Record

MOST_BYTES = 2 << 30  # a bound far above a usual call, and below the memory of most devices that serve several


class CallLimits(Record):
    """How much one call may bring. Raises UsageError for a value out of range.

    Attributes:
        batch: the most rows that run together; None for any number. `Session.predict` and the methods of `explain` that
            run many rows form batches within it.
        bytes: the most bytes that the input arrays of a run take in the dtypes of the graph.
    """

    batch: int | None = None
    bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        for name, count in (("batch", self.batch), ("bytes", self.bytes)):
            good = is_count(count, 1) or (name == "batch" and count is None)
            require_choice(good, f"limits[{name!r}] must be a whole number above 0", count, "choose another")

    def rows(self, wanted: int) -> int:
        """The number of rows that may run together, of those that are wanted."""
        return wanted if self.batch is None else min(wanted, self.batch)

    def check(self, rows: int, size: int) -> None:
        """Raises InputError for more rows or bytes than a call may bring."""
        if self.batch is not None and rows > self.batch:
            raise InputError(
                f"a call may bring at most {self.batch} rows, the limit of this session, got {rows}; call it with parts."
            )
        if size > self.bytes:
            raise InputError(
                f"the input arrays of a call may take at most {self.bytes:,} bytes, the limit of this session, got {size:,}; call it with parts, or load with a larger limit."
            )


def limits_of(given: CallLimits | Mapping[str, Any] | None) -> CallLimits:
    """The limits that a caller names, or the default. Raises UsageError for unknown keys."""
    if given is None or isinstance(given, CallLimits):
        return given or CallLimits()
    known = [field.name for field in fields(CallLimits)]
    if not isinstance(given, Mapping):
        raise UsageError(
            f"limits must be a mapping with keys of {', '.join(known)}, got {type(given).__name__}; write limits={{'batch': 8}}."
        )
    unknown = [name for name in given if not isinstance(name, str) or name not in known]
    if unknown:
        raise UsageError(f"limits must have keys of {', '.join(known)}, got {enumerated(unknown)}; leave them out.")
    return CallLimits(**given)
