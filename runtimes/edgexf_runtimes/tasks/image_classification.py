"""Image classification: the labels of a picture, best first.

In: logits [labels] of each picture. Out: a list of ``{"label", "score"}``, as the image-classification pipeline of
transformers gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from edgexf.bundle.preprocess import Image
from edgexf_runtimes.inputs import image
from edgexf_runtimes.tasks.classification import Classification
from edgexf_runtimes.tasks.features import FeatureExtraction
from edgexf_runtimes.tasks.task import Asked, OpenBundle

if TYPE_CHECKING:
    from edgexf_runtimes.head import NamedHead


class ImageClassification(Classification):
    """Which labels a picture has. The attributes are those of `Classification`."""

    name: ClassVar[str] = "image-classification"
    joins: ClassVar[str] = ""
    top_k: int | str | None = 5

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return head.classifies and isinstance(head.manifest.preprocess, Image)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        return of_pictures(inputs)


class ImageFeatures(FeatureExtraction):
    """What the outputs of a model of pictures are."""

    name: ClassVar[str] = "image-feature-extraction"
    joins: ClassVar[str] = ""

    @classmethod
    def fits(cls, head: NamedHead) -> bool:
        return isinstance(head.manifest.preprocess, Image)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        return of_pictures(inputs)


def of_pictures(inputs: Any) -> Asked:
    """A question for each picture."""
    return Asked([[picture] for picture in image.listed(inputs)], image.is_one(inputs))
