"""What a model of transformers answers, by the end of its class name.

In: a class such as ``LongformerForTokenClassification``. Out: its `Head`: the task, and the outputs that a
graph gives. Task names are those of the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgexf import names
from edgexf.bundle.manifest import Tensor
from edgexf.errors import ExportError

LABELS = -1  # a size that the model's config decides
HIDDEN = -2
VOCABULARY = -3


@dataclass(frozen=True)
class Head:
    """`outputs` are names and trailing axes; a negative size stands for one of the config's.

    `globals` says which tokens are global where a family has such tokens and the caller names none:
    ``first``, ``question``, ``answer`` or ``none``. `choices`: inputs are [batch, choices, sequence].
    """

    task: str
    outputs: tuple[tuple[str, tuple[int | str, ...]], ...]
    globals: str = "none"
    multiple_choice: bool = False

    @property
    def labelled(self) -> bool:
        """Whether an output has a column for each label."""
        return any(LABELS in axes for _, axes in self.outputs)

    def tensors(self, labels: int, hidden: int, vocabulary: int) -> tuple[Tensor, ...]:
        sizes = {LABELS: labels, HIDDEN: hidden, VOCABULARY: vocabulary}
        return tuple(
            Tensor(
                name,
                "float32",
                (names.BATCH, *(sizes.get(axis, axis) if isinstance(axis, int) else axis for axis in axes)),
            )
            for name, axes in self.outputs
        )


TOKENS = names.SEQUENCE
HEADS = {
    "Model": Head("feature-extraction", (("last_hidden_state", (TOKENS, HIDDEN)),)),
    "ForSequenceClassification": Head("text-classification", ((names.LOGITS, (LABELS,)),), "first"),
    "ForTokenClassification": Head("token-classification", ((names.LOGITS, (TOKENS, LABELS)),)),
    "ForQuestionAnswering": Head(
        "question-answering", (("start_logits", (TOKENS,)), ("end_logits", (TOKENS,))), "question"
    ),
    "ForMaskedLM": Head("fill-mask", ((names.LOGITS, (TOKENS, VOCABULARY)),)),
    **dict.fromkeys(
        ("ForCausalLM", "ModelWithLMHead"), Head("text-generation", ((names.LOGITS, (TOKENS, VOCABULARY)),))
    ),
    "ForMultipleChoice": Head("multiple-choice", ((names.LOGITS, (names.CHOICES,)),), "answer", multiple_choice=True),
}
WRITTEN = names.DECODER_SEQUENCE
SEQUENCE_TO_SEQUENCE = {
    "Encoder": HEADS["Model"],
    "Model": Head(
        "feature-extraction",
        (("last_hidden_state", (WRITTEN, HIDDEN)), ("encoder_last_hidden_state", (TOKENS, HIDDEN))),
    ),
    "ForConditionalGeneration": Head("text2text-generation", ((names.LOGITS, (WRITTEN, VOCABULARY)),)),
    "ForQuestionAnswering": Head("question-answering", (("start_logits", (WRITTEN,)), ("end_logits", (WRITTEN,)))),
}


def head_of(architecture: str, writes: bool = False) -> Head:
    """The head of a class of transformers, `writes` for one with a decoder; ExportError where edgexf does not know it."""
    heads = SEQUENCE_TO_SEQUENCE if writes else HEADS
    for suffix, head in heads.items():
        if architecture.endswith(suffix):
            return head
    raise ExportError(
        f"a model's head must be one of {', '.join(heads)}, got {architecture}; export another head of the same weights."
    )
