"""Quantize a bundle, measure the result against fp32 on this machine, and keep it or refuse it with the reason.

    bundle on disk -> fp32 graphs -> a mode's passes -> trial sessions -> measurements -> verdict -> the bundle, revised

This needs no torch, so a device can do it. This module only composes:

    edgexf.passes.quantize   decides how weights are stored
    measure_mode             decides what is measured
    search_kept              decides which weights are not quantized
    verdict                  decides whether the result is kept
    write_quantized          writes the graphs, those of candidates too
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgexf import bundle, names
from edgexf.bundle.graphs import PORTABLE
from edgexf.bundle.manifest import Candidate, Graph, Manifest
from edgexf.checks import require_choice
from edgexf.dtypes import DTYPES, FP32, MODES, dtype_named
from edgexf.errors import BundleError, RefusedError, UsageError
from edgexf.extras import require_onnxruntime, require_packages
from edgexf.pipeline.search_kept import Search
from edgexf.pipeline.verdict import judged
from edgexf.progress import Progress, unseen
from edgexf.report.quantization import FORCED, KEPT, PASSED_OVER, REFUSED, Outcome, Point

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgexf.passes.quantize.builder import Builder, Built
    from edgexf.passes.quantize.modes import Mode
    from edgexf_runtimes import Session
    from edgexf_runtimes.measure.agreement import Answers, Case
    from edgexf_runtimes.measure.evaluation import Data

AUTO = "auto"
AUTO_MODES = tuple(dtype.mode for dtype in DTYPES if dtype.automatic)  # modes that a CPU may run
MAX_DROP = 0.005
LENGTHS = (128, 512, 4096)  # graphs are timed at these lengths, as far as a model takes them
EVALUATIONS = 96  # of a search, at most
RANKED_ON = 16  # inputs on which the cost of one weight is measured


@dataclass(frozen=True)
class Request:
    """What the user asks for. UsageError for a value out of range.

    Attributes:
        mode: the name of a quantization mode, or ``auto``.
        calibration: a file of calibration data; see `edgexf_runtimes.measure.calibration`.
        calibration_method: a method of `edgexf.passes.quantize.calibrate`.
        evaluate: a file of data to measure on; see `edgexf_runtimes.inputs.labelled`.
        max_drop: the budget of the drop. None stands for `MAX_DROP` if there is data in `evaluate` or the mode is
            ``auto``; otherwise there is no budget, since golden inputs are random tokens.
        force: writes a refused dtype all the same.
        overwrite: replaces a dtype that the bundle already holds.
        lengths: the lengths at which graphs are timed, in tokens.
        threads: the number of threads of the sessions; None for ONNX Runtime's default.
        input_timeout: the time in seconds that a pipe among the data may give nothing; see `edgexf.load`.
    """

    mode: str
    calibration: Path | None = None
    calibration_method: str = "minmax"
    evaluate: Path | None = None
    max_drop: float | None = None
    force: bool = False
    overwrite: bool = False
    lengths: tuple[int, ...] = LENGTHS
    threads: int | None = None
    input_timeout: float = 30.0

    def __post_init__(self) -> None:
        require_choice(
            self.mode in (*MODES, AUTO),
            f"mode must be one of {', '.join((*MODES, AUTO))}",
            self.mode,
            "choose one of them",
        )
        require_choice(
            bool(self.lengths) and min(self.lengths) >= 1,
            "lengths must be whole numbers of at least 1",
            self.lengths,
            "name those that matter, such as (128, 512)",
        )
        require_choice(
            self.max_drop is None or 0 <= self.max_drop <= 1,
            "max_drop must be a share from 0 to 1",
            self.max_drop,
            "half a point of accuracy is 0.005",
        )


def quantize(
    path: str | os.PathLike[str], mode: str | Request, progress: Progress = unseen, **options: Any
) -> tuple[Outcome, ...]:
    """Quantizes a bundle in place. Returns an outcome for each mode that was tried, the written mode first.

    `options` are the fields of `Request`. A whole `Request` may stand in place of `mode` and `options`.

    UsageError for a wrong choice, BundleError for a bundle without fp32, InputError for data that can't be read,
    RefusedError if no requested mode may be kept.
    """
    request = mode if isinstance(mode, Request) else Request(mode, **options)
    require_packages("quantize", "onnx", "onnx_ir")
    require_onnxruntime()
    from edgexf.pipeline.write_quantized import write
    from edgexf_runtimes import load
    from edgexf_runtimes.measure.agreement import Answers
    from edgexf_runtimes.measure.evaluation import data_of

    folder = Path(path).resolve()
    modes = chosen_modes(request)
    bundle.remove_remains(folder)
    manifest = bundle.read(folder)
    check_bundle(folder, manifest, modes, request)
    tried, broken = [], []
    with load(
        folder,
        dtype=FP32,
        threads=request.threads,
        verify="never",
        input_timeout=request.input_timeout,
        nan="flag",
        candidate=PORTABLE,
        tuned="never",
    ) as reference:
        data, answers = data_of(reference, request.evaluate), Answers(reference)
        for one in modes:
            try:
                tried.append(try_mode(one, answers, data, request, progress))
            except BundleError as error:  # an error of the trial: fp32 was opened above
                broken.append(f"{one.name} {error}")
    good = [one for one in tried if one.outcome.verdict != REFUSED]
    outcomes = tuple(one.outcome for one in tried)
    if not good:
        reasons = "; ".join([f"{outcome.mode} {reason}" for outcome in outcomes for reason in outcome.reasons] + broken)
        raise RefusedError(
            f"a quantized graph must be smaller than fp32, no slower and as good as asked, got none: {reasons}. Nothing was written; --force keeps it all the same.",
            outcomes,
        )
    chosen = min(good, key=lambda one: (one.outcome.verdict != KEPT, one.outcome.bytes))
    best = chosen.outcome
    others = [
        replace(one, verdict=PASSED_OVER, reasons=(f"is larger than {best.mode}",)) if one.verdict != REFUSED else one
        for one in outcomes
        if one is not best
    ]
    with progress(None, "writing"):
        write(folder, manifest, best, others, chosen.built, chosen.candidates)
    return (best, *others)


def chosen_modes(request: Request) -> list[Mode]:
    """The modes to try, in order. UsageError for options that don't fit."""
    from edgexf.passes.quantize.calibrate import METHODS
    from edgexf.passes.quantize.modes import modes as all_modes

    known = all_modes()
    if request.calibration_method not in METHODS:
        raise UsageError(
            f"a calibration method must be one of {', '.join(METHODS)}, got {request.calibration_method!r}; choose one."
        )
    wanted = AUTO_MODES if request.mode == AUTO else (request.mode,)
    modes = [known[name] for name in wanted]
    if request.calibration is None:
        if request.mode != AUTO and modes[0].needs_calibration:
            raise UsageError(
                f"{request.mode} fixes ranges beforehand and needs data to find them, got no calibration file; name one with --calibration."
            )
        modes = [mode for mode in modes if not mode.needs_calibration]
    return modes


def check_bundle(folder: Path, manifest: Manifest, modes: Sequence[Mode], request: Request) -> None:
    """Checks a bundle before the long work.

    BundleError for a bundle without fp32, or with fp32 graphs that are quantized already, or whose profile can't be read. UsageError for a dtype that
    the bundle already holds, without `Request.overwrite`.
    """
    first = manifest.variants[0]
    if first.dtype != FP32:
        raise BundleError(
            f"a bundle must hold its graphs in fp32 to be quantized, got {first.dtype} alone in {folder.name}; export it again."
        )
    there = {graph.dtype for graph in manifest.variants} & {mode.dtype for mode in modes}
    if there and not request.overwrite:
        raise UsageError(
            f"a bundle takes each dtype once, got {', '.join(sorted(there))} in {folder.name} already; pass --overwrite to make it anew."
        )
    from edgexf.pipeline.write_quantized import profile_of

    profile_of(folder, manifest)
    import onnx

    quantized = {"DequantizeLinear", "MatMulInteger", "MatMulNBits", "QLinearMatMul", "DynamicQuantizeLinear"}
    operators = {node.op_type for node in onnx.load(str(folder / first.file), load_external_data=False).graph.node}
    if operators & quantized:
        raise BundleError(
            f"fp32 graphs must not be quantized yet, got {', '.join(sorted(operators & quantized))} in {first.file}; export the model that it was made of."
        )


def fp32_models(folder: Path, manifest: Manifest, graphs: Sequence[Graph]) -> Callable[[], dict[str, ir.Model]]:
    """A function that opens the fp32 graphs among `graphs` by path, in order. Weights stay in the file until read.

    The nodes know their modules where the bundle tells them.
    """
    import onnx_ir as ir

    from edgexf.passes.modules import tell
    from edgexf.pipeline.write_quantized import profile_of

    paths = [graph.file for graph in graphs if graph.dtype == FP32]
    profile = profile_of(folder, manifest)

    def opened(path: str) -> ir.Model:
        model = ir.load(folder / path)
        if path in profile:
            tell(model, profile[path].modules)
        return model

    return lambda: {path: opened(path) for path in paths}


def builder_of(mode: Mode, reference: Session, data: Data, request: Request, precise: bool = False) -> Builder:
    from edgexf.passes.quantize.builder import Builder, predict_graph
    from edgexf.passes.quantize.modes import BuildInputs
    from edgexf.passes.quantize.observe import observe
    from edgexf.pipeline.measure_mode import room, seen_inputs
    from edgexf_runtimes.measure.calibration import stream, whole

    manifest = reference.manifest
    models = fp32_models(reference.path, manifest, manifest.variants)
    further = [graph for one in manifest.candidates for graph in one.graphs]
    path, seen = request.calibration, {}
    if mode.needs_activations:
        inputs = seen_inputs(reference, path, data.cases)
        with room():
            seen = observe(predict_graph(models), inputs)
    given = BuildInputs(
        inputs=seen,
        calibration=None if path is None else lambda: (whole(reference, row) for row in stream(reference, path)),
        method=request.calibration_method,
        precise=precise,
    )
    with room():
        return Builder(mode, models, given, fp32_models(reference.path, manifest, further))


@dataclass(frozen=True)
class Tried:
    """A mode that was tried: its outcome and files, and the candidates that agree in its dtype."""

    outcome: Outcome
    built: Built
    candidates: Sequence[Candidate] = ()


def try_mode(mode: Mode, answers: Answers, data: Data, request: Request, progress: Progress) -> Tried:
    """Builds a mode, measures it, searches for weights to leave out if its drop is too large, and judges it.

    Integer products are built once more with finer scales where the first graphs differ by more than the mode's tolerance: a
    rounding that puts a token into another bucket of a hash may decide.

    The default budget is for a user's data. Only ``auto``, which must choose, has a default budget without such data.
    """
    from edgexf.pipeline.measure_mode import fp32_bytes, measured

    reference, keep = answers.session, {}
    with progress(None, f"{mode.name}: building"):
        builder = builder_of(mode, reference, data, request)
        built = builder.build()
    usual = MAX_DROP if request.evaluate is not None or request.mode == AUTO else None
    budget = usual if request.max_drop is None else request.max_drop
    outcome = measured(builder, built, answers, data, budget, request.lengths, progress)
    if outcome.worst > mode.tolerance and dtype_named(mode.dtype).integer_products:
        with progress(None, f"{mode.name}: building with finer scales"):
            builder = builder_of(mode, reference, data, request, precise=True)
            built = builder.build()
        outcome = measured(builder, built, answers, data, budget, request.lengths, progress)
    if outcome.drop is not None and budget is not None and outcome.drop > budget:
        search = search_of(builder, answers, data.cases, outcome, progress)
        kept = search.run()
        if kept:
            reason = f"was kept: among the {len(kept)} of {len(search.keys)} whose loss does most to the answers"
            keep = dict.fromkeys(kept, reason)
            built = builder.build(keep)
            outcome = measured(builder, built, answers, data, budget, request.lengths, progress)
        outcome = replace(outcome, curve=tuple(search.curve), evaluations=search.evaluations)
    settings = (
        {"calibration": request.calibration.name, "method": request.calibration_method} if request.calibration else {}
    )
    outcome = judged(replace(outcome, settings=settings), request.force)
    good = {row.method: row.good for row in outcome.explain}
    if outcome.verdict == KEPT and not all(good.values()):
        only = [graph.file for graph in reference.manifest.variants if good.get(graph.method, True)]
        built = builder.build(keep, only)
        whole = fp32_bytes(reference.manifest, outcome.dtype, built)
        outcome = replace(outcome, bytes=sum(map(len, built.files.values())), fp32_bytes=whole)
    if outcome.verdict == REFUSED or not builder.takes_candidates:
        return Tried(outcome, built)
    left = set() if outcome.verdict == FORCED else {method for method in good if not good[method]}
    return with_candidates(outcome, builder, keep, left, answers, data, progress)


def with_candidates(
    outcome: Outcome, builder: Builder, keep: Mapping[bytes, str], left: Collection[str], answers: Answers, data: Data, progress: Progress
) -> Tried:  # fmt: skip
    """Builds a mode once more, with its candidates; without the methods that were left out."""
    from edgexf.pipeline.write_quantized import agreeing

    manifest = answers.session.manifest
    every = (*manifest.variants, *(graph for one in manifest.candidates for graph in one.graphs))
    with progress(None, f"{outcome.mode}: building candidates"):
        built = builder.build(keep, [graph.file for graph in every if graph.method not in left], further=True)
        candidates = agreeing(answers, outcome.dtype, built, data.golden or data.cases, outcome.tolerance)
    return Tried(outcome, built, candidates)


def search_of(
    builder: Builder, answers: Answers, cases: Sequence[Case], outcome: Outcome, progress: Progress
) -> Search:
    """The search for the weights to keep. It begins with the known point of a graph that keeps no weights.

    A mode that only converts whole graphs has no weights to choose.
    """
    from edgexf.pipeline.measure_mode import drop_of, trial
    from edgexf_runtimes.measure.agreement import compare
    from edgexf_runtimes.measure.evaluation import spread

    keys = [weight.digest for weight in builder.weights()] if builder.scheme is not None else []
    some = spread(cases, RANKED_ON)
    reference = answers.session

    def evaluate(kept: Sequence[bytes]) -> tuple[int, float]:
        built = builder.build(dict.fromkeys(kept, "kept"), only=[names.PREDICT_FILE])
        with (
            trial(reference, builder.mode.dtype, built.compared) as other,
            progress(len(cases), f"evaluating with {len(kept)} of {len(keys)} weights kept") as advance,
        ):
            found = []
            for case in cases:
                found.append(compare(answers, other, case))
                advance(1)
        return sum(map(len, built.files.values())), drop_of(found)

    def cost(key: bytes) -> float:
        built = builder.build({other: "kept" for other in keys if other != key}, only=[names.PREDICT_FILE])
        with trial(reference, builder.mode.dtype, built.compared) as other, progress(None, "ranking weights"):
            return float(np.mean([compare(answers, other, case).error for case in some]))

    start = Point(
        0, sum(len(data) for data in builder.build(only=[names.PREDICT_FILE]).files.values()), outcome.drop or 0.0
    )
    return Search(list(dict.fromkeys(keys)), cost, evaluate, outcome.max_drop or 0.0, EVALUATIONS, [start])
