"""Modules that ask whether they are traced, and answer otherwise then. The graph answers as PyTorch does, or is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.utils.import_utils as of_transformers
from modules import Between, exports, ids
from torch import Tensor, nn
from torch.compiler import is_compiling, is_exporting
from torch.export import Dim
from torch.fx._symbolic_trace import is_fx_tracing

from edgexf.errors import ExportError, ExportWarning, VerificationError
from edgexf.pipeline.describe_bundle import TRACING_BRANCH
from edgexf_exporters.trace.eager.flags import answered
from edgexf_exporters.trace.export import capture

pytestmark = pytest.mark.slow
FLAGS: dict[str, Callable[[], bool]] = {
    "torch.compiler.is_compiling": is_compiling,
    "torch.compiler.is_exporting": is_exporting,
    "torch.compiler.is_dynamo_compiling": torch.compiler.is_dynamo_compiling,
    "torch._utils.is_compiling": torch._utils.is_compiling,
    "torch._dynamo.is_compiling": torch._dynamo.is_compiling,
    "torch._dynamo.external_utils.is_compiling": torch._dynamo.external_utils.is_compiling,
    "torch.fx._symbolic_trace.is_fx_tracing": is_fx_tracing,
    "torch.jit.is_tracing": torch.jit.is_tracing,
    "torch.onnx.is_in_onnx_export": torch.onnx.is_in_onnx_export,
    "transformers' is_torchdynamo_compiling": of_transformers.is_torchdynamo_compiling,
    "transformers' is_torchdynamo_exporting": of_transformers.is_torchdynamo_exporting,
    "transformers' is_tracing": of_transformers.is_tracing,
    "transformers' is_tracing of a tensor": of_transformers.is_tracing,
    "transformers' is_fake_tensor of a tensor": of_transformers.is_fake_tensor,
}


class Asks(nn.Module):
    def __init__(self, flag: Callable[..., bool], of_tensors: bool = False) -> None:
        super().__init__()
        self.flag, self.of_tensors = flag, of_tensors

    def forward(self, values: Tensor) -> Tensor:
        given = (values,) if self.of_tensors else ()
        return values * 2 if self.flag(*given) else values


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.filterwarnings("ignore:.*is_compiling. is deprecated")
def test_code_of_a_user_hears_no_flag_of_a_trace(name: str) -> None:
    module = Asks(FLAGS[name], "tensor" in name)
    with answered(module):
        program = capture(module, (torch.randn(3, 4),), [{0: Dim.DYNAMIC}])
    values = torch.randn(5, 4)
    torch.testing.assert_close(program.module()(values), values, rtol=0, atol=0)


class ByADefault(Between):
    """Holds the flag in a default, where no attribute of any module leads to it."""

    def between(self, _ids: Tensor, hidden: Tensor, traced: Callable[[], bool] = is_exporting) -> Tensor:
        return hidden.tanh() if traced() else hidden


def test_a_flag_in_a_default_is_heard_as_in_pytorch(tmp_path: Path) -> None:
    manifest = exports(ByADefault().eval(), (ids(2, 6),), tmp_path, max_length=40)
    assert TRACING_BRANCH not in manifest.provenance


class ShortForOneId(Between):
    """Has a way of its own for rows of a single id, which no trace can follow."""

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and bool((ids == ids[:, :1]).all()):
            return hidden * 2
        return hidden


class ShortForPadding(Between):
    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if not is_exporting() and bool((ids[:, -1] == 7).any()):
            return hidden * 2
        return hidden


class ShortForTheSameRows(Between):
    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        if not is_compiling() and len(ids) > 1 and bool((ids == ids[:1]).all()):
            return hidden[:1].mul(2).expand_as(hidden)
        return hidden


class ShortForZeros(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, values: Tensor) -> Tensor:
        if not is_compiling() and not bool(values.any()):
            return self.head(values) + 1
        return self.head(values)


@pytest.mark.parametrize("kind", [ShortForOneId, ShortForPadding, ShortForTheSameRows, ShortForZeros])
def test_a_shortcut_that_no_trace_can_follow_is_refused_with_its_line(kind: type[nn.Module], tmp_path: Path) -> None:
    given = torch.randn(2, 4) if kind is ShortForZeros else ids(2, 6)
    shapes = {"dynamic_shapes": ({0: Dim("batch")},)} if kind is ShortForZeros else {"max_length": 40}
    with pytest.raises(VerificationError, match=r"test_tracing_flags.py:\d+ `if not is_|`if not torch.compiler.is_"):
        exports(kind().eval(), (given,), tmp_path, **shapes)


class LooksForNan(Between):
    """Checks its values where no trace runs, and answers the same."""

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        hidden = hidden.contiguous() if is_exporting() else hidden
        if not is_compiling() and not bool(hidden.isfinite().all()):
            raise ValueError("a value that is no number")
        return hidden


def test_a_harmless_check_is_exported_and_the_bundle_says_that_it_was_sampled(tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="a sample of inputs agrees"):
        manifest = exports(LooksForNan().eval(), (ids(2, 6),), tmp_path, max_length=40)
    assert "is_exporting()" in manifest.provenance[TRACING_BRANCH]
    assert "`if not is_compiling()" in manifest.provenance[TRACING_BRANCH]


class NoWay(Between):
    """Can be traced in neither way."""

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        if is_compiling():
            return hidden * 2 if hidden.sum() > 3 else hidden
        return hidden * 2 if hidden.sum() > 0 else hidden


def test_the_error_names_the_line_that_pytorch_runs(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"hidden.sum\(\) > 0"):
        exports(NoWay().eval(), (ids(2, 6),), tmp_path, max_length=40)


def test_torchs_own_code_still_knows_that_it_is_traced(tmp_path: Path) -> None:
    """Without this, nn.TransformerEncoder reads the values of its padding mask."""

    class Encoder(Between):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1)

        def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
            return self.body(hidden, src_key_padding_mask=ids == 7)

    assert TRACING_BRANCH not in exports(Encoder().eval(), (ids(2, 6),), tmp_path, max_length=12).provenance


def asked_from(package: str) -> Any:
    """What `is_compiling` answers to code of a package while torch traces."""
    with torch._export.utils._compiling_state_context():
        return eval("ask()", {"__name__": package, "ask": is_compiling})  # noqa: S307 (the text stands here)


@pytest.mark.parametrize(
    ("package", "answer"), [("torch.nn", True), ("transformers.models", True), ("torchvision", False), ("own", False)]
)
def test_the_answer_depends_on_the_package_that_asks(package: str, answer: bool) -> None:
    with answered(nn.Identity()):
        assert asked_from(package) is answer
    assert asked_from(package) is True


def test_other_threads_hear_what_torch_says_and_all_of_them_afterwards() -> None:
    before, found = is_compiling.__code__, []
    with answered(nn.Identity()):
        other = threading.Thread(target=lambda: found.append(asked_from("own")))
        other.start()
        other.join()
    assert found == [True]
    assert is_compiling.__code__ is before
