"""Which inputs a latency report measured.

In: what `edgexf bench` chose, or its JSON. Out: an `Inputs`. A file is told by its name alone, since its folder belongs to the
device on which it was measured; its hash tells it from others of this name.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.reading import check_keys, of_kind

RANDOM, GOLDEN, FILE = KINDS = ("random", "golden", "file")
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Inputs:
    """What was measured.

    Attributes:
        kind: ``random`` tokens or bytes, whose seed is their number; the ``golden`` inputs of the bundle, repeated; or the
            user's ``file``.
        name: of the file, without its folder; else empty.
        sha256: of the bytes of the file; else empty.
    """

    kind: str
    name: str = ""
    sha256: str = ""

    def text(self) -> str:
        """In words, for a reader of the report."""
        if self.kind == FILE:
            return f"{self.name} (sha256 {self.sha256}), cut or repeated to each length"
        return "random, the seed is the length" if self.kind == RANDOM else "golden inputs of the bundle, repeated"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `to_dict`. ValueError for other values."""
        check_keys(cls, values)
        kind, name, sha256 = (of_kind(values, key, str) for key in ("kind", "name", "sha256"))
        require(kind in KINDS, f"inputs must be one of {', '.join(KINDS)}", kind)
        named = bool(name) and SHA256.fullmatch(sha256) is not None
        require(named if kind == FILE else not (name or sha256), "a file must have a name and a hash", (name, sha256))
        return cls(kind, name, sha256)
