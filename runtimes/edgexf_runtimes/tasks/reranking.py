"""Reranking: documents in the order in which they answer a query, by a cross-encoder.

In: a query, and documents. Out: a list of ``{"corpus_id", "score"}``, the best first, with ``text`` if asked for, as
`CrossEncoder.rank` of sentence-transformers gives them. The score is the model's only logit, through the function that the
model was saved with: sigmoid unless it names another.

A default prompt of the model stands before the query, as there.

The windows of a long document are joined by the mean of their logits. The query is whole in each window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgexf.checks import check_flag, require_choice
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.decoding import Prepared
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.text import LONGER, Reading
from edgexf_runtimes.scores import SCORES
from edgexf_runtimes.tasks.task import Asked, Found, OpenBundle, Task, check_count, facts_of

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead

# By the last part of the name under which sentence-transformers saves a function.
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "Sigmoid": SCORES["sigmoid"],
    "Identity": SCORES["none"],
    "Tanh": np.tanh,
}
SETTINGS_FILE = "config_sentence_transformers.json"


class Reranking(Task):
    """How well documents answer a query.

    Attributes:
        documents: the documents.
        top_k: how many of them the answer lists; None for all.
        return_documents: the answer also holds the documents, as ``text``.
    """

    name: ClassVar[str] = "text-ranking"
    needs: ClassVar[str] = "documents"
    joins: ClassVar[str] = "the mean of their logits"
    documents: Any = ()
    top_k: int | None = None
    return_documents: bool = False

    def __post_init__(self) -> None:
        known = isinstance(self.documents, list | tuple) and bool(self.documents)
        require_choice(
            known and all(isinstance(document, str) and document for document in self.documents),
            "documents must be a list of texts, none of them empty", self.documents, "give one or more",
        )  # fmt: skip
        if self.top_k is not None:
            check_count("top_k", self.top_k)
        check_flag("return_documents", self.return_documents)

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.classifies and head.manifest.preprocess is not None

    def reading(self, truncate: bool, stride: int | None) -> Reading:
        return Reading(truncate, stride, cut=LONGER)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:
        queries = preprocess.listed(inputs)
        for query in queries:
            if not isinstance(query, str | preprocess.Raw):
                raise UsageError(f"a query must be a text, got {type(query).__name__}; read it first.")
        prompted = [with_prompt(query, default_prompt(bundle)) for query in queries]
        pairs = [[preprocess.paired(query, document) for document in self.documents] for query in prompted]
        return Asked(pairs, preprocess.is_single(inputs))

    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        from edgexf.report.answers import AnswerList

        if len(bundle.manifest.labels) != 1:
            raise UsageError(
                f"reranking needs a model with one score, got labels {', '.join(bundle.manifest.labels)}; predict pairs with it instead."
            )
        output, function = bundle.head.output.name, activation(bundle)
        logits = np.array([np.mean([outputs[output][0] for outputs, _, _ in each], dtype=np.float64) for each in found])
        scores = function(logits)
        order = np.argsort(-scores, kind="stable")[: self.top_k]
        rows = [self.row(int(place), float(scores[place])) for place in order]
        return AnswerList(rows, facts_of(bundle, given, found), "ranking")

    def row(self, place: int, score: float) -> dict[str, Any]:
        text = {"text": self.documents[place]} if self.return_documents else {}
        return {"corpus_id": place, "score": score, **text}


def default_prompt(bundle: OpenBundle) -> str:
    """The text that stands before each query by default; empty for a cross-encoder without one."""
    settings = bundle.json_file(SETTINGS_FILE)
    prompts, name = settings.get("prompts"), settings.get("default_prompt_name")
    found = prompts.get(name) if isinstance(prompts, Mapping) and isinstance(name, str) else None
    return found if isinstance(found, str) else ""


def with_prompt(query: str | preprocess.Raw, prompt: str) -> str | preprocess.Raw:
    if not prompt or (isinstance(query, preprocess.Raw) and not isinstance(query.text, str)):
        return query
    return prompt + query if isinstance(query, str) else replace(query, text=f"{prompt}{query.text}")


def activation(bundle: OpenBundle) -> Callable[[Any], Any]:
    """The function that a cross-encoder was saved with. UsageError for one that is not known here."""
    config = bundle.json_file("config.json")
    section = config.get("sentence_transformers")
    places = (
        bundle.json_file(SETTINGS_FILE).get("activation_fn"),
        section.get("activation_fn") if isinstance(section, Mapping) else None,
        config.get("sbert_ce_default_activation_function"),
    )
    name = next((place for place in places if isinstance(place, str)), "Sigmoid").rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise UsageError(
            f"the function of a cross-encoder must be one of {', '.join(ACTIVATIONS)}, got {quoted(name)}; run its logits."
        )
    return ACTIVATIONS[name]
