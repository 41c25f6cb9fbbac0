"""A failed trace names a line of the model, never one of edgexf or torch."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import edgexf_exporters
from edgexf.errors import ExportError
from edgexf_exporters.trace.diagnose import is_own
from edgexf_exporters.trace.export import capture

PACKAGE = Path(edgexf_exporters.__file__).parent


def frame_of(file: Path) -> FrameType:
    """Returns a frame whose code names `file` as its source file."""
    scope: dict[str, FrameType] = {}
    exec(compile("import sys\nframe = sys._getframe()", str(file), "exec"), scope)  # noqa: S102 (a frame needs code)
    return scope["frame"]


@pytest.mark.parametrize(
    "file",
    [
        PACKAGE / "capture.py",
        PACKAGE / "trace" / "export.py",
        PACKAGE / "lowerings" / "huggingface" / "bigbird.py",
        Path(torch.__file__).parent / "nn" / "modules" / "linear.py",
    ],
    ids=lambda file: file.name,
)
def test_frames_of_edgexf_and_torch_are_not_the_models(file: Path) -> None:
    assert not is_own(frame_of(file))


def test_a_frame_of_another_file_is_the_models() -> None:
    assert is_own(sys._getframe())


class Tied(nn.Module):
    """Holds a layer under two names, and branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, values: Tensor) -> Tensor:
        return self.first(values) if values.sum() > 0 else self.second(values)


def test_the_line_is_named_in_a_model_that_holds_a_module_twice() -> None:
    with pytest.raises(ExportError, match=r"at test_diagnose.py:\d+ `return self.first.* in the model \(Tied\)"):
        capture(Tied(), (torch.randn(3, 4),), [{0: Dim.DYNAMIC}])
