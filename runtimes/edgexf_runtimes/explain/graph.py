"""Explains with an explain graph of the bundle: one run, or a few along a path.

In: a predictor, the inputs of one row and a target. Out: an `Explanation`, of a picture a `PictureExplanation`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.preprocess import Image
from edgexf.progress import Steps
from edgexf.report.explanation import Explanation
from edgexf_runtimes.device.device import machine, now
from edgexf_runtimes.explain.coalitions import real_places
from edgexf_runtimes.explain.integrated_gradients import integrate
from edgexf_runtimes.explain.perturbation import Options
from edgexf_runtimes.explain.target import ExplanationTarget
from edgexf_runtimes.inputs.targets import check_targets

if TYPE_CHECKING:
    from edgexf.report.picture import PictureExplanation
    from edgexf_runtimes.predictor import Predictor

Array = npt.NDArray[Any]
TARGETS = (names.TARGET, names.POSITION, names.TARGET_START, names.TARGET_END, names.BASELINE, names.PATH)
PATH_OPTIONS = ("budget", "time_limit", "baseline")


def along_a_path(predictor: Predictor, method: str) -> bool:
    """Whether a method's graph takes a baseline and a path."""
    return any(tensor.name == names.PATH for tensor in predictor.manifest.targets(method))


def run_explain(predictor: Predictor, method: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Runs the graph of a method: the outputs of the predict graph, relevance and residual.

    `inputs` are the model's inputs and the arrays that say what is explained. An array that is None counts as left out.
    Raises the errors of `checked`.
    """
    return predictor.run_graph(method, checked(predictor, method, inputs))


def run_checked(
    predictor: Predictor, method: str, inputs: Mapping[str, Array], targets: Mapping[str, Any]
) -> dict[str, Array]:
    """`run_explain` on inputs that were checked before. `targets` are checked here."""
    return predictor.run_graph(method, with_targets(predictor, method, inputs, targets))


def checked(predictor: Predictor, method: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """What the graph of a method takes, from the inputs of `run_explain`.

    Raises InputError for arrays outside the bundle's limits, and UsageError for a missing position and for targets that
    the graph does not take.
    """
    wanted = {tensor.name for tensor in predictor.manifest.targets(method)} | set(TARGETS)
    given = {name: value for name, value in inputs.items() if name in wanted and value is not None}
    arrays = predictor.checked({name: value for name, value in inputs.items() if name not in wanted})
    return with_targets(predictor, method, arrays, given)


def with_targets(
    predictor: Predictor, method: str, inputs: Mapping[str, Array], targets: Mapping[str, Any]
) -> dict[str, Array]:
    """What the graph of a method takes, from checked inputs, and from `targets`, which are checked here. Raises the errors
    of `check_targets`.
    """
    return {**inputs, **check_targets(targets, inputs, predictor.manifest, method)}


def explain(
    predictor: Predictor,
    method: str,
    inputs: Mapping[str, Array],
    question: ExplanationTarget,
    options: Options,
    progress: Steps | None = None,
) -> Explanation | PictureExplanation:
    """Explains the `question` about one row, whose checked arrays are `inputs`. Raises UsageError for options that the
    method does not take.
    """
    path = along_a_path(predictor, method)
    options.check(method, PATH_OPTIONS if path else ())
    start, baseline = time.perf_counter(), ""
    settings: dict[str, Any] = {}
    targets, run = question.arrays(), partial(run_checked, predictor, method, inputs)
    if path:
        targets[names.BASELINE], baseline = baseline_of(predictor, inputs, question, options)
        found, settings = integrate(run, targets, options.budget, options.time_limit, progress)
    else:
        found = run(targets)
    ms = (time.perf_counter() - start) * 1e3
    reader = predictor.manifest.preprocess
    if isinstance(reader, Image):
        from edgexf_runtimes.explain.picture import picture_explanation

        return picture_explanation(predictor, reader, method, question, found, ms, baseline, settings)
    return explanation(predictor, method, question, found, ms, baseline, settings)


def baseline_of(
    predictor: Predictor, inputs: Mapping[str, Array], question: ExplanationTarget, options: Options
) -> tuple[Array, str]:
    """Where the path of a row begins, and its name: the row with other tokens, or a picture of one colour."""
    reader, (window,) = predictor.manifest.preprocess, question.given.windows
    if isinstance(reader, Image):
        from edgexf_runtimes.explain import picture
        from edgexf_runtimes.inputs.image import read_picture

        return picture.baseline(reader, read_picture(question.given.raw), options.baseline)
    replacement = predictor.baseline(options.baseline)
    ids = inputs[names.INPUT_IDS].copy()
    ids[0, real_places(window.offsets)] = replacement.token_id
    return ids, replacement.name


def explanation(
    predictor: Predictor, method: str, question: ExplanationTarget, found: Mapping[str, Array], ms: float,
    baseline: str = "", settings: Mapping[str, Any] | None = None,
) -> Explanation:  # fmt: skip
    """What the outputs of an explain graph say about the `question`. `baseline` and `settings` are those of a path."""
    given, (window,) = question.given, question.given.windows
    outputs = {name: array[0] for name, array in found.items()}
    graph = predictor.manifest.graph(method, predictor.dtype)
    scores = outputs[names.RELEVANCE]
    residual = float(outputs[names.RESIDUAL])
    return Explanation(
        input=given.raw.name,
        data=given.data,
        tokens=window.tokens,
        offsets=window.offsets,
        scores=scores,
        target=question.named(outputs),
        explained=residual + float(scores.sum(dtype=np.float64)),
        residual=residual,
        method=method,
        prediction=question.prediction(outputs, ms),
        model=predictor.manifest.name,
        model_sha256=predictor.model_sha256,
        graph_sha256=predictor.manifest.files[graph.file]["sha256"],
        ms=ms,
        truncated=given.truncated,
        baseline=baseline,
        settings=settings or {},
        position=question.position,
        date=now(),
        machine=machine(),
    )
