"""The kinds of families of transformers, as data, so that the command line prints them without torch.

    lowered             `VARIANTS` of `edgexf_exporters`: edgexf replaces the attention, so that it traces, or traces better
    tested as it is     `TESTED`: traced as it is; tests/benchmarks/census.py exports a model of the family
    general             any other family of transformers: the grid decides at each export

A record of `TESTED` is one line. Nothing depends on it but what is shown, and the name in a manifest: an export takes the
same way with it and without.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWERED, AS_IT_IS, GENERAL = "lowered by edgexf", "tested as it is", "general"
TOLERANCE = 1e-4
# What `--task` takes besides the tasks of the lowered families.
IMAGE_TASKS = (
    "depth-estimation",
    "image-classification",
    "object-detection",
    "semantic-segmentation",
    "zero-shot-image-classification",
)


@dataclass(frozen=True)
class Tested:
    """A family that is traced as it is.

    Attributes:
        model_type: the model_type of its config.
        architecture: the class that the census exports.
        measured_error: the largest relative difference that tests/benchmarks/census.py measured.
    """

    model_type: str
    architecture: str
    measured_error: float

    @property
    def name(self) -> str:
        return f"hf-{self.model_type}"


TESTED: tuple[Tested, ...] = ()


def tested(model_type: str) -> Tested | None:
    """The record of a family; None for a family that was not tested."""
    return next((one for one in TESTED if one.model_type == model_type), None)
