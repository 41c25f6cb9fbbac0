"""What a model of transformers answers, by the end of its class name and its config.

In: a class name such as ``LongformerForTokenClassification``, or a config. Out: the record of the task in
`edgexf.bundle.heads` and whether a decoder answers; how logits become scores; the labels.
"""

from __future__ import annotations

from typing import Any

from edgexf.bundle.heads import TASKS, Task, task_named
from edgexf.errors import ExportError, first_three

ENCODERS = ("Encoder", "EncoderModel")  # the ends of the class names of an encoder alone, in families with decoders


def task_of(architecture: str, family_has_decoder: bool = False) -> tuple[Task, bool]:
    """The task of a class, and whether a decoder answers. Raises ExportError for a class that edgexf does not know."""
    features = task_named("feature-extraction")
    if family_has_decoder and architecture.endswith(ENCODERS) and features is not None:
        return features, False
    models = "decoder" if family_has_decoder else "encoder"
    known = [task for task in TASKS if task.models in (models, "both")]
    for task in known:
        if architecture.endswith(task.suffixes):
            return task, family_has_decoder
    encoders = ENCODERS if family_has_decoder else ()
    suffixes = ", ".join((*encoders, *(suffix for task in known for suffix in task.suffixes)))
    raise ExportError(
        f"a model's head must be one of {suffixes}, got {architecture}; export another head of the same weights."
    )


def scores_of(config: Any) -> str:
    """How the pipeline of transformers makes scores of logits."""
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def labels_of(config: Any) -> tuple[str, ...]:
    """The labels in order. Raises ExportError if the config does not give each column a different name."""
    found = {int(index): str(label) for index, label in config.id2label.items()}
    if sorted(found) != list(range(len(found))) or len(set(found.values())) != len(found):
        raise ExportError(
            f"id2label must give each label from 0 on a name of its own, got {first_three([f'{i}: {n}' for i, n in found.items()])}; mend the config."
        )
    return tuple(found[index] for index in range(len(found)))
