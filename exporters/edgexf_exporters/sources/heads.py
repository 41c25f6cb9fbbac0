"""What a model of transformers answers, by the end of its class name and its config.

In: a class name such as ``LongformerForTokenClassification``, or a config. Out: the record of the task in
`edgexf.bundle.heads` and whether a decoder answers; how logits become scores; the labels.
"""

from __future__ import annotations

from typing import Any

from edgexf.bundle.heads import TASKS, Task, task_named
from edgexf.errors import ExportError, first_three

ENCODERS = ("Encoder", "EncoderModel")  # the ends of the class names of an encoder alone, in families with decoders


def known_task(architecture: str, family_has_decoder: bool = False) -> tuple[Task, bool] | None:
    """The task of a class, and whether a decoder answers. None for a class whose name ends as no task of the hub does."""
    features = task_named("feature-extraction")
    if family_has_decoder and architecture.endswith(ENCODERS) and features is not None:
        return features, False
    models = "decoder" if family_has_decoder else "encoder"
    known = [task for task in TASKS if task.models in (models, "both")]
    found = [task for task in known if architecture.endswith(task.suffixes)]
    if not found:
        return None
    return max(found, key=lambda task: ending(architecture, task)), family_has_decoder


def ending(architecture: str, task: Task) -> int:
    """The letters of the end of a class name that a task accounts for: ``BertLMHeadModel`` is more than a ``Model``."""
    return max((len(one) for one in task.suffixes if architecture.endswith(one)), default=0)


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


def portable(config: Any, architecture: str) -> dict[str, Any]:
    """config.json as the library reads it, without the folder that the model was loaded from."""
    values = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    return {**values, "architectures": [architecture]}
