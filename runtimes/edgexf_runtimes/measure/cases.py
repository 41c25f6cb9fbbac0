"""What a measurement runs: a graph, and inputs of one length.

In: a session, and a length in bytes for a model of bytes, in tokens for others. Out: `Case`s, their inputs, and their runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgexf import names
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import UsageError
from edgexf_runtimes.inputs import made
from edgexf_runtimes.session import Session

LENGTHS = (128, 256, 512, 1024, 2048, 4096)  # by default, as far as a model takes them


@dataclass(frozen=True)
class Case:
    """What one row of the report measures.

    Attributes:
        graph: ``predict``, or an explanation method.
        length: the length of the input, as in `edgexf_runtimes.inputs.made`.
        inputs: the folder to which `user_input.keep` wrote the user's own; None for those of `made`.
    """

    graph: str
    length: int
    inputs: str | None = None


def parse_lengths(text: str, name: str = "lengths") -> list[int]:
    """Parses lengths, or other counts, such as ``128,512``. Raises UsageError for anything else."""
    try:
        lengths = sorted({int(part) for part in text.split(",")})
    except ValueError:
        lengths = []
    if not lengths or lengths[0] < 1:
        raise UsageError(
            f"{name} must be whole numbers of at least 1, separated by commas, got {text!r}; write them like 128,512."
        )
    return lengths


def random_inputs(session: Session, length: int) -> dict[str, npt.NDArray[Any]]:
    """The inputs of the predict graph; see `edgexf_runtimes.inputs.made.inputs`."""
    return made.inputs(session.path, session.manifest, length)


def users_inputs(session: Session, folder: str, length: int) -> dict[str, npt.NDArray[Any]]:
    """The inputs of the predict graph from the user's file; see `user_input.keep`."""
    from edgexf_runtimes.measure import user_input  # here, because a cold start waits for its imports

    return user_input.arrays_of(session.manifest, Path(folder), length)


def tokens_of(session: Session, case: Case) -> int:
    """The number of tokens in one row of an input of this length: a model of bytes adds its class token, and a row of a
    model that chooses holds several choices.
    """
    length = case.length
    if case.inputs is not None and session.manifest.signature is None:
        return int(users_inputs(session, case.inputs, length)[names.INPUT_IDS].size)
    choices = made.CHOICES if names.CHOICES in session.manifest.variants[0].inputs[0].shape else 1
    return choices * (length + (1 if isinstance(session.manifest.preprocess, Bytes) else 0))


def feeds(session: Session, case: Case) -> dict[str, npt.NDArray[Any]]:
    """The inputs of a case's graph."""
    if case.inputs is None:
        inputs = random_inputs(session, case.length)
    else:
        inputs = users_inputs(session, case.inputs, case.length)
    return inputs if case.graph == names.PREDICT else made.explained(session.manifest, case.graph, inputs)


def run(session: Session, case: Case, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    if case.graph == names.PREDICT:
        session.run(inputs)
    else:
        session.run_explain(inputs, method=case.graph)


def chosen_lengths(session: Session, wanted: Sequence[int] | None) -> list[int]:
    """The lengths to measure: those in `wanted`, or by default those of `LENGTHS` that the model takes.

    The model's greatest length takes the place of greater defaults. Raises UsageError for a length in `wanted` that the
    model does not take.
    """
    if wanted is not None:
        return made.ascending(session.manifest, wanted)
    least, most = made.shortest(session.manifest), made.longest(session.manifest)
    return sorted({min(max(length, least), most) for length in LENGTHS})
