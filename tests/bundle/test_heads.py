"""The meaning of outputs: every task has the right kind of head, kinds are distinguished, and targets fit outputs."""

from __future__ import annotations

import pytest

from edgexf import names
from edgexf.bundle.heads import (
    CLASSES,
    EMBEDDING,
    HIDDEN,
    KINDS,
    LABELS,
    SPAN,
    TASKS,
    TOKEN_CLASSES,
    VECTORS,
    VOCABULARY,
    Kind,
    Task,
    head_of,
    task_named,
)
from edgexf.bundle.manifest import Tensor
from edgexf_exporters.targets import TARGETS
from edgexf_exporters.variant import ANY_MODULE
from edgexf_runtimes.explain.target import TARGETS as BY_NAME

SIZES = {LABELS: 5, HIDDEN: 16, VOCABULARY: 50}


@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_outputs_of_a_task_are_of_its_kind(task: Task, decoder: bool) -> None:
    outputs = task.outputs(SIZES, decoder)
    head = head_of(outputs, names.BATCH)
    assert head is not None
    assert (head.kind, head.has_decoder) == (task.kind, decoder and task.kind != CLASSES)
    assert head.outputs == outputs[: len(task.kind.outputs)]
    assert [tensor.shape[0] for tensor in head.targets] == [names.BATCH] * len(head.targets)
    assert (names.POSITION in [tensor.name for tensor in head.targets]) == head.positioned


def test_every_kind_is_explained_in_torch_and_by_name() -> None:
    assert set(TARGETS) == set(BY_NAME) == set(KINDS)


@pytest.mark.parametrize(
    ("shape", "samples", "kind"),
    [
        (("batch_size", 3), "batch_size", CLASSES),
        (("batch_size", "num_choices"), "batch_size", CLASSES),
        (("batch_size", "sequence_length", 3), "batch_size", TOKEN_CLASSES),
        (
            ("sequence_length", "batch_size", 3),
            "batch_size",
            TOKEN_CLASSES,
        ),  # a module whose first axis is the sequence
        (("sequence_length", "batch_size"), "batch_size", None),  # class logits have the sample axis first
        (("batch_size", 3), "", None),  # samples that depend on each other
        (("batch_size", 4, 4, 3), "batch_size", None),
    ],
)
def test_logits_are_told_apart_by_their_axes(shape: tuple[int | str, ...], samples: str, kind: Kind | None) -> None:
    head = head_of([Tensor(names.LOGITS, "float32", shape)], samples)
    assert (None if head is None else head.kind) is kind


def test_other_names_are_no_head() -> None:
    shape = ("batch_size", "sequence_length")
    assert head_of([Tensor(names.START_LOGITS, "float32", shape)], "batch_size") is None  # the end logits are missing
    assert head_of([Tensor(names.LAST_HIDDEN_STATE, "float32", shape)], "batch_size") is None  # no vectors
    both = [Tensor(name, "float32", shape) for name in SPAN.outputs]
    assert head_of(both, "batch_size") is not None
    assert head_of(both[::-1], "batch_size") is None


def test_a_first_output_that_no_kind_knows_holds_logits() -> None:
    for name, shape, kind in (("scores", (3,), CLASSES), ("tags", ("sequence_length", 3), TOKEN_CLASSES)):
        head = head_of([Tensor(name, "float32", ("batch_size", *shape))], "batch_size")
        assert head is not None
        assert head.kind is kind
        assert head.outputs[0].name == name


def test_a_decoders_vector_is_explained_at_a_position_and_an_encoders_as_a_mean() -> None:
    for tokens, positioned in ((names.SEQUENCE, False), (names.DECODER_SEQUENCE, True)):
        head = head_of([Tensor(names.LAST_HIDDEN_STATE, "float32", (names.BATCH, tokens, 8))], names.BATCH)
        assert head is not None
        assert (head.kind, head.positioned) == (VECTORS, positioned)


def test_a_vector_for_each_sample_is_what_an_embedding_is_compared_by() -> None:
    hidden = Tensor(names.LAST_HIDDEN_STATE, "float32", (names.BATCH, names.SEQUENCE, 8))
    for shape, kind, columns in (((names.BATCH, 5), EMBEDDING, 5), ((names.BATCH, names.SEQUENCE, 5), VECTORS, 8)):
        head = head_of([hidden, Tensor(names.SENTENCE_EMBEDDING, "float32", shape)], names.BATCH)
        assert head is not None
        assert (head.kind, head.columns, head.targets[0].shape) == (kind, columns, (names.BATCH, columns))


def test_tasks_have_different_names_and_endings() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    endings = [(suffix, task.models) for task in TASKS for suffix in task.suffixes]
    assert len(set(endings)) == len(endings)
    assert task_named("content-kind") is None  # the reference models have a separate task


def test_every_task_of_a_variant_is_known() -> None:
    from edgexf_exporters import VARIANTS

    for variant in VARIANTS:
        if not variant.reference and variant.family != ANY_MODULE:
            assert all(task_named(task) is not None for task in variant.tasks), variant.name
