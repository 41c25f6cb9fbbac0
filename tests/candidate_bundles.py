"""Small bundles with candidates, and times that a test makes up, so that it decides which way is the fastest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from small import DATA

from edgexf import bundle
from edgexf.bundle.graphs import PORTABLE, Candidate, candidate_file
from edgexf.dtypes import FP32
from edgexf.report.quantization import Speed
from edgexf_runtimes.session import Session

WEIGHTS, OTHER_WEIGHTS = "model.onnx_data", "other.onnx_data"  # of equal length, so that a graph stays well-formed


def copied(folder: Path, name: str = "transformer") -> Path:
    """Copies a small bundle that is kept for the tests."""
    return Path(shutil.copytree(DATA / "bundles" / "v1" / name, folder / name))


def add_candidate(
    folder: Path, name: str, *, wrong: bool = False, broken: bool = False, ops: str = PORTABLE, preferred: bool = False, dtype: str = FP32, only: str = ""
) -> None:  # fmt: skip
    """Adds copies of a dtype's graphs to a bundle as a candidate. `wrong` ones have other weights, and so other answers;
    `broken` ones are no graphs; `only` the graphs with this in their names are so.
    """
    before = bundle.read(folder)
    graphs, changed = [], {}
    for graph in before.in_dtype(dtype).variants:
        data = (folder / graph.file).read_bytes()
        this = only in graph.file
        if wrong and this:
            assert WEIGHTS.encode() in data
            data = data.replace(WEIGHTS.encode(), OTHER_WEIGHTS.encode())
        graphs.append(replace(graph, file=candidate_file(graph.file, name), ops=ops, profile=""))
        changed[graphs[-1].file] = b"broken" if broken and this else data
    if wrong:
        weights = np.frombuffer((folder / "onnx" / WEIGHTS).read_bytes(), np.float32)
        changed[f"onnx/{OTHER_WEIGHTS}"] = (1.5 * weights).tobytes()
    candidates = (*before.candidates, Candidate(name, tuple(graphs), preferred))
    bundle.revise(folder, changed, (), before, replace(before, candidates=candidates))


def names_of(session: Session) -> str:
    """How a session runs: the file of its graph, its threads and its profile."""
    file = Path(session.manifest.variants[0].file).stem.removeprefix("model").strip("_")
    return f"{file or 'portable'} {session.settings.threads} {session.settings.profile.name}"


def times(cost: Callable[[str], float], doubt: float = 0.0) -> Callable[[Session, Session, int], Speed]:
    """A timing in which a run of a session takes the time that `cost` says of its `names_of`.

    The interval of a ratio reaches as far to both sides as `doubt` says.
    """

    def timing(best: Session, other: Session, length: int) -> Speed:
        ratio = cost(names_of(other)) / cost(names_of(best))
        return Speed(length, 7, ratio, ratio - doubt, ratio + doubt, 1e3 * cost(names_of(best)))

    return timing
