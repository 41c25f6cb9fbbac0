"""Token classification: the entities of a text, with their places in it.

In: logits [tokens, labels] of each window. Out: a list of dicts, as the token-classification pipeline of transformers
gives them. ``start`` and ``end`` count the code points of the text that was given.

The windows of a long text: with a strategy, of overlapping entities the longer stays, and of equally long ones the surer,
as in the pipeline. Without one, each token is read in the window in which it has most neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgexf.checks import each, is_choice, require_choice
from edgexf.errors import UsageError
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.scores import softmax
from edgexf_runtimes.tasks.entities import NONE, STRATEGIES, Entity, Token, entities, joined
from edgexf_runtimes.tasks.task import Found, OpenBundle, Task, facts_of
from edgexf_runtimes.tasks.windows import read_in

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.text import Encoded, Tokenizer

OUTSIDE = ("O",)


class TokenClassification(Task):
    """Which entities a text names.

    Attributes:
        aggregation_strategy: ``none``, ``simple``, ``first``, ``average`` or ``max``; see `edgexf_runtimes.tasks.entities`.
        ignore_labels: the labels that are left out.
    """

    name: ClassVar[str] = "token-classification"
    joins: ClassVar[str] = "the longer of overlapping entities, or the surer of equally long ones"
    aggregation_strategy: str = NONE
    ignore_labels: Sequence[str] = OUTSIDE

    def __post_init__(self) -> None:
        require_choice(
            is_choice(self.aggregation_strategy, STRATEGIES),
            f"aggregation_strategy must be one of {', '.join(STRATEGIES)}", self.aggregation_strategy, "choose one of them",
        )  # fmt: skip
        listed = each(self.ignore_labels)
        known = listed is not None and all(isinstance(label, str) for label in listed)
        require_choice(known, "ignore_labels must be a list of labels", self.ignore_labels, "give a list")

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.manifest.task == cls.name and head.tagged and bool(head.manifest.labels)

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        from edgexf.report.answers import AnswerList

        (one,), (answers,) = given, found
        if not isinstance(one.raw.text, str):
            raise UsageError(f"{self.name} reads one text at a time, got a pair; give its texts one by one.")
        rows = self.entities(bundle, one, answers)
        kept = [row for row in rows if row.get("entity", row.get("entity_group")) not in self.ignore_labels]
        return AnswerList(joined(kept) if self.merges(one) else kept, facts_of(bundle, given, found), "entities")

    def merges(self, given: Prepared) -> bool:
        """Whether the entities of windows may overlap."""
        return len(given.windows) > 1 and self.aggregation_strategy != NONE

    def entities(self, bundle: OpenBundle, given: Prepared, answers: Sequence[Answer]) -> list[Entity]:
        """The entities of all windows, those with ignored labels too."""
        tokenizer, labels = bundle.tokenizer, bundle.manifest.labels
        output, unknown = bundle.head.output.name, bundle.named_token("unk_token")
        windows = [
            tokens_of(tokenizer, str(given.raw.text), window, softmax(outputs[output][: len(window.ids)]), unknown)
            for window, (outputs, _, _) in zip(given.windows, answers, strict=True)
        ]
        if len(windows) > 1 and self.aggregation_strategy == NONE:
            windows = [read_once(given, windows)]
        return [
            entity
            for tokens in windows
            for entity in entities(tokens, labels, self.aggregation_strategy, tokenizer.joined)
        ]


def read_once(given: Prepared, windows: Sequence[Sequence[Token]]) -> list[Token]:
    """Each token of a long text once."""
    by_place = [{token.index: token for token in tokens} for tokens in windows]
    window_of, place_of = read_in(given.windows, given.stride)
    once = [by_place[window][place] for window, place in zip(window_of.tolist(), place_of.tolist(), strict=True)]
    return [replace(token, index=once[0].index + number) for number, token in enumerate(once)]


def tokens_of(tokenizer: Tokenizer, text: str, window: Encoded, scores: Any, unknown: str | None) -> list[Token]:
    """The tokens of the text in a window. `scores` are probabilities, float64 [tokens, labels]."""
    places, found = window.places, []
    for index, (in_text, (start, end)) in enumerate(zip(places.texts, places.spans.tolist(), strict=True)):
        if in_text < 0:
            continue
        word, written = window.tokens[index], text[start:end]
        if word == unknown:
            found.append(Token(written, scores[index], start, end, index, False))
            continue
        continues = (
            len(word) != len(written)
            if tokenizer.continuation  # a token longer than what it stands for has the mark of a continuation
            else start > 0 and " " not in text[start - 1 : start + 1]
        )
        found.append(Token(word, scores[index], start, end, index, continues))
    return found
