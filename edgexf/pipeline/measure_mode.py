"""Measure the graphs of a mode against fp32 on this machine, before they are in a bundle.

In: an open session of the fp32 graphs, the files of the mode's graphs, and inputs: the user's data, or the golden
inputs of the bundle. Out: an `Outcome` with all that the report says, except the verdict.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgexf import names
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.bundle.preprocess import Text
from edgexf.dtypes import FP32, dtype_named, in_dtype
from edgexf.errors import InputError, temporary_room
from edgexf.passes.quantize.layer_check import Check
from edgexf.passes.quantize.sample import TEXTS
from edgexf.report.quantization import KEPT, ErrorRow, ExplainRow, Layer, Outcome
from edgexf_runtimes import Session
from edgexf_runtimes.device.device import describe
from edgexf_runtimes.inputs.labelled import Labelled
from edgexf_runtimes.measure import speed
from edgexf_runtimes.measure.agreement import (
    ENDLESS,
    Answers,
    Case,
    Compared,
    Relevance,
    compare,
    compare_relevance,
    mean_relevance,
)
from edgexf_runtimes.measure.calibration import arrays_of, stream
from edgexf_runtimes.measure.evaluation import EXPLAINED, Data, explained_cases, spread

if TYPE_CHECKING:
    from edgexf.passes.quantize.builder import Builder, Built
    from edgexf.progress import Progress

SEEN = 24  # inputs of the calibration data or of the cases on which layers are watched, at most
SEEN_TOKENS = 256
CHECKED = 2  # of the watched inputs, those on which layers are compared with their stored numbers
UNSEEN = Check(None, 0.0)
LEAST_CORRELATION, LEAST_OVERLAP = 0.95, 0.8  # with the relevance of fp32, on average


def seen_inputs(session: Session, calibration: Path | None, cases: Sequence[Case]) -> list[Mapping[str, Any]]:
    """A few short inputs on which layers are watched: texts of many kinds and calibration data, or else `cases`.

    The texts are for models that read text. The inputs are padded as they will be later, so the effect of padding on a
    layer is seen too.
    """
    found: list[Mapping[str, Any]] = []
    if isinstance(session.manifest.preprocess, Text):
        with suppress(InputError):  # a head of choices or of a question takes no single text
            found += [arrays_of(session, Labelled(text)) for text in TEXTS]
    if calibration is not None:
        found += [arrays for _, arrays in zip(range(SEEN), stream(session, calibration), strict=False)]
    found = found or [case.arrays for case in spread(cases, SEEN)]
    return [shortened(session.manifest, arrays) for arrays in found]


def shortened(manifest: Manifest, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The first row of the inputs, with at most `SEEN_TOKENS` tokens; the inputs of a custom module stay as they are.

    The row is longer if the model needs more tokens.
    """
    if manifest.signature is not None:
        return dict(arrays)
    most = max(SEEN_TOKENS, manifest.limits.min_length)
    return {name: array[:1, ..., :most] if array.ndim > 1 else array[:1] for name, array in arrays.items()}


def drop_of(found: Sequence[Compared]) -> float:
    """The loss of accuracy if inputs are labelled, else the share of answers that differ from the answers of fp32."""
    labelled = [one.right for one in found if one.right is not None]
    if labelled:
        return float(np.mean([before for before, _ in labelled]) - np.mean([after for _, after in labelled]))
    return 1 - float(np.mean([one.agreement for one in found]))


def room() -> AbstractContextManager[None]:
    """Raises UsageError if the folder for temporary files has no room."""
    return temporary_room("a trial of quantized graphs")


def trial(reference: Session, dtype: str, files: Mapping[str, bytes]) -> AbstractContextManager[Session]:
    """Opens a session of a bundle's graphs in a dtype that is not in it yet. Raises the errors of `trial_of`."""
    return trial_of(reference, dtype, files, graphs_in(reference.manifest, dtype))


@contextmanager
def trial_of(reference: Session, dtype: str, files: Mapping[str, bytes], graphs: Sequence[Graph]) -> Iterator[Session]:
    """Opens a session of those graphs that are among the files. UsageError if there is no room for them."""
    with room():
        place = tempfile.TemporaryDirectory(prefix="edgexf-")
    with place as folder:
        with room():
            for path, data in files.items():
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).write_bytes(data)
        added = tuple(graph for graph in graphs if graph.file in files)
        manifest = replace(reference.manifest, variants=added, candidates=())
        settings = replace(reference.settings, providers=("cpu",))
        with Session(Path(folder), manifest, dtype, settings, nan="flag") as other:  # judged by its differences
            yield other


def graphs_in(manifest: Manifest, dtype: str) -> list[Graph]:
    """The records of a bundle's fp32 graphs, for another dtype."""
    fp32 = manifest.in_dtype(FP32).variants
    return [replace(graph, dtype=dtype, file=in_dtype(graph.file, dtype)) for graph in fp32]


def measured(
    builder: Builder, built: Built, answers: Answers, data: Data, budget: float | None, lengths: Sequence[int], progress: Progress
) -> Outcome:  # fmt: skip
    """Measures everything that the report says of a mode, except its verdict."""
    scheme, mode, reference = builder.scheme, builder.mode, answers.session
    with ExitStack() as opened:
        timed = opened.enter_context(trial(reference, mode.dtype, built.files))
        compared = built.compared
        other = timed if compared is built.files else opened.enter_context(trial(reference, mode.dtype, compared))
        found, own, explained = [], [], []
        methods = reference.manifest.methods
        some = spread(explained_cases(reference.manifest, data), EXPLAINED)
        steps = len(data.cases) + len(data.golden) + len(methods) * len(some)
        with progress(steps, f"{mode.name}: comparing") as advance:
            for case in data.cases:
                found.append(compare(answers, other, case))
                advance(1)
            for case in data.golden:  # `edgexf verify` will run these
                own.append(compare(answers, other, case))
                advance(1)
            for method in methods:
                rows = []
                for case in some:
                    rows += compare_relevance(reference, other, method, case)
                    advance(1)
                explained.append(explain_row(method, rows))
        at, times = speed.lengths(reference.manifest, lengths), []
        with progress(len(at) if len(at) > 1 else None, f"{mode.name}: timing") as advance:
            for length in at:
                times.append(speed.paired_timing(reference, timed, length))
                advance(1)
    labelled = [one.right for one in found if one.right is not None]
    with progress(None, f"{mode.name}: checking layers"), room():
        checks = builder.checks(built, spread(seen_inputs(reference, None, data.cases), CHECKED))
    balanced = set() if scheme is None else scheme.balanced
    return Outcome(
        mode=mode.name,
        dtype=mode.dtype,
        verdict=KEPT,
        reasons=(),
        tolerance=mode.tolerance,
        unsigned=dtype_named(mode.dtype).integer_products,
        bytes=sum(map(len, built.files.values())),
        fp32_bytes=fp32_bytes(reference.manifest, mode.dtype, built),
        errors=tuple(errors_by_length([*found, *own])),
        agreement=float(np.mean([one.agreement for one in found])),
        cases=len(found),
        data=data.name,
        metric=float(np.mean([after for _, after in labelled])) if labelled else None,
        fp32_metric=float(np.mean([before for before, _ in labelled])) if labelled else None,
        drop=None if budget is None else drop_of(found),
        max_drop=budget,
        speed=tuple(times),
        explain=tuple(explained),
        layers=tuple(
            Layer(
                entry.name, entry.shape, entry.products, entry.rows, entry.reads, entry.skipped,
                entry.name in balanced and not entry.skipped, finite(one.error), finite(one.apart) or 0.0,
            )
            for entry in built.entries
            for one in (checks.get(entry.digest, UNSEEN),)
        ),
        curve=(),
        evaluations=0,
        settings={},
        machine={**describe(), "edgexf": version("edgexf")},
    )  # fmt: skip


def finite(number: float | None) -> float | None:
    """The number, or `ENDLESS` if it is not finite, so that JSON can hold it."""
    return None if number is None else number if number < ENDLESS else ENDLESS


def explain_row(method: str, rows: Sequence[Relevance]) -> ExplainRow:
    """The mean agreement of a method. A method without rows to compare counts as good."""
    if not rows:
        return ExplainRow(method, 0, None, None, True)
    mean = mean_relevance(rows)
    good = mean.correlation >= LEAST_CORRELATION and mean.overlap >= LEAST_OVERLAP
    return ExplainRow(method, len(rows), mean.correlation, mean.overlap, good)


def errors_by_length(found: Sequence[Compared]) -> Iterator[ErrorRow]:
    """A row of errors for each length; for more than 16 lengths, a row for all lengths up to each power of two."""
    lengths = sorted({one.length for one in found})
    many = len(lengths) > 16
    groups: dict[int, list[float]] = {}
    for one in found:
        key = min(1 << max(one.length - 1, 0).bit_length(), lengths[-1]) if many else one.length
        groups.setdefault(key, []).append(one.error)
    for length, errors in sorted(groups.items()):
        yield ErrorRow(length, len(errors), float(np.mean(errors)), float(np.max(errors)))


def fp32_bytes(manifest: Manifest, dtype: str, built: Built) -> int:
    """The bytes of the fp32 graphs that have a counterpart among the files of `built`, and of their weights."""
    graphs = {graph.file for graph in manifest.in_dtype(FP32).variants}
    paths = {path for path in graphs if in_dtype(path, dtype) in built.files} | {names.WEIGHTS_FILE}
    return sum(entry["bytes"] for path, entry in manifest.files.items() if path in paths)
