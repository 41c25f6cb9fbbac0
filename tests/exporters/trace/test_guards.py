"""The conditions of a trace: each is read, or named in a sentence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from edgexf.bundle import manifest as contract
from edgexf.bundle.signature import Axis
from edgexf.errors import ExportError
from edgexf_exporters.trace.guards import Sized, answer, conditions, uncovered


def condition(text: str) -> bool:
    return answer(compile(text, text, "eval"), [Sized((6, 10))])


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("torch.sym_float(L['inputs'][0].size()[1]) / 4 == 2.5", True),
        ("torch.sym_not(L['inputs'][0].size()[0] == 6)", False),
        ("torch.sym_max(L['inputs'][0].size()[0], L['inputs'][0].size()[1]) == 10", True),
        ("torch.sym_ite(L['inputs'][0].size()[0] < 7, 1, 0) == 1", True),
        ("math.ceil(torch.sym_sqrt(L['inputs'][0].size()[1])) == 4", True),
        ("L['inputs'][0].size()[0] // (L['inputs'][0].size()[0] - 6) == 1", False),  # says nothing about this size
    ],
)
def test_a_condition_may_name_the_functions_of_torch(text: str, holds: bool) -> None:
    assert condition(text) is holds


def test_a_condition_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ExportError, match=r"must be readable, got `later\(L\['inputs'\]\[0\]\) == 1` \(NameError"):
        condition("later(L['inputs'][0]) == 1")


class Table(nn.Module):
    """Slices a table that no answer reads, as DeBERTa-v2 slices its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.arange(128))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * 2 + self.places[: inputs.shape[0]].sum() * 0


def test_the_end_of_a_trace_is_a_condition_and_no_refusal() -> None:
    """Every size beyond the end is yielded, so that it is compared with the model."""

    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = Table()

        def forward(self, *inputs: Tensor) -> Tensor:
            return self.table(inputs[0])

    program = export(Several(), (torch.randn(96),), dynamic_shapes={"inputs": ({0: Dim.DYNAMIC},)}, strict=False)
    tensors, axes = (contract.Tensor("x", "float32", ("n",)),), (Axis("n", 2, 140, 1),)
    found = list(uncovered(conditions(program), tensors, axes, "", {"n": 96}))
    assert [sizes["n"] for sizes in found if sizes["n"] > 120] == list(range(129, 141))
