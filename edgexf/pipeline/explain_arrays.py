"""Explain the samples of an ``.npz`` of arrays, for `edgexf explain` on a bundle that reads neither text nor bytes.

In: a session, a file of arrays by the names of the bundle's inputs, and the options of the command line. Out:
explanations, one for each sample, target and method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError
from edgexf.pipeline.answer_arrays import read_checked
from edgexf.pipeline.explain_input import EACH, Bar, Target, chosen_methods, given_options, installed

if TYPE_CHECKING:
    from edgexf.report.explanation import Explanation
    from edgexf_runtimes import Session


def without_baseline(session: Session, methods: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """What ``each`` leaves out of an explanation of arrays: without a baseline, the methods that replace tokens."""
    from edgexf_runtimes.explain.graph import along_a_path

    if EACH not in methods or options.get("baseline") is not None:
        return []
    return [method for method in session.manifest.methods if along_a_path(session, method)] + installed()


def explain_arrays(
    session: Session,
    path: Path,
    targets: Sequence[Target],
    methods: Sequence[str],
    options: Mapping[str, Any],
    bar: Bar | None = None,
    position: int | None = None,
    truth: str = "",
    sample: int | None = None,
    view: bool = False,
) -> list[Explanation]:
    """An explanation for each sample, target and method, in this order; of one sample if `sample` is its number.

    A `view` shows one sample.

    Raises InputError for arrays that the model does not take, and UsageError for a wrong choice.
    """
    from edgexf_runtimes.explain.methods import find, takes
    from edgexf_runtimes.explain.perturbation import Options
    from edgexf_runtimes.rows import explain_row, sample_of, samples_in

    names = chosen_methods(methods, session.manifest.methods, installed())
    dropped = without_baseline(session, methods, options)
    chosen: list[str | None] = [name for name in names if name not in dropped] or [None]
    own = given_options(options, {method: takes(method) for method in chosen if method})
    for method in chosen:
        at_run_time = find(method)
        if at_run_time is None:
            session.method(method)
        else:
            at_run_time.check_installed()
    arrays = read_checked(session, path)
    count = samples_in(session, arrays)
    if sample is not None and not 0 <= sample < count:
        raise UsageError(f"sample must be 0 to {count - 1}, as the file holds {count}, got {sample}; choose one.")
    if view and sample is None and count > 1:
        raise UsageError(
            f"a view shows one sample, got {count} in {path}; choose one with --sample, or take all by --json."
        )
    found = []
    for place, target, method in product(range(count) if sample is None else [sample], targets, chosen):
        weights = {} if target is None else {target: 1.0} if isinstance(target, str) else target
        name = f"{path} [{place}]" if count > 1 else str(path)
        with nullcontext() if bar is None else bar(method or "") as told:
            why = explain_row(
                session, name, sample_of(session, arrays, place), method, weights, position,
                Options(**own.get(method or "", {})), told,
            )  # fmt: skip
        found.append(replace(why, truth=truth))
    return found
