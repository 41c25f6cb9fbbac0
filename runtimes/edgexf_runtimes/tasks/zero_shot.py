"""Zero-shot classification: which of the caller's own labels fits a text, by a model of entailment.

In: a text, and labels. Each label becomes a hypothesis; the text and the hypothesis are a pair. Out: ``{"sequence",
"labels", "scores"}``, the best label first, as the zero-shot-classification pipeline of transformers gives it (Yin et al.
2019).

The windows of a long text are joined by the mean of their logits, as in text classification. The hypothesis is whole in
each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgexf.checks import check_flag, require_choice
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.decoding import Prepared
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.text import FIRST, Reading
from edgexf_runtimes.scores import softmax
from edgexf_runtimes.tasks.task import Asked, Found, OpenBundle, Task, facts_of

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead

ENTAILMENT = "entail"  # what the label of entailment begins with, in any case


class ZeroShotClassification(Task):
    """Which of the caller's labels fits a text.

    Attributes:
        candidate_labels: the labels: a list, or a text with commas between them.
        hypothesis_template: the hypothesis, with ``{}`` where the label goes.
        multi_label: each label is scored alone, against contradiction. By default the scores of all labels sum to 1.
    """

    name: ClassVar[str] = "zero-shot-classification"
    needs: ClassVar[str] = "candidate_labels"
    joins: ClassVar[str] = "the mean of their logits"
    candidate_labels: Any = ()
    hypothesis_template: str = "This example is {}."
    multi_label: bool = False

    def __post_init__(self) -> None:
        check_flag("multi_label", self.multi_label)
        known = isinstance(self.candidate_labels, str | list | tuple) and bool(self.labels)
        require_choice(
            known and all(isinstance(label, str) for label in self.labels),
            "candidate_labels must be a list of labels, or a text with commas between them", self.candidate_labels, "name one or more",
        )  # fmt: skip
        self.hypothesis(self.labels[0])

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.classifies and head.manifest.preprocess is not None

    @property
    def labels(self) -> list[Any]:
        given = self.candidate_labels
        parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
        return [part for part in parts if part != ""]

    def hypothesis(self, label: str) -> str:
        """The hypothesis for a label. UsageError for a template that does not take one label."""
        try:
            found = self.hypothesis_template.format(label)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self.wrong_template() from error
        if found == self.hypothesis_template:
            raise self.wrong_template()
        return found

    def wrong_template(self) -> UsageError:
        return UsageError(
            f"hypothesis_template must be a text with {{}} where the label goes, got {quoted(self.hypothesis_template)}; write it so."
        )

    def reading(self, truncate: bool, stride: int | None) -> Reading:
        return replace(super().reading(truncate, stride), cut=FIRST)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        sources = preprocess.listed(inputs)
        for source in sources:
            if not isinstance(source, str | preprocess.Raw):
                raise UsageError(
                    f"{self.name} reads texts, got {type(source).__name__}; read the input first, and give its text."
                )
        pairs = [[preprocess.paired(text, self.hypothesis(label)) for label in self.labels] for text in sources]
        return Asked(pairs, preprocess.is_single(inputs))

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        from edgexf.report.answers import AnswerDict

        output = bundle.manifest.variants[0].outputs[0].name
        logits = np.array([np.mean([outputs[output] for outputs, _, _ in each], axis=0) for each in found])
        scores = self.scores(logits, entailment(bundle.manifest.labels))
        order = np.argsort(scores, kind="stable")[::-1]
        text = given[0].raw.text
        values = {
            "sequence": text[0] if isinstance(text, tuple) else text,
            "labels": [self.labels[place] for place in order],
            "scores": scores[order].tolist(),
        }
        return AnswerDict(values, facts_of(bundle, given, found))

    def scores(self, logits: Any, entails: int) -> Any:
        """The scores of the labels, float64 [labels], from logits [labels, classes of entailment]."""
        if self.multi_label or len(logits) == 1:
            contradicts = -1 if entails == 0 else 0
            return softmax(logits[:, [contradicts, entails]])[:, 1]
        return softmax(logits[:, entails])


def entailment(labels: Sequence[str]) -> int:
    """The column of entailment. UsageError for a model without such a label."""
    places = [place for place, label in enumerate(labels) if label.lower().startswith(ENTAILMENT)]
    if not places or len(labels) < 2:
        raise UsageError(
            f"zero-shot classification needs a model of entailment, whose labels name it, got {', '.join(labels)}; correct id2label of the config and export again."
        )
    return places[0]
