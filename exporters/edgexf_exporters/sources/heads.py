"""What a model of transformers answers, by the end of its class name.

In: a class name such as ``LongformerForTokenClassification``. Out: the record of its task in `edgexf.bundle.heads`, and
whether the answers are those of a decoder.
"""

from __future__ import annotations

from edgexf.bundle.heads import TASKS, Task, task_named
from edgexf.errors import ExportError

ENCODER = "Encoder"  # how the class of an encoder by itself ends, in families that have decoders


def task_of(architecture: str, family_has_decoder: bool = False) -> tuple[Task, bool]:
    """The task of a class, and whether a decoder answers. ExportError where edgexf does not know the class."""
    features = task_named("feature-extraction")
    if family_has_decoder and architecture.endswith(ENCODER) and features is not None:
        return features, False
    models = "decoder" if family_has_decoder else "encoder"
    known = [task for task in TASKS if task.models in (models, "both")]
    for task in known:
        if architecture.endswith(task.suffixes):
            return task, family_has_decoder
    suffixes = ", ".join(suffix for task in known for suffix in task.suffixes)
    raise ExportError(
        f"a model's head must be one of {suffixes}, got {architecture}; export another head of the same weights."
    )
