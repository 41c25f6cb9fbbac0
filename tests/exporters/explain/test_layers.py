"""The nodes of an explanation know the module that they come from, in both directions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

from edgexf.errors import ExportError
from edgexf_exporters.explain.layers import STACK, Following, Within, note_sums
from edgexf_exporters.explain.rules import Rules

aten = torch.ops.aten


class Gated(nn.Module):
    """A layer that reads its input three times: twice by modules of its own, and once beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.one(x).tanh() * self.other(x)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Gated(), Gated()])
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Body(nn.Module):
    """Holds the model as the bodies of `edgexf_exporters.capture` do."""

    def __init__(self) -> None:
        super().__init__()
        self.program = nn.Module()
        self.program.module = Model()

    def forward(self, x: Tensor) -> Tensor:
        return self.program.module(x)  # type: ignore[no-any-return]


def places(node: Any) -> str | None:
    """The innermost module of a node."""
    return next((path for path, _ in reversed(node.meta.get(STACK, {}).values())), None)


@pytest.fixture(params=[False, True], ids=["plain", "rules"])
def traced(request: pytest.FixtureRequest) -> Graph:
    """The trace of a gradient, and of what surrounds it."""
    example = torch.randn(5, 4)
    body = Following(torch.export.export(Body(), (example,)).module(check_guards=False))
    tokens = Within(nn.Linear(4, 4), "tokens")
    body.requires_grad_(False)

    def run(given: Tensor) -> tuple[Tensor, Tensor]:
        x = tokens(given).detach().requires_grad_(True)
        if request.param:
            with Rules():
                value = (body(x) * 3).sum()
        else:
            value = (body(x) * 3).sum()
        (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), gradient * x.detach() + gradient

    with preserve_node_meta():
        graph = make_fx(run)(example).graph
    note_sums(graph)
    return graph


def test_the_reverse_pass_of_a_module_comes_from_this_module(traced: Graph) -> None:
    found = [places(node) for node in traced.nodes if node.target is aten.mm.default]
    by_layer = ("module.layers.1.one", "module.layers.1.other", "module.layers.0.one", "module.layers.0.other")
    assert found[0] == "module.head"  # its forward pass is an addmm
    assert set(found[1:]) == set(by_layer)
    forward = [places(node) for node in traced.nodes if node.target is aten.addmm.default]
    assert forward == ["module.tokens", *(f"module.layers.{layer}.{name}" for layer in (0, 1) for name in ("one", "other")), "module.head"]  # fmt: skip


def test_a_sum_of_gradients_belongs_to_the_module_around_those_that_gave_them(traced: Graph) -> None:
    nodes = list(traced.nodes)
    reverse = nodes[next(place for place, node in enumerate(nodes) if node.target is aten.mm.default) :]
    sums = [places(node) for node in reverse if node.target is aten.add.Tensor]
    assert sums == [*["module.layers.1"] * 2, *["module.layers.0"] * 2, None]  # the last one is of no module


def test_what_surrounds_the_model_comes_from_no_module(traced: Graph) -> None:
    tripled = [node for node in traced.nodes if node.target is aten.mul.Tensor and 3 in node.args]
    assert [places(node) for node in tripled] == [None, None]  # the explained value, and its reverse pass
    assert places(next(iter(traced.find_nodes(op="output")))) is None


def test_an_error_inside_a_body_stays_one_sentence() -> None:
    class Weighted(Body):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, x)

    body = Following(torch.export.export(Weighted(), (torch.randn(5, 4),)).module(check_guards=False))
    with Rules(), pytest.raises(ExportError) as raised:
        body(torch.randn(5, 4, requires_grad=True))
    assert "executing" not in str(raised.value)  # what torch adds, with lines of code
