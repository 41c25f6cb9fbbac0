"""Explains one sample that is given as arrays, for bundles that read neither text nor bytes.

In: a session, the arrays of one sample, a method and a target by name. Out: an `Explanation` whose tokens are the ids in
decimal, one behind the other. So every view of an explanation shows it.

A target is the name of a label, or the number of a column. Without one, what the model predicts is explained. A first
input that holds values, such as an image, has no tokens to show: `Session.run_explain` explains it by arrays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.heads import CLASSES, UNNAMED, Head, head_of
from edgexf.errors import UsageError
from edgexf.progress import Steps
from edgexf.report.explanation import Explanation
from edgexf.report.prediction import Prediction
from edgexf_runtimes.device.device import machine, now
from edgexf_runtimes.explain import graph, methods
from edgexf_runtimes.explain.arrays import attribute
from edgexf_runtimes.explain.integrated_gradients import integrate
from edgexf_runtimes.explain.perturbation import Options
from edgexf_runtimes.scores import SCORES, best_places
from edgexf_runtimes.session import Session

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Weights = Mapping[str, float]  # by the name or the number of a column; empty for what is predicted


def has_tokens(session: Session) -> bool:
    """Whether the first input holds token ids [samples, tokens]."""
    first = session.manifest.variants[0].inputs[0]
    return len(first.shape) == 2 and first.shape[0] == session.manifest.samples and "int" in first.dtype


def samples_in(session: Session, arrays: Arrays) -> int:
    """The number of samples. UsageError unless the first input holds token ids [samples, tokens]."""
    first = session.manifest.variants[0].inputs[0]
    if not has_tokens(session):
        raise UsageError(
            f"an explanation that is shown needs token ids [samples, tokens] first, got {first.name} {first.dtype} {list(first.shape)}; call session.run_explain with arrays."
        )
    return len(arrays[first.name])


def sample_of(session: Session, arrays: Arrays, place: int) -> dict[str, Array]:
    """The arrays of one sample."""
    name = session.manifest.samples
    axes = {one.name: one.shape.index(name) for one in session.manifest.variants[0].inputs if name in one.shape}
    return {key: array.take([place], axes[key]) if key in axes else array for key, array in arrays.items()}


def column_of(session: Session, head: Head, name: str) -> int:
    """The column of a label, or the column of that number. UsageError for others."""
    labels, count = session.manifest.labels, head.columns
    if name in labels:
        return labels.index(name)
    if isinstance(count, int) and name.isdecimal() and int(name) < count:
        return int(name)
    known = f"among {', '.join(labels)}, or " if labels else ""
    raise UsageError(f"target must be {known}the number of a column, below {count}, got {name}; choose one of them.")


def head_with(session: Session, weights: Weights, position: int | None) -> Head:
    """The head of the model. UsageError for a target or a position that the head does not take."""
    outputs = session.manifest.variants[0].outputs
    head = head_of(outputs, session.manifest.samples)
    if head is None:
        raise UsageError(
            f"an explanation needs logits or vectors of samples, got {outputs[0].name} {list(outputs[0].shape)}; call session.run with arrays."
        )
    if weights and head.kind not in UNNAMED:
        raise UsageError(
            f"a target by name is for logits, got {', '.join(weights)} for {head.kind.name}; leave it out."
        )
    if (position is not None) != head.positioned:
        need = "needs a position, got none; say" if head.positioned else f"takes no position, got {position}; leave out"
        raise UsageError(f"an explanation of {head.kind.name} {need} which token's answer to explain.")
    return head


def targets_of(session: Session, head: Head, weights: Weights, position: int | None) -> dict[str, Array]:
    """The arrays that say what is explained of one sample; without weights, what is predicted."""
    found: dict[str, Array] = {} if position is None else {names.POSITION: np.array([position])}
    if weights:
        row = np.zeros((1, int(head.columns)), dtype=np.float32)
        for name, weight in weights.items():
            row[0, column_of(session, head, name)] = weight
        found[names.TARGET] = row
    return found


def explain_row(
    session: Session, name: str, arrays: Arrays, method: str | None = None, weights: Weights | None = None,
    position: int | None = None, options: Options | None = None, progress: Steps | None = None,
) -> Explanation:  # fmt: skip
    """Explains one sample, whose checked arrays are `arrays`.

    Of the options, `baseline` is the id that replaces a token; methods that leave tokens out, or follow a path, need it.
    Raises UsageError for a target, a position or options that do not fit.
    """
    chosen, given = options or Options(), dict(weights or {})
    head = head_with(session, given, position)
    targets = targets_of(session, head, given, position)
    start, (found, settings, method) = time.perf_counter(), answered(session, arrays, method, targets, chosen, progress)
    ms = (time.perf_counter() - start) * 1e3
    first, manifest = session.manifest.variants[0].inputs[0], session.manifest
    tokens = tuple(map(str, arrays[first.name][0].tolist()))
    scores, residual = found[names.RELEVANCE][0].astype(np.float32), float(found[names.RESIDUAL][0])
    graph_file = manifest.graph(method if methods.find(method) is None else "predict", session.dtype).file
    return Explanation(
        input=name,
        data=" ".join(tokens).encode(),
        tokens=tokens,
        offsets=offsets_of(tokens),
        scores=scores,
        target=named(session, head, given, position, found),
        explained=residual + float(scores.sum(dtype=np.float64)),
        residual=residual,
        method=method,
        prediction=prediction(session, head, name, found, ms),
        model=manifest.name,
        model_sha256=session.model_sha256,
        graph_sha256=manifest.files[graph_file]["sha256"],
        ms=ms,
        truncated=False,
        baseline="" if chosen.baseline is None else str(chosen.baseline),
        settings=settings,
        position=position if position is not None and position < len(tokens) else None,
        date=now(),
        machine=machine(),
    )


def answered(
    session: Session, arrays: Arrays, method: str | None, targets: Arrays, options: Options, progress: Steps | None
) -> tuple[Arrays, dict[str, Any], str]:
    """The outputs, relevance and residual of one sample, the settings, and the name of the method."""
    at_run_time = methods.find(method)
    if at_run_time is not None:
        options.check(at_run_time.name, at_run_time.takes)
        token_id = baseline_id(session, options.baseline)
        found = attribute(
            session, at_run_time.name, arrays, targets, baseline=token_id, seed=options.seed, budget=options.budget,
            span=options.span, time_limit=options.time_limit, progress=progress,
        )  # fmt: skip
        said = {"seed": options.seed, "budget": options.budget or at_run_time.budget}
        return found, {key: value for key, value in said.items() if key in at_run_time.takes}, at_run_time.name
    compiled = session.method(method)
    path = graph.along_a_path(session, compiled)
    options.check(compiled, graph.PATH_OPTIONS if path else ())
    feeds = {**arrays, **targets}
    if not path:
        return graph.run_explain(session, compiled, feeds), {}, compiled
    first = session.manifest.variants[0].inputs[0].name
    feeds[names.BASELINE] = np.full_like(arrays[first], baseline_id(session, options.baseline))
    run = partial(graph.run_explain, session, compiled)
    found, settings = integrate(run, feeds, options.budget, options.time_limit, progress)
    return found, settings, compiled


def baseline_id(session: Session, baseline: str | int | None) -> int:
    """The id that replaces a token. UsageError for none, and for what is no id: a model of arrays knows no words."""
    text = "" if baseline is None else str(baseline)
    if not text.isdecimal() or int(text) >= session.manifest.limits.vocab:
        raise UsageError(
            f"a method that replaces tokens needs a baseline, an id of 0 to {session.manifest.limits.vocab - 1}, got {text or 'none'}; name what stands in for a token with --baseline."
        )
    return int(text)


def logits_of(head: Head, position: int | None, found: Arrays) -> Array:
    """The logits [columns] that are explained."""
    logits: Array = found[head.outputs[0].name]
    place: tuple[int, ...] = (0,) if position is None else (0, position) if head.rows_first else (position, 0)
    row: Array = logits[place]
    return row


def named(session: Session, head: Head, weights: Weights, position: int | None, found: Arrays) -> dict[str, float]:
    """The names of what is explained, and the weight of each."""
    if weights:
        return dict(weights)
    if head.kind not in UNNAMED:
        return {"what is predicted": 1.0}
    column = int(logits_of(head, position, found).argmax())
    return {session.manifest.labels[column] if session.manifest.labels else str(column): 1.0}


def prediction(session: Session, head: Head, name: str, found: Arrays, ms: float) -> Prediction | None:
    """The label of a classifier; None for another model."""
    labels = session.manifest.labels
    if head.kind != CLASSES or not labels:
        return None
    scores = SCORES[session.manifest.scores](logits_of(head, None, found))
    top = tuple((labels[place], float(scores[place])) for place in best_places(scores))
    return Prediction(name, top[0][0], top[0][1], top, False, ms, probabilities=session.manifest.scores != "none")


def offsets_of(tokens: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The place of each token in the tokens with a blank between them."""
    found, start = [], 0
    for token in tokens:
        found.append((start, start + len(token)))
        start += len(token) + 1
    return tuple(found)
