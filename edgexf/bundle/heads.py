"""What the outputs of a model mean: the only module that distinguishes kinds of heads and lists the tasks.

In: the output tensors of a predict graph, and the name of the axis of independent samples. Out: a `Head`. It says what
the outputs hold, and which arrays choose what an explanation explains. Standard library only.

    kind            first outputs                                explained value
    CLASSES         logits [samples, classes]                    target . logits
    TOKEN_CLASSES   logits [samples, tokens, classes]            target . logits at the position
    SPAN            start_logits, end_logits [samples, tokens]   target_start . start_logits + target_end . end_logits
    VECTORS         last_hidden_state [samples, tokens, width]   cosine of target and the mean of the real tokens,
                                                                 or of target and a decoder's vector at the position
    EMBEDDING       last_hidden_state, and                       cosine of target and sentence_embedding
                    sentence_embedding [samples, width]

A new task of an existing kind is a record in `TASKS`. A new kind is a `Kind` in this module, and the code that computes
its explained value: in torch (`edgexf_exporters.targets`) and in numpy (`edgexf_runtimes.explain`).

Two alternatives were weighed. A class for each kind with methods for everything would bring torch and numpy together in
one module. A manifest field that names the kind would repeat what the names and shapes of the outputs say already.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgexf import names
from edgexf.bundle.manifest import Tensor
from edgexf.records import Record


class Kind(Record):
    """A kind of head.

    Attributes:
        name: the kind in words.
        outputs: the names of the first outputs.
        rank: the number of axes of the first of these outputs.
        weights: the names of the arrays that weight the outputs in an explained value.
        positioned: an explanation also takes a position: the token at which the model answers.
        turns: samples may also be the second axis, as in modules whose first axis is the sequence.
        pooled: the last of these outputs is one vector for each sample, [samples, width].
    """

    name: str
    outputs: tuple[str, ...]
    rank: int
    weights: tuple[str, ...] = (names.TARGET,)
    positioned: bool = False
    turns: bool = False
    pooled: bool = False

    def fits(self, outputs: Sequence[Tensor]) -> bool:
        """Whether the first outputs have the names and the rank of this kind."""
        first = outputs[: len(self.outputs)]
        if tuple(output.name for output in first) != self.outputs or len(first[0].shape) != self.rank:
            return False
        return not self.pooled or (len(first[-1].shape) == 2 and first[-1].shape[0] == first[0].shape[0])


CLASSES = Kind("logits of classes", (names.LOGITS,), 2)
TOKEN_CLASSES = Kind("logits of classes at each token", (names.LOGITS,), 3, positioned=True, turns=True)
SPAN = Kind(
    "logits of an answer's ends", (names.START_LOGITS, names.END_LOGITS), 2, (names.TARGET_START, names.TARGET_END)
)
VECTORS = Kind("a vector for each token", (names.LAST_HIDDEN_STATE,), 3)
EMBEDDING = Kind(
    "a vector for each token and one for all", (names.LAST_HIDDEN_STATE, names.SENTENCE_EMBEDDING), 3, pooled=True
)
KINDS = (CLASSES, TOKEN_CLASSES, SPAN, EMBEDDING, VECTORS)  # the first that fits counts
UNNAMED = (CLASSES, TOKEN_CLASSES)  # what a custom module's first output is taken for, if no kind knows its name


class Head(Record):
    """The first outputs of a model.

    Attributes:
        kind: what the outputs hold.
        outputs: the tensors that the kind names, in order.
        samples: the name of the axis of independent samples.
    """

    kind: Kind
    outputs: tuple[Tensor, ...]
    samples: str

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The shape of the first output."""
        return self.outputs[0].shape

    @property
    def columns(self) -> int | str:
        """The columns of what is explained: classes, words, or the width of a vector; the tokens of a span."""
        return self.outputs[-1 if self.kind.pooled else 0].shape[-1]

    @property
    def has_fixed_columns(self) -> bool:
        return isinstance(self.columns, int)

    @property
    def rows_first(self) -> bool:
        """Whether the first axis is the axis of samples."""
        return self.shape[0] == self.samples

    @property
    def tokens(self) -> int | str:
        """The axis of tokens. ValueError for a kind without tokens."""
        if self.kind == CLASSES:
            raise ValueError("logits of classes have no axis of tokens")
        return self.shape[1] if self.rows_first else self.shape[0]

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder writes the tokens of the output."""
        return names.DECODER_SEQUENCE in self.shape

    @property
    def positioned(self) -> bool:
        """Whether an explanation also takes a position: a token of the input, or a token that the decoder writes."""
        return self.kind.positioned or (self.kind == VECTORS and self.has_decoder)

    @property
    def targets(self) -> tuple[Tensor, ...]:
        """The inputs of an explain graph that are no inputs of the model, in order."""
        shape = self.shape if self.kind == SPAN else (self.samples, self.columns)
        position = (Tensor(names.POSITION, "int64", (self.samples,)),) if self.positioned else ()
        return (*(Tensor(name, "float32", shape) for name in self.kind.weights), *position)


def head_of(outputs: Sequence[Tensor], samples: str) -> Head | None:
    """The head of a model with these outputs; None if none of `KINDS` fits, or if samples are not independent.

    A first output whose name no kind knows holds logits, if it has the axes of logits.
    """
    shape = outputs[0].shape
    if not samples or samples not in shape[:2]:
        return None
    called = [kind for kind in KINDS if kind.fits(outputs)]
    known = any(outputs[0].name in kind.outputs for kind in KINDS)
    alike = [] if known else [kind for kind in UNNAMED if kind.rank == len(shape)]
    for kind in (*called, *alike):
        if shape[0] == samples or kind.turns:
            return Head(kind, tuple(outputs[: len(kind.outputs)]), samples)
    return None


LABELS, HIDDEN, VOCABULARY, CHOICES = "labels", "hidden", "vocabulary", "choices"  # the columns of a task's output


class Task(Record):
    """What a model is used for, by its name on the Hugging Face hub.

    Attributes:
        name: the name on the hub.
        kind: the kind of the model's head.
        suffixes: the endings of the names of the classes in transformers that do this task.
        columns: what the last axis of the output counts; empty for a span, which has no such axis.
        global_tokens: which tokens are global if the model has global tokens and the caller names none: ``none``,
            ``first``, ``question`` or ``answer``.
        max_global: how many tokens of a row a caller may make global by default.
        default_position: the token that is explained if the caller names none: ``mask``, ``last``, ``entity``, or empty.
        multiple_choice: a row holds several inputs, and the model chooses one of them.
        models: which models do the task: models without a decoder (``encoder``), with a decoder (``decoder``), or
            ``both``.
    """

    name: str
    kind: Kind
    suffixes: tuple[str, ...]
    columns: str = ""
    global_tokens: str = "none"
    max_global: int = 64
    default_position: str = ""
    multiple_choice: bool = False
    models: str = "encoder"

    def outputs(self, sizes: dict[str, int], decoder: bool) -> tuple[Tensor, ...]:
        """The outputs of a model with these sizes by `LABELS`, `HIDDEN` and `VOCABULARY`.

        A model with a `decoder` answers at each token that the decoder writes. If it outputs vectors, it also outputs
        the vectors of the encoder.
        """
        columns: tuple[int | str, ...] = (sizes.get(self.columns, names.CHOICES),) if self.columns else ()
        tokens = () if self.kind == CLASSES else (names.DECODER_SEQUENCE if decoder else names.SEQUENCE,)
        found = [(name, (names.BATCH, *tokens, *columns)) for name in self.kind.outputs]
        if decoder and self.kind == VECTORS:
            found.append((names.ENCODER_LAST_HIDDEN_STATE, (names.BATCH, names.SEQUENCE, *columns)))
        return tuple(Tensor(name, "float32", shape) for name, shape in found)


TASKS = (
    Task("feature-extraction", VECTORS, ("Model",), HIDDEN, models="both"),
    # The first token alone is global by default, as in the library.
    Task("text-classification", CLASSES, ("ForSequenceClassification",), LABELS, "first", max_global=1),
    Task("token-classification", TOKEN_CLASSES, ("ForTokenClassification",), LABELS, default_position="entity"),
    Task("question-answering", SPAN, ("ForQuestionAnswering",), global_tokens="question", models="both"),
    Task("fill-mask", TOKEN_CLASSES, ("ForMaskedLM",), VOCABULARY, default_position="mask"),
    Task(
        "text-generation",
        TOKEN_CLASSES,
        ("ForCausalLM", "ModelWithLMHead", "LMHeadModel"),
        VOCABULARY,
        default_position="last",
    ),
    Task("multiple-choice", CLASSES, ("ForMultipleChoice",), CHOICES, "answer", multiple_choice=True),
    Task("text2text-generation", TOKEN_CLASSES, ("ForConditionalGeneration",), VOCABULARY, models="decoder"),
)


def task_named(name: str) -> Task | None:
    """The task of this name; None for the task of a custom module or of a reference model."""
    return next((task for task in TASKS if task.name == name), None)
