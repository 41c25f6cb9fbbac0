"""Evaluate how faithful explanation methods are on a user's labelled data, for `edgexf explain --evaluate`.

In: a session, a listing (`edgexf_runtimes.inputs.labelled`), and the options of the command line. Out: a
`Faithfulness`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError
from edgexf.pipeline.explain_input import check_names, chosen_methods, given_options, installed
from edgexf.progress import Progress

if TYPE_CHECKING:
    from edgexf_runtimes import Session
    from edgexf_runtimes.measure.faithfulness import Faithfulness


def check_alone(**others: object) -> None:
    """UsageError for an option that only the explanation of one input has."""
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(f"--evaluate stands for all inputs, got {given[0]} beside it; leave one of them out.")


def evaluate(
    session: Session,
    listing: Path,
    methods: Sequence[str],
    options: Mapping[str, Any],
    truncate: bool,
    progress: Progress,
) -> Faithfulness:
    """Computes deletion curves over the listing, by default for the methods of the bundle, and for ``each`` for all.

    The option `baseline` also chooses the token that replaces a deleted token in the curves. The option `seed` is also
    the seed of the control. `progress` opens a progress bar from its number of steps and its title.
    """
    from edgexf_runtimes.explain.methods import takes
    from edgexf_runtimes.inputs.labelled import read_labelled
    from edgexf_runtimes.measure.faithfulness import measure

    compiled = session.manifest.methods
    chosen = chosen_methods(methods or compiled, compiled, installed())
    check_names(session, [], chosen)
    common = {name: value for name, value in options.items() if name in ("baseline", "seed") and value is not None}
    own = {name: value for name, value in options.items() if name not in common}
    by_method = given_options(own, {method: takes(method) for method in chosen})
    for method, given in by_method.items():
        given.update({name: value for name, value in common.items() if name in takes(method)})
    inputs = read_labelled(listing, session.manifest.labels, session.input_timeout)
    with progress(len(inputs) * (len(chosen) + 1), "explanations") as advance:
        return measure(session, inputs, chosen, options=by_method, truncate=truncate, advance=advance, **common)
