"""Sizes in a graph are those that Python computes, whatever their signs and their rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from edgexf_exporters.trace.export import capture, translate

OPSET = 20
LENGTHS = (*range(2, 300), 4095, 4096)
Of = Callable[[Any], Any]


class Sizes(nn.Module):
    def __init__(self, *of: Of) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.full((), one(x.shape[0]), dtype=torch.int64) for one in self.of)


def graph_of(*of: Of) -> onnx.ModelProto:
    program = capture(Sizes(*of), (torch.zeros(97),), ({0: Dim("n", min=2, max=4096)},))
    return translate(program, ["x"], [f"y{place}" for place in range(len(of))], OPSET)


SIZES: dict[str, Of] = {
    "-(-n // 8)": lambda n: -(-n // 8), "(-n) // 5": lambda n: -n // 5, "(20 - n) // 8": lambda n: (20 - n) // 8,
    "n // -8": lambda n: n // -8, "(20 - n) // -8": lambda n: (20 - n) // -8, "n // (2 * n - 201)": lambda n: n // (2 * n - 201),
    "-n % 64": lambda n: -n % 64, "(20 - n) % 8": lambda n: (20 - n) % 8, "n % -8": lambda n: n % -8,
    "abs": lambda n: abs(20 - n), "min": lambda n: min(n, 20), "max": lambda n: max(n, 20), "n ** 2": lambda n: n**2,
    "2 ** (n % 4)": lambda n: 2 ** (n % 4), "n >> 1": lambda n: n >> 1, "n << 2": lambda n: n << 2, "n & 12": lambda n: n & 12,
    "(20 - n) >> 3": lambda n: (20 - n) >> 3, "round(n * 0.5)": lambda n: round(n * 0.5), "round(n / 4)": lambda n: round(n / 4),
    "trunc(n * 0.7)": lambda n: math.trunc(n * 0.7), "floor(n * 0.29)": lambda n: math.floor(n * 0.29),
    "ceil(n * 1.1)": lambda n: math.ceil(n * 1.1), "floor(n / 3)": lambda n: math.floor(n / 3),
    "ceil(n / 0.3)": lambda n: math.ceil(n / 0.3), "floor((20 - n) / 8)": lambda n: math.floor((20 - n) / 8),
    "trunc(n ** 0.5)": lambda n: math.trunc(n**0.5), "floor(n * 0.1 + n / 7)": lambda n: math.floor(n * 0.1 + n / 7),
    "floor(1 - n * 0.7)": lambda n: math.floor(1 - n * 0.7), "trunc(-(n * 0.7))": lambda n: math.trunc(-(n * 0.7)),
}  # fmt: skip


def test_a_graph_computes_sizes_as_python_does() -> None:
    session = ort.InferenceSession(graph_of(*SIZES.values()).SerializeToString())
    wrong = {}
    for length in LENGTHS:
        found = session.run(None, {"x": torch.zeros(length).numpy()})
        for name, answer, of in zip(SIZES, found, SIZES.values(), strict=True):
            if int(answer) != of(length):
                wrong.setdefault(name, (length, int(answer), of(length)))
    assert wrong == {}


@pytest.mark.parametrize("of", [lambda n: n // 8, lambda n: (n + 7) // 8, lambda n: (n - 2) // 3])
def test_a_quotient_that_can_not_be_negative_stays_one_division(of: Of) -> None:
    assert "Mod" not in {node.op_type for node in graph_of(of).graph.node}


def test_a_number_that_meets_a_tensor_stays_float32() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (x.shape[0] / 3)

    program = capture(Mean(), (torch.ones(97),), ({0: Dim("n", min=2, max=4096)},))
    model = translate(program, ["x"], ["y"], OPSET)
    kinds = {value.type.tensor_type.elem_type for value in model.graph.value_info}
    assert onnx.TensorProto.DOUBLE not in kinds
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"x": torch.ones(100).numpy()})[0]
    assert torch.allclose(torch.from_numpy(found), torch.full((100,), 100 / 3))
