"""Explain why two texts are alike, by several methods, for `edgexf explain --similar-to`.

In: a session, two texts, and the options of the command line. Out: a `Similarity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError
from edgexf.pipeline.explain_input import Bar, check_names, chosen_methods, given_options, installed
from edgexf.report.similarity import Similarity

if TYPE_CHECKING:
    from edgexf.report.explanation import Explanation
    from edgexf_runtimes import Session


def check_alone(similar_to: str | None, prompts: tuple[str, str] | None, **others: Any) -> None:
    """UsageError for what `--similar-to` does not go with, and for prompts without it. Values that are given are true."""
    if similar_to is None:
        if prompts:
            raise UsageError("--prompts are those of two texts, got them for one; name the other by --similar-to.")
        return
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(f"--similar-to says what is explained, got {', '.join(given)} beside it; leave it out.")


def explain_similarity(
    session: Session,
    texts: tuple[str | Path, str],
    prompts: tuple[str, str] | None,
    methods: Sequence[str],
    options: Mapping[str, Any],
    truncate: bool = False,
    bar: Bar | None = None,
) -> Similarity:
    """The explanations of both texts by each method. `prompts` are the names of the prompts of both."""
    from edgexf_runtimes.explain.methods import takes

    chosen = chosen_methods(methods, session.manifest.methods, installed())
    own = given_options(options, {method: takes(method) for method in chosen})
    check_names(session, (), chosen)
    each: list[str | None] = [*chosen] or [None]
    found: list[Explanation] = []
    for method in each:
        with nullcontext() if bar is None else bar(method or "") as told:
            found += session.explain_similarity(
                *texts,
                method,
                truncate,
                prompt_names=prompts or (None, None),
                progress=told,
                **own.get(method or "", {}),
            )
    return Similarity(tuple(found))
