"""Fill-mask: the words that a model puts in the place of a mask token.

In: a text with mask tokens. Out: a list of ``{"score", "token", "token_str", "sequence"}``, best first, as the fill-mask
pipeline of transformers gives it; a list of such lists for a text with several mask tokens.

The windows of a long text: each mask token is read in the window in which it has most neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgexf.checks import require_choice
from edgexf.errors import InputError, UsageError, quoted
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.scores import best_places, softmax
from edgexf_runtimes.tasks.features import in_order
from edgexf_runtimes.tasks.task import Found, OpenBundle, Task, check_count, facts_of

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead

Ids = npt.NDArray[np.int64]


class FillMask(Task):
    """Which words fit a text.

    Attributes:
        top_k: how many words an answer lists.
        targets: a word, or a list of words, that alone compete. Their scores stay shares of the whole vocabulary.
    """

    name: ClassVar[str] = "fill-mask"
    joins: ClassVar[str] = "each mask token in the window in which it has most neighbours"
    top_k: int = 5
    targets: Any = None

    def __post_init__(self) -> None:
        check_count("top_k", self.top_k)
        words = [self.targets] if isinstance(self.targets, str) else self.targets
        known = words is None or (
            isinstance(words, list | tuple) and bool(words) and all(isinstance(word, str) for word in words)
        )
        require_choice(known, "targets must be a word or a list of words", self.targets, "give one or more")

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.manifest.task == cls.name and head.tagged and head.manifest.preprocess is not None

    def shaped(self, answers: list[Any], single: bool) -> Any:
        """The pipeline answers a list of one text as it answers the text."""
        return answers[0] if single or len(answers) == 1 else answers

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        from edgexf.report.answers import AnswerList

        (one,), (answers,) = given, found
        ids, logits = masked(bundle, one, answers)
        among = self.among(bundle)
        rows = [self.fills(bundle, ids, place, logits[place], among, len(logits) == 1) for place in logits]
        return AnswerList(rows[0] if len(rows) == 1 else rows, facts_of(bundle, given, found), "fills")

    def fills(
        self, bundle: OpenBundle, ids: Ids, place: int, logits: npt.NDArray[Any], among: Ids | None, alone: bool
    ) -> list[dict[str, Any]]:
        """The best words for one mask token."""
        scores, tokenizer = softmax(logits), bundle.tokenizer
        columns = np.arange(len(scores)) if among is None else among
        rows = []
        for column in columns[best_places(scores[columns], self.top_k)].tolist():
            filled = ids.copy()
            filled[place] = column
            rows.append(
                {
                    "score": float(scores[column]),
                    "token": column,
                    "token_str": tokenizer.decode([column]),
                    "sequence": tokenizer.decode(filled.tolist(), keep_special=not alone),
                }
            )
        return rows

    def among(self, bundle: OpenBundle) -> Ids | None:
        """The ids of the targets; None if all words compete. UsageError if no target has a token."""
        if self.targets is None:
            return None
        words = [self.targets] if isinstance(self.targets, str) else self.targets
        found = {target_id(bundle, word) for word in words} - {None}
        if not found:
            raise UsageError(f"a target must be a word with a token, got {quoted(self.targets)}; choose other words.")
        return np.array(sorted(token for token in found if token is not None), dtype=np.int64)


def target_id(bundle: OpenBundle, word: str) -> int | None:
    """The id of a word. A word without a token of its own is read by its first token, which a warning says."""
    tokenizer = bundle.tokenizer
    known = tokenizer.id_of(word)
    if known is not None:
        return known
    first = tokenizer.first_id(word)
    stands = (
        "no token, and is left out" if first is None else f"no token of its own: {tokenizer.token(first)!r} competes"
    )
    warnings.warn(f"the target {word!r} has {stands}", UserWarning, stacklevel=2)
    return first


def masked(bundle: OpenBundle, given: Prepared, answers: Sequence[Answer]) -> tuple[Ids, dict[int, npt.NDArray[Any]]]:
    """The ids of the whole input, int64 [tokens], and the logits [vocabulary] at each mask token, by its place.

    InputError for a text without a mask token.
    """
    order = in_order(given) if len(given.windows) > 1 else [(0, place) for place in range(len(given.windows[0].ids))]
    ids = np.array([given.windows[window].ids[place] for window, place in order], dtype=np.int64)
    mask, output = bundle.named_token("mask_token"), bundle.head.output.name
    mask_id = bundle.named_id("mask_token")
    if mask_id is None:
        raise UsageError(
            "fill-mask needs a tokenizer with a mask token, got one without; export the model's tokenizer."
        )
    places = np.flatnonzero(ids == mask_id).tolist()
    if not places:
        raise InputError(f"a text to fill must hold a mask token, got none in {given.raw.name}; write {mask} in it.")
    return ids, {place: answers[order[place][0]][0][output][order[place][1]] for place in places}
