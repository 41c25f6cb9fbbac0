"""Families of transformers that edgexf exports as they are: data, so that the command line prints it without torch.

    VARIANTS     lowered: edgexf replaces the attention, so that it traces, or traces better
    TESTED       as it is: tests/benchmarks/general.py exports a model of the family in full
    GENERAL      any other family of transformers: the grid decides at each export

`VARIANTS` stands in `edgexf_exporters`. A record of `TESTED` is one line, and nothing depends on it but what is shown and
the name in a manifest: an export takes the same way with it and without.
"""

from __future__ import annotations

from dataclasses import dataclass

GENERAL = "general"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tested:
    """A family that is traced as it is.

    Attributes:
        model_type: the model_type of its config.
        architecture: the class that is measured.
        attention: the attention in words.
        measured_error: the largest relative difference that tests/benchmarks/general.py measured.
    """

    model_type: str
    architecture: str
    attention: str
    measured_error: float

    @property
    def name(self) -> str:
        return f"hf-{self.model_type}"


TESTED: tuple[Tested, ...] = ()


def tested(model_type: str) -> Tested | None:
    """The record of a family; None for a family that was not tested."""
    return next((one for one in TESTED if one.model_type == model_type), None)
