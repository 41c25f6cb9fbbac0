"""Feature extraction, and every head that gives a whole input no label: the outputs themselves.

In: the outputs of each window. Out: `Features`, whose only element are the rows of the first output, as the
feature-extraction pipeline of transformers gives them.

The windows of a long text are joined token by token: see `edgexf_runtimes.tasks.windows`. The embedding of a long text is
the mean of its windows' embeddings, each as often as it has tokens, and has the length 1 again if they have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.errors import UsageError
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.tasks.task import Found, OpenBundle, Task
from edgexf_runtimes.tasks.windows import read_in, tokens_of

if TYPE_CHECKING:
    from edgexf.bundle.manifest import Manifest
    from edgexf.report.prediction import Features
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.text import Encoded

Array = npt.NDArray[Any]
TINY = 1e-12  # the least length that a vector is divided by


class FeatureExtraction(Task):
    """What the outputs of a model are."""

    name: ClassVar[str] = "feature-extraction"
    joins: ClassVar[str] = "each token's vector from the window in which it has most neighbours"

    @classmethod
    def fits(cls, head: NamedHead) -> bool:  # noqa: ARG003 (outputs are features of any head)
        return True

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        return features(bundle.manifest, given[0], found[0])


def features(manifest: Manifest, given: Prepared, answers: Sequence[Answer]) -> Features:
    """The outputs of one input, those of tokens without padding. UsageError for several windows of other outputs."""
    from edgexf.report.prediction import Features

    kept = [rows_of_tokens(manifest, window, answer) for window, answer in zip(given.windows, answers, strict=True)]
    ms, batch = sum(ms for _, ms, _ in answers), max(batch for _, _, batch in answers)
    if len(kept) == 1:
        (window,) = given.windows
        return Features(given.raw.name, window.tokens, window.offsets, kept[0], given.truncated, ms, batch)
    order = in_order(given)
    rows = {output.name for output in manifest.variants[0].outputs if output.has_tokens}
    lacking = [name for name in kept[0] if name not in (*rows, names.SENTENCE_EMBEDDING)]
    if lacking:
        raise UsageError(
            f"a stride must be for outputs of tokens or labels, which windows can join, got {lacking[0]}; leave it out, or encode with it and run the rows."
        )
    joined = {
        name: np.stack([kept[window][name][place] for window, place in order]) for name in kept[0] if name in rows
    }
    if names.SENTENCE_EMBEDDING in kept[0]:
        vectors = np.stack([outputs[names.SENTENCE_EMBEDDING] for outputs in kept])
        joined[names.SENTENCE_EMBEDDING] = mean_vector(manifest, given, vectors)
    tokens = tuple(given.windows[window].tokens[place] for window, place in order)
    offsets = tuple(given.windows[window].offsets[place] for window, place in order)
    return Features(given.raw.name, tokens, offsets, joined, given.truncated, ms, batch, len(kept))


def mean_vector(manifest: Manifest, given: Prepared, vectors: Array) -> Array:
    """The mean of the windows' embeddings, float32 [dim], each as often as it has tokens; of length 1 if they are."""
    found = np.average(vectors.astype(np.float64), axis=0, weights=[len(window.ids) for window in given.windows])
    if manifest.embedding is not None and manifest.embedding.normalised:
        found = found / max(float(np.linalg.norm(found)), TINY)
    return found.astype(np.float32)


def rows_of_tokens(manifest: Manifest, window: Encoded, answer: Answer) -> dict[str, Array]:
    """The outputs of one window by name, without padding."""
    tokens = {output.name for output in manifest.variants[0].outputs if output.has_tokens}
    return {name: array[: len(window.ids)] if name in tokens else array for name, array in answer[0].items()}


def in_order(given: Prepared) -> list[tuple[int, int]]:
    """The window and the place of each token of a long input, with what stands before and behind the text that was cut."""
    cut = int(isinstance(given.raw.text, tuple))
    before, last = tokens_of(given.windows[0], cut)[0], len(given.windows) - 1
    behind = tokens_of(given.windows[last], cut)[-1] + 1
    windows, places = read_in(given.windows, given.stride, cut)
    return [
        *((0, place) for place in range(before)),
        *zip(windows.tolist(), places.tolist(), strict=True),
        *((last, place) for place in range(behind, len(given.windows[last].ids))),
    ]
