"""Which task a bundle does: the list of all tasks.

In: the head of a bundle, and the options of a call. Out: a `Task`. UsageError for an option that the task does not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgexf.errors import UsageError
from edgexf_runtimes.head import NamedHead
from edgexf_runtimes.tasks.classification import Classification
from edgexf_runtimes.tasks.features import FeatureExtraction
from edgexf_runtimes.tasks.fill_mask import FillMask
from edgexf_runtimes.tasks.image_classification import ImageClassification, ImageFeatures
from edgexf_runtimes.tasks.question_answering import QuestionAnswering
from edgexf_runtimes.tasks.reranking import Reranking
from edgexf_runtimes.tasks.task import Task
from edgexf_runtimes.tasks.token_classification import TokenClassification
from edgexf_runtimes.tasks.zero_shot import ZeroShotClassification

# The first that fits does it. Plain features fit every head, so they stand last.
TASKS: tuple[type[Task], ...] = (
    ImageClassification, ImageFeatures, ZeroShotClassification, Reranking, Classification, TokenClassification,
    QuestionAnswering, FillMask, FeatureExtraction,
)  # fmt: skip


def task_of(head: NamedHead, options: Mapping[str, Any]) -> Task:
    """The task of a bundle with this head, asked for with these options."""
    fitting = [task for task in TASKS if task.fits(head)]
    chosen = next(task for task in fitting if not task.needs or task.needs in options)
    known = [field.name for field in fields(chosen)]
    unknown = [name for name in options if name not in known]
    if unknown:
        takes = ", ".join(known) or "none"
        raise UsageError(
            f"an option of {chosen.name} must be one of its own ({takes}), got {unknown[0]}; leave it out."
        )
    return chosen(**options)
