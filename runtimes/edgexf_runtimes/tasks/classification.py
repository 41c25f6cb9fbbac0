"""Text classification: one label for each text, or all labels with their scores.

In: logits [labels] of each window. Out: a `Prediction`; with `top_k`, a list of ``{"label", "score"}``, best first, as the
text-classification pipeline of transformers gives them.

The windows of a long text are joined by the mean of their logits: each window has the same say, whatever its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgexf.checks import is_choice, require_choice
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.text import LONGER, Reading
from edgexf_runtimes.scores import SCORES, best_places
from edgexf_runtimes.tasks.task import Asked, Found, OpenBundle, Task, check_count, facts_of

if TYPE_CHECKING:
    from edgexf.bundle.manifest import Manifest
    from edgexf.report.prediction import Prediction
    from edgexf_runtimes.head import NamedHead

BEST = "best"  # the default of `top_k`: the best label alone, not in a list
PAIR = ("text", "text_pair")


class Classification(Task):
    """Which label a text has.

    Attributes:
        top_k: how many labels an answer lists; None for all. By default an answer is the best label.
        function_to_apply: how logits become scores: ``softmax``, ``sigmoid`` or ``none``; by default as the model says.
    """

    name: ClassVar[str] = "text-classification"
    joins: ClassVar[str] = "the mean of their logits"
    top_k: int | str | None = BEST
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k != BEST:
            check_count("top_k", self.top_k)
        require_choice(
            self.function_to_apply is None or is_choice(self.function_to_apply, SCORES),
            f"function_to_apply must be one of {', '.join(SCORES)}", self.function_to_apply, "choose one of them",
        )  # fmt: skip

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.classifies

    def reading(self, truncate: bool, stride: int | None) -> Reading:
        return Reading(truncate, stride, cut=LONGER)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        sources = preprocess.listed(inputs, pair_of)
        alone = isinstance(inputs, Mapping) or (self.top_k != BEST and preprocess.is_single(inputs))
        return Asked(
            [[source] for source in sources], alone
        )  # the pipeline puts the best label of one text into a list

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        best = prediction(bundle.manifest, given[0], found[0], self.function_to_apply)
        if self.top_k == BEST:
            return best
        from edgexf.report.answers import Labels

        scores = scores_of(bundle.manifest, found[0], self.function_to_apply)
        count = len(scores) if self.top_k is None else int(self.top_k)
        labels = bundle.manifest.labels
        rows = [{"label": labels[place], "score": float(scores[place])} for place in best_places(scores, count)]
        return Labels(rows, facts_of(bundle, given, found))


def pair_of(given: Mapping[str, Any]) -> Any:
    """The text, or the pair of texts, in a dict of the pipeline. UsageError for other keys."""
    if not given or set(given) != set(PAIR[: len(given)]):
        raise UsageError(f"a dict must hold text and, for a pair, text_pair, got {quoted(dict(given))}; name them so.")
    return given["text"] if len(given) == 1 else (given["text"], given["text_pair"])


def scores_of(manifest: Manifest, answers: Sequence[Answer], function: str | None = None) -> Any:
    """The scores of the labels, float64 [labels], from the mean logits of all windows."""
    logits = np.mean([outputs[manifest.variants[0].outputs[0].name] for outputs, _, _ in answers], axis=0)
    with np.errstate(invalid="ignore"):  # of infinite logits, which are flagged
        return SCORES[function or manifest.scores](logits)


def prediction(
    manifest: Manifest, given: Prepared, answers: Sequence[Answer], function: str | None = None
) -> Prediction:
    """A classifier's answer to one input."""
    from edgexf.report.prediction import Prediction

    scores = scores_of(manifest, answers, function)
    top = tuple((manifest.labels[place], float(scores[place])) for place in best_places(scores))
    ms, batch = sum(ms for _, ms, _ in answers), max(batch for _, _, batch in answers)
    finite = all(bool(np.isfinite(outputs[manifest.variants[0].outputs[0].name]).all()) for outputs, _, _ in answers)
    sure = (function or manifest.scores) != "none"
    return Prediction(given.raw.name, top[0][0], top[0][1], top, given.truncated, ms, len(answers), sure, batch, finite)
