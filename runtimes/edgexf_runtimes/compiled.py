"""Explanations that are compiled into the bundle: one run of an explain graph, or a few along a path.

In: a session, an input's row and what is asked of it. Out: an `Explanation`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.report import Explanation
from edgexf_runtimes.along import integrate
from edgexf_runtimes.asked import Asked
from edgexf_runtimes.explain import Options
from edgexf_runtimes.game import Progress, real_places

if TYPE_CHECKING:
    from edgexf_runtimes.session import Session

PATH_OPTIONS = ("budget", "time_limit", "baseline")


def along_a_path(session: Session, method: str) -> bool:
    """Whether a method's graph takes a baseline and a path."""
    return any(tensor.name == names.PATH for tensor in session.manifest.targets(method))


def explain(
    session: Session,
    method: str,
    inputs: Mapping[str, npt.NDArray[Any]],
    question: Asked,
    options: Options,
    progress: Progress | None = None,
) -> Explanation:
    """`inputs` are one row. UsageError for options that the method does not take."""
    path = along_a_path(session, method)
    options.check(method, PATH_OPTIONS if path else ())
    given, (window,) = question.given, question.given.windows
    start, baseline = time.perf_counter(), ""
    settings: dict[str, Any] = {}
    feeds = {**inputs, **question.arrays()}
    if path:
        replacement = session.replacement(options.baseline)
        ids = inputs[names.INPUT_IDS].copy()
        ids[0, real_places(window.offsets)] = replacement.token_id
        feeds[names.BASELINE], baseline = ids, replacement.name
        found, settings = integrate(session, method, feeds, options.budget, options.time_limit, progress)
    else:
        found = session.run_explain(method=method, **feeds)
    ms = (time.perf_counter() - start) * 1e3
    outputs = {name: array[0] for name, array in found.items()}
    graph = session.manifest.graph(method, session.dtype)
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
        model=session.manifest.name,
        model_sha256=session.model_sha256,
        graph_sha256=session.manifest.files[graph.file]["sha256"],
        ms=ms,
        truncated=given.truncated,
        baseline=baseline,
        settings=settings,
        position=question.position,
    )
