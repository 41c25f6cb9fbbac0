"""The stages of one whole answer, each timed, in turn with the call of the session that does all of them.

In: a session and a case. Out: the times of each stage, or the reason why there are none; see
`edgexf.report.latency.measured.stages`.

The stages are the functions that `Session.predict` and `Session.explain` call, in their order. An input without a text, such
as random token ids, is answered as `Session.run` and `Session.run_explain` do: its stages are the preparation and the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgexf import names
from edgexf.bundle.preprocess import Bytes, gives_tokens
from edgexf.errors import EdgexfError
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.stages import STAGES, WHOLE
from edgexf_runtimes.decoding import rows_of
from edgexf_runtimes.inputs import made
from edgexf_runtimes.measure import user_input
from edgexf_runtimes.measure.cases import Case, feeds, run
from edgexf_runtimes.measure.latency.scenarios import Clock, Enough
from edgexf_runtimes.session import Session

if TYPE_CHECKING:
    from edgexf.report.words import Word

TOKENIZATION, PREPARATION, RUN, DECODING = STAGES
Source = str | bytes
Lap = Callable[[str], None]  # called at the end of each stage
Times = dict[str, list[float]]

ARRAYS = "arrays are answered with arrays"


@dataclass(frozen=True)
class Answer:
    """How a case is answered.

    Attributes:
        stages: does all stages, one after the other.
        whole: the call of the session.
        lacks: the stages that it does not have, with the reasons.
    """

    stages: Callable[[Lap], object]
    whole: Callable[[], object]
    lacks: Mapping[str, str] = field(default_factory=dict)


def stages_of(session: Session, case: Case, enough: Enough, clock: Clock) -> dict[str, Fact]:
    """The times of the stages of a case, and of the whole call, in milliseconds. What the session refuses is a reason."""
    try:
        return timed(answer_of(session, case), enough, clock)
    except EdgexfError as error:
        return dict.fromkeys((*STAGES, WHOLE), Fact(None, str(error)))


def timed(answer: Answer, enough: Enough, clock: Clock) -> dict[str, Fact]:
    """Stages and the whole call take turns, and each comes first as often as the other."""
    found: Times = {name: [] for name in (*STAGES, WHOLE) if name not in answer.lacks}
    answer.whole()  # opens the tokenizer, and imports what an answer needs
    count, start = 0, clock.now()
    while not count or not enough.reached(count, clock.now() - start):
        parts = [partial(timed_stages, answer, found, clock), partial(timed_whole, answer, found, clock)]
        for part in parts if count % 2 == 0 else reversed(parts):
            part()
        count += 1
    return {
        name: Fact(tuple(found[name])) if name in found else Fact(None, answer.lacks[name]) for name in (*STAGES, WHOLE)
    }


def timed_stages(answer: Answer, found: Times, clock: Clock) -> None:
    began = clock.now()

    def lap(stage: str) -> None:
        nonlocal began
        ended = clock.now()
        found[stage].append(1e3 * (ended - began))
        began = clock.now()

    answer.stages(lap)


def timed_whole(answer: Answer, found: Times, clock: Clock) -> None:
    began = clock.now()
    answer.whole()
    found[WHOLE].append(1e3 * (clock.now() - began))


def answer_of(session: Session, case: Case) -> Answer:
    source, why = source_of(session, case)
    if source is None:
        return of_arrays(session, case, why)
    if case.graph == names.PREDICT:
        return Answer(partial(predicted, session, source), partial(session.predict, source))
    position = 0 if session.head.tagged else None
    return Answer(
        partial(explained, session, case.graph, source, position),
        partial(words, session, case.graph, source, position),
    )


def words(session: Session, method: str, source: Source, position: int | None) -> Sequence[Word]:
    from edgexf.report.explanation import Explanation

    why = session.explain(source, method=method, position=position)
    assert isinstance(why, Explanation)  # noqa: S101 (tells mypy: no source is a picture)
    return why.words


def source_of(session: Session, case: Case) -> tuple[Source | None, str]:
    """The text or the bytes of a case, or None and the reason."""
    from edgexf_runtimes.explain import graph

    manifest = session.manifest
    if not gives_tokens(manifest.preprocess):
        return None, "what is measured of this model are arrays"
    if manifest.decoder is not None:
        return None, "a model with a decoder answers token by token"
    if names.CHOICES in manifest.variants[0].inputs[0].shape:
        return None, "a model that chooses takes several texts"
    if case.graph != names.PREDICT and graph.along_a_path(session, case.graph):
        return None, f"{case.graph} runs its graph as often as the scores need it; here once"
    if case.inputs is not None:
        found = user_input.source_of(manifest, Path(case.inputs), case.length)
        return found, "" if found is not None else "no beginning of the input has so many tokens"
    if isinstance(manifest.preprocess, Bytes):
        return made.random_bytes(case.length), ""
    return None, "random token ids come from no text; name one with --input"


def predicted(session: Session, source: Source, lap: Lap) -> Any:
    """What `Session.predict` does for one input, but for the time in the answer."""
    task = session.task()
    raw, windows, _ = session.tokenized(source, task=task)
    lap(TOKENIZATION)
    given = session.check_windows(raw, windows)
    (rows,) = session.batches([len(window.ids) for window in windows])
    (inputs,) = given.rows
    lap(PREPARATION)
    found = session.run_graph(names.PREDICT, inputs)
    lap(RUN)
    (answer,) = session.decoded(task, [[given]], rows_of(found, len(rows), 0.0))
    lap(DECODING)
    return answer


def explained(session: Session, method: str, source: Source, position: int | None, lap: Lap) -> Sequence[Word]:
    """What `Session.explain` does, and the relevance of the words."""
    from edgexf_runtimes.explain import graph
    from edgexf_runtimes.explain.target import target_of

    raw, windows, _ = session.tokenized(source)
    lap(TOKENIZATION)
    given = session.check_windows(raw, windows)
    question = target_of(session, given, None, position)
    inputs = graph.with_targets(session, method, given.rows[0], question.arrays())
    lap(PREPARATION)
    found = session.run_graph(method, inputs)
    lap(RUN)
    words = graph.explanation(session, method, question, found, 0.0).words
    lap(DECODING)
    return words


def of_arrays(session: Session, case: Case, why: str) -> Answer:
    inputs = feeds(session, case)
    lacks = {TOKENIZATION: why, DECODING: ARRAYS}
    return Answer(partial(ran, session, case.graph, inputs), partial(run, session, case, inputs), lacks)


def ran(session: Session, method: str, given: Mapping[str, npt.NDArray[Any]], lap: Lap) -> None:
    """What `Session.run` and `Session.run_explain` do."""
    from edgexf_runtimes.explain import graph

    inputs = session.checked(given) if method == names.PREDICT else graph.checked(session, method, given)
    lap(PREPARATION)
    session.run_graph(method, inputs)
    lap(RUN)
