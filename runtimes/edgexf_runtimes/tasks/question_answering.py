"""Question answering: the part of a context that answers a question.

In: a question and its context. Out: ``{"score", "start", "end", "answer"}``, or a list of these, as the question-answering
pipeline of transformers 4 gives them. ``start`` and ``end`` count the code points of the context.

The windows of a long context: the best spans of all windows compete by their scores, and equal answers add theirs up. So a
score is no probability over the whole document: each window's probabilities are its own.

transformers' pipeline reads windows of 384 tokens even where the model takes more. edgexf reads a context whole if it fits,
and cuts only where the caller gives a stride. ``doc_stride`` is the pipeline's own word, and cuts as the pipeline does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgexf.bundle.heads import SPAN
from edgexf.checks import check_flag, is_count, require_choice
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.text import Reading
from edgexf_runtimes.tasks.spans import Span, best_spans, no_answer
from edgexf_runtimes.tasks.task import Asked, Found, OpenBundle, Task, check_count, facts_of

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.text import Encoded

CONTEXT = 1  # the context is the second text of a pair
PIPELINE_WINDOW = 384  # tokens


class QuestionAnswering(Task):
    """Which part of a context answers a question.

    Attributes:
        question, context: a text each, or a list of texts; instead of pairs as inputs. A question alone is asked about
            each input.
        top_k: how many answers there are at most.
        max_answer_len: the most tokens of an answer.
        handle_impossible_answer: no answer competes too, as an empty text.
        align_to_words: an answer begins and ends with whole words.
        max_seq_len: the most tokens of a window, question included; by default as many as the model takes, and with
            `doc_stride` at most 384.
        doc_stride: the tokens that windows share.
    """

    name: ClassVar[str] = "question-answering"
    joins: ClassVar[str] = "the best score of all windows"
    question: Any = None
    context: Any = None
    top_k: int = 1
    max_answer_len: int = 15
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    max_seq_len: int | None = None
    doc_stride: int | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "max_answer_len"):
            check_count(name, getattr(self, name))
        for name in ("handle_impossible_answer", "align_to_words"):
            check_flag(name, getattr(self, name))
        for name in ("max_seq_len", "doc_stride"):
            given = getattr(self, name)
            known = given is None or is_count(given, 1)
            require_choice(known, f"{name} must be a whole number of tokens above 0", given, "choose another")

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.kind == SPAN and head.manifest.preprocess is not None

    def reading(self, truncate: bool, stride: int | None) -> Reading:
        if stride is not None and self.doc_stride is not None:
            raise UsageError("a stride must be given once, got stride and doc_stride; leave one out.")
        if self.doc_stride is None:
            return Reading(truncate, stride, self.max_seq_len)
        return Reading(truncate, self.doc_stride, self.max_seq_len or PIPELINE_WINDOW, clipped=self.max_seq_len is None)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        if self.question is None and self.context is None:
            sources = preprocess.listed(inputs, pair_of)
            return Asked([[pair(source)] for source in sources], preprocess.is_single(inputs, pair_of))
        if inputs is not None:
            return self.asked_of(inputs)
        questions, contexts = (texts_of(name, getattr(self, name)) for name in ("question", "context"))
        if isinstance(self.context, str):
            contexts *= len(questions)
        if len(questions) != len(contexts):
            raise UsageError(
                f"each question must have its context, got {len(questions)} questions and {len(contexts)} contexts; give as many, or one context."
            )
        pairs = zip(questions, contexts, strict=True)
        return Asked([[pair(one)] for one in pairs], len(questions) == 1)  # the pipeline answers a list of one alone

    def asked_of(self, contexts: Any) -> Asked:
        """One question about each of several contexts."""
        if self.context is not None or not isinstance(self.question, str) or not self.question:
            raise UsageError(
                f"contexts as inputs need one question and no other context, got {quoted(self.question)} and {quoted(self.context)}; give question=..., or both without inputs."
            )
        sources = preprocess.listed(contexts)
        for source in sources:
            if not isinstance(source, str | preprocess.Raw):
                raise UsageError(f"a context must be a text, got {type(source).__name__}; read it first.")
        pairs = [[preprocess.paired(source, self.question, before=True)] for source in sources]
        return Asked(pairs, preprocess.is_single(contexts))

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        from edgexf.report.answers import AnswerDict, AnswerList

        (one,), (answers,) = given, found
        rows, nothing = self.spans(bundle, one, answers)
        if self.handle_impossible_answer:
            rows.append({"score": nothing, "start": 0, "end": 0, "answer": ""})
        best = sorted(rows, key=lambda row: -row["score"])[: self.top_k]
        facts = facts_of(bundle, given, found)
        return AnswerDict(best[0], facts) if len(best) == 1 else AnswerList(best, facts, "answers")

    def spans(
        self, bundle: OpenBundle, given: Prepared, answers: Sequence[Answer]
    ) -> tuple[list[dict[str, Any]], float]:
        """The answers in all windows, each text once, and the lowest score of no answer."""
        context = given.raw.text[CONTEXT] if isinstance(given.raw.text, tuple) else ""
        start_logits, end_logits = bundle.head.names
        none_id = bundle.named_id("cls_token")
        many = 2 * self.top_k + 10 if self.align_to_words else self.top_k  # answers of one word fall together
        by_text: dict[str, dict[str, Any]] = {}
        nothing = []
        for window, (outputs, _, _) in zip(given.windows, answers, strict=True):
            allowed, none_at = window.places.texts == CONTEXT, window.ids == none_id
            start, end = (outputs[name][: len(window.ids)] for name in (start_logits, end_logits))
            nothing.append(no_answer(start, end, allowed, none_at))
            for span in best_spans(start, end, allowed, none_at, many, self.max_answer_len):
                row = self.row(window, span, context)
                known = by_text.setdefault(row["answer"].lower(), row)
                if known is not row:
                    known["score"] += row["score"]
        return list(by_text.values()), min(nothing)

    def row(self, window: Encoded, span: Span, context: str) -> dict[str, Any]:
        start, end = place_of(window, span, self.align_to_words)
        return {"score": span.score, "start": start, "end": end, "answer": context[start:end]}


def place_of(window: Encoded, span: Span, whole_words: bool) -> tuple[int, int]:
    """The [start, end) of a span in the context, in code points; of the words that it touches with `whole_words`."""
    places = window.places
    words = places.words[[span.first, span.last]]
    if not whole_words or (words < 0).any():
        return int(places.spans[span.first, 0]), int(places.spans[span.last, 1])
    inside = [np.flatnonzero((places.words == word) & (places.texts == CONTEXT)) for word in words]
    return int(places.spans[inside[0][0], 0]), int(places.spans[inside[1][-1], 1])


def pair_of(given: Mapping[str, Any]) -> Any:
    """The pair in a dict of the pipeline. UsageError for other keys."""
    if set(given) != {"question", "context"}:
        raise UsageError(f"a dict must hold question and context, got {quoted(dict(given))}; name both.")
    for name, text in given.items():
        if not isinstance(text, str):
            raise UsageError(f"a {name} must be a text, got {type(text).__name__}; give its text.")
    return given["question"], given["context"]


def pair(source: Any) -> Any:
    """A question and its context, both with text. UsageError for other inputs."""
    texts = source.text if isinstance(source, preprocess.Raw) else source
    if not isinstance(texts, tuple):
        raise UsageError(
            f"question answering needs a question and its context, got {type(texts).__name__}; give question=... and context=..., or pairs."
        )
    for name, text in zip(("question", "context"), texts, strict=False):
        if isinstance(text, str) and not text:
            raise UsageError(f"a {name} must hold text, got none; write it.")
    return source


def texts_of(name: str, given: Any) -> list[str]:
    """The questions or the contexts of a call. UsageError for none, and for what is no text."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError(
            f"a {name} must be a text or a list of texts, got {quoted(given)}; give both question and context."
        )
    return list(texts)
