"""Verify a bundle on disk on this device, without torch.

bundle on disk -> hashes, contract -> golden outputs in every dtype, by its .ort files and by its candidates -> Verdict
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.graphs import PORTABLE
from edgexf.errors import BundleError

if TYPE_CHECKING:
    from edgexf_runtimes import Session
    from edgexf_runtimes.measure.golden import GoldenRow

ORT = ".ort"  # the form of a part


@dataclass(frozen=True)
class Part:
    """The golden cells as one dtype computes them, and the tolerance that they must keep. `form` is ``.ort`` for the .ort
    files of the dtype, the name of a candidate for its graphs, and empty for the portable ONNX files. `unopened` is why a
    candidate can't be opened here, where the portable graphs run in its place; otherwise empty.
    """

    dtype: str
    rows: tuple[GoldenRow, ...]
    tolerance: float
    form: str = ""
    unopened: str = ""

    @property
    def name(self) -> str:
        """The dtype and the form, for people."""
        return f"{self.dtype} {self.form}" if self.form else self.dtype

    @property
    def worst(self) -> float:
        return max((row.worst for row in self.rows), default=0.0)

    @property
    def passed(self) -> bool:
        return all(row.passes(self.tolerance) for row in self.rows)


@dataclass(frozen=True)
class Verdict:
    """What `verify` found on this device: a part for each dtype of the bundle, fp32 first, and behind it one for its .ort
    files if the bundle holds some, and one for each candidate in this dtype.
    """

    bundle: Bundle
    parts: tuple[Part, ...]

    @property
    def rows(self) -> tuple[GoldenRow, ...]:
        """The rows of fp32."""
        return self.parts[0].rows

    @property
    def tolerance(self) -> float:
        return self.parts[0].tolerance

    @property
    def worst(self) -> float:
        return self.parts[0].worst

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)


def verify(
    path: str | os.PathLike[str], *, providers: Any = "cpu", profile: str = "balanced", threads: int | None = None
) -> Verdict:
    """Checks hashes, contract and golden outputs of a bundle on this device. BundleError if the bundle was changed.

    `providers`, `profile` and `threads` are those of `edgexf.load`.
    """
    from edgexf_runtimes import load
    from edgexf_runtimes.device.dtype import tolerance
    from edgexf_runtimes.measure import golden

    how: dict[str, Any] = {
        "providers": providers, "profile": profile, "threads": threads, "verify": "never", "check": "never", "nan": "flag", "tuned": "never",
    }  # fmt: skip
    found = bundle.read(Path(path))
    parts = []
    for dtype in dict.fromkeys(graph.dtype for graph in found.variants):
        with load(path, dtype=dtype, candidate=PORTABLE, **how) as session:
            most = tolerance(Path(path), found, dtype)
            parts.append(Part(dtype, tuple(golden.check(session)), most))
            if names.ort_file(session.manifest.variants[0].file) in found.files:
                with ort_files(session):
                    parts.append(Part(dtype, tuple(golden.check(session)), most, ORT))
        for one in found.candidates:
            if dtype in {graph.dtype for graph in one.graphs}:
                parts.append(of_candidate(one.name, dtype, most, partial(load, path, dtype=dtype, **how)))
    return Verdict(Bundle(Path(path), found), tuple(parts))


def of_candidate(name: str, dtype: str, most: float, opened: Callable[..., Session]) -> Part:
    """The golden cells by the graphs of a candidate, which `opened` opens."""
    from edgexf_runtimes.measure import golden

    try:
        with opened(candidate=name) as session:
            return Part(dtype, tuple(golden.check(session)), most, name)
    except BundleError as error:
        return Part(dtype, (), most, name, str(error))


@contextmanager
def ort_files(session: Session) -> Iterator[None]:
    """Runs the graphs of a session by their .ort files within the block."""
    from edgexf_runtimes.device.providers import create

    with ExitStack() as stack:
        for graph in session.manifest.variants:
            path = session.path / names.ort_file(graph.file)
            stack.enter_context(session.graphs.replaced(graph.method, create(path, settings=session.settings)))
        yield
