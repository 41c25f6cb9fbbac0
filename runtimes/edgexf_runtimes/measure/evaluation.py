"""The inputs on which the answers of graphs are judged, and the quality of each dtype of a bundle on them.

In: a session, and a file as `edgexf_runtimes.inputs.labelled` reads it, or None for the bundle's golden inputs. Out:
`Data`; and a `Quality` for each session of other dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexf import names
from edgexf.bundle import golden
from edgexf.bundle.heads import CLASSES
from edgexf.bundle.manifest import Manifest
from edgexf.dtypes import FP32
from edgexf.errors import InputError, MissingExtraError, UsageError
from edgexf.report.latency.measured.quality import EAGER, FP32_HERE, Explained, Quality
from edgexf_runtimes.inputs.labelled import place_of, read_labelled
from edgexf_runtimes.measure.agreement import (
    ENDLESS,
    Answers,
    Case,
    Compared,
    Relevance,
    compare,
    compare_relevance,
    mean_relevance,
    telling,
)
from edgexf_runtimes.measure.calibration import arrays_of
from edgexf_runtimes.measure.golden import check
from edgexf_runtimes.session import Session

EXPLAINED = 12  # inputs whose explanations are compared, at most


@dataclass(frozen=True)
class Data:
    """The inputs of a measurement.

    Attributes:
        cases: the inputs on which answers and explanations are judged.
        golden: the golden inputs, on which only the tolerance is judged; empty if they are the `cases`.
        name: what the cases are, for the report.
    """

    cases: Sequence[Case]
    golden: Sequence[Case]
    name: str


def data_of(session: Session, evaluate: Path | None) -> Data:
    """The user's data in `evaluate`, or else the golden inputs of the bundle.

    InputError, which names the line, if only some inputs have a label, or if an input does not fit the model.
    """
    if evaluate is None:
        reads_tokens = session.manifest.variants[0].inputs[0].name == names.INPUT_IDS
        kind = "tokens" if reads_tokens else "values"
        said = f"the bundle's golden inputs, which are random {kind}; judge by real ones with --evaluate FILE"
        return Data(golden_cases(session), (), said)
    manifest = session.manifest
    given, cases = read_labelled(evaluate, manifest.labels if session.classifies else (), session.input_timeout), []
    without = [one.line for one in given if one.label is None]
    if 0 < len(without) < len(given):
        raise InputError(
            f"all inputs or none must have a label, got {len(given) - len(without)} of {len(given)} in {evaluate.name}, none in line {without[0]}; label the others, or put them into a file of their own."
        )
    for one in given:
        try:
            arrays = arrays_of(session, one)
            cases.append(Case(arrays, label=column_of(manifest, arrays, one.label)))
        except MissingExtraError:
            raise
        except (InputError, UsageError) as error:  # a text for a model of arrays is an error of the line too
            raise InputError(
                f"data to evaluate on must be inputs of the model, got {place_of(one.line, evaluate)}: {error}"
            ) from error
    return Data(cases, golden_cases(session), evaluate.name)


def column_of(manifest: Manifest, arrays: Mapping[str, Any], label: str | int | None) -> int | None:
    """The position of a label in a row of the first output: among the classes, or among the choices of the input."""
    if label is None:
        return None
    graph = manifest.variants[0]
    sizes = {
        called: size
        for tensor in graph.inputs
        for called, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True)
    }
    shape = [sizes.get(called, called) for called in graph.outputs[0].shape]
    place = manifest.labels.index(label) if label in manifest.labels else label
    chooses = CLASSES.fits(graph.outputs) and shape[1] > 1
    if not chooses or manifest.scores == "none" or isinstance(place, str):
        raise InputError(f"labels are for models that choose among some, got {label!r}; leave it out.")
    if shape[0] != 1 or not 0 <= place < shape[1]:
        raise InputError(
            f"a label must be one of {shape[1]} columns, counted from 0, of a single row, got {label} of {shape[0]} rows; correct it."
        )
    return place


def golden_cases(session: Session) -> list[Case]:
    """The golden inputs of the bundle, which `edgexf verify` runs too."""
    graphs = session.manifest.variants
    kinds = {tensor.name: tensor.dtype for tensor in graphs[0].inputs}
    targets = {tensor.name: tensor.dtype for graph in graphs[1:] for tensor in session.manifest.targets(graph.method)}
    cells = golden.read(session.path / names.GOLDEN_FILE).values()
    return [
        Case(
            {name: cell[name].astype(dtype) for name, dtype in kinds.items()},
            {name: cell[name].astype(dtype) for name, dtype in targets.items() if name in cell},
        )
        for cell in cells
    ]


def spread(cases: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the cases, evenly spread."""
    places: Any = np.unique(np.linspace(0, len(cases) - 1, min(count, len(cases))).astype(int)) if cases else []
    return [cases[place] for place in places]


def explained_cases(manifest: Manifest, data: Data) -> list[Case]:
    """The cases that are long enough to compare explanations; golden cases if all cases of a user are too short."""
    long = ([case for case in cases if telling(manifest, case).any()] for cases in (data.cases, data.golden))
    return next(filter(None, long), [])


def of_dtypes(
    sessions: Sequence[Session], reference: Session, data: Data, advance: Callable[[int], object]
) -> list[Quality]:
    """The quality of each session against fp32, on the inputs of a file."""
    answers = Answers(reference)
    return [against_fp32(answers, session, data, advance) for session in sessions]


def against_fp32(answers: Answers, session: Session, data: Data, advance: Callable[[int], object]) -> Quality:
    found: list[Compared] = []
    for case in data.cases:
        found.append(compare(answers, session, case))
        advance(1)
    labelled = [one.right for one in found if one.right is not None]
    right = [float(np.mean(places)) for places in zip(*labelled, strict=True)]
    error, worst = mean_and_worst([one.error for one in found])
    return Quality(
        dtype=session.dtype,
        reference=FP32_HERE,
        data=data.name,
        cases=len(found),
        error=error,
        worst=worst,
        agreement=float(np.mean([one.agreement for one in found])),
        accuracy=right[1] if right else None,
        reference_accuracy=right[0] if right else None,
        explanations=explained(answers.session, session, data) if session.dtype != FP32 else (),
    )


def explained(reference: Session, other: Session, data: Data) -> tuple[Explained, ...]:
    """The agreement by each explanation method that both sessions hold."""
    some = spread(explained_cases(reference.manifest, data), EXPLAINED)
    methods = [method for method in reference.manifest.methods if method in other.manifest.methods]
    return tuple(
        explained_by(method, [row for case in some for row in compare_relevance(reference, other, method, case)])
        for method in methods
    )


def explained_by(method: str, rows: Sequence[Relevance]) -> Explained:
    if not rows:
        return Explained(method, 0, None, None)
    mean = mean_relevance(rows)
    return Explained(method, len(rows), mean.correlation, mean.overlap)


def on_golden(sessions: Sequence[Session]) -> list[Quality]:
    """The error of each session on the bundle's golden inputs against the eager model, which was recorded at export."""
    return [of_golden(session) for session in sessions if names.GOLDEN_FILE in session.whole.files]


def of_golden(session: Session) -> Quality:
    errors = [min(row.outputs, ENDLESS) for row in check(session)]
    return Quality(session.dtype, EAGER, "golden inputs", len(errors), *mean_and_worst(errors))


def mean_and_worst(errors: Sequence[float]) -> tuple[float, float]:
    """The mean of errors, at least one, and the largest one. The rounding of equal errors takes no mean above it."""
    worst = max(errors)
    return min(float(np.mean(errors)), worst), worst


def check_fp32(session: Session) -> None:
    """Raises UsageError for a bundle without fp32, with which nothing can be compared."""
    if FP32 not in {graph.dtype for graph in session.whole.variants}:
        raise UsageError(
            f"a bundle must hold fp32 for its dtypes to be compared with it, got {session.dtype} alone; leave out --evaluate."
        )
