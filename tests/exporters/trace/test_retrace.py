"""A function is traced over the inputs of a program, and holds wherever the program holds."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgexf.errors import ExportError
from edgexf_exporters.trace.retrace import retraced, share_sizes

Runs = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
WEIGHT = nn.Parameter(torch.arange(6.0))


class Inputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return x.clone(), y.clone()


def program(axes: Any = Dim.DYNAMIC) -> ExportedProgram:
    given = torch.randn(3, 14), torch.randn(3, 6)
    return torch.export.export(Inputs(), given, dynamic_shapes=({0: axes, 1: Dim.DYNAMIC}, {0: axes}), strict=False)


def traced(run: Runs, axes: Any = Dim.DYNAMIC) -> ExportedProgram:
    return retraced(program(axes), run, {}, composite=False)


def weighted(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return ((x.sum(1, keepdim=True) + y) * WEIGHT).detach(), x[:, 1:].detach(), WEIGHT.detach() + torch.tensor(2.0)


@pytest.mark.parametrize("axes", [Dim.DYNAMIC, Dim("rows", min=1, max=100)])
def test_a_trace_answers_at_sizes_never_traced_with_the_tensors_that_it_holds(axes: Any) -> None:
    found = traced(weighted, axes).module(check_guards=False)
    given = torch.randn(5, 8), torch.randn(5, 6)
    for one, other in zip(found(*given), weighted(*given), strict=True):
        assert torch.equal(one, other)


def test_a_tensor_that_a_trace_holds_takes_no_name_of_the_program() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("constant_0", torch.ones(14), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.constant_0

    exported = torch.export.export(Named(), (torch.randn(3, 14),), dynamic_shapes=({0: Dim.DYNAMIC},), strict=False)
    found = retraced(exported, lambda ones, x: (x * WEIGHT[1] + ones.detach(), None), {}, composite=False)
    answer, none = found.module(check_guards=False)(torch.zeros(2, 14))
    assert none is None
    assert torch.equal(answer, torch.ones(2, 14))


@pytest.mark.parametrize("fails", [False, True])
def test_a_trace_leaves_the_sizes_of_its_program_as_they_were(fails: bool) -> None:
    of = program()
    (mode,) = {node.meta["val"].fake_mode for node in of.graph.find_nodes(op="placeholder")}
    before = mode.allow_non_fake_inputs, mode.shape_env.frozen
    with pytest.raises(ExportError) if fails else nullcontext():
        retraced(of, lambda x, y: (x[:, : int(x.shape[1])] + y.sum() if fails else x * y.sum(),), {}, composite=False)
    assert (mode.allow_non_fake_inputs, mode.shape_env.frozen) == before
    assert not torch.fx.config.do_not_emit_stack_traces


def test_a_gradient_is_traced() -> None:
    def slope(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        value = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad((value**3).sum() * y.sum(), value)
        return (gradient,)

    given = torch.randn(5, 8), torch.randn(5, 6)
    assert torch.allclose(traced(slope).module(check_guards=False)(*given)[0], 3 * given[0] ** 2 * given[1].sum())


def test_each_size_is_computed_once() -> None:
    def sizes(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        long = torch.cat((x, x), dim=1)
        return torch.zeros(long.shape[1], x.shape[0]), torch.zeros(2 * x.shape[1], y.shape[0])

    found = [node for node in traced(sizes).graph.nodes if isinstance(node.meta.get("val"), torch.SymInt)]
    assert len({str(node.meta["val"]) for node in found}) == len(found) == 3


def test_a_size_that_is_a_number_after_expansion_is_written_as_the_number() -> None:
    graph = program().graph
    (size,) = [value for value in graph.find_nodes(op="placeholder")[0].meta["val"].shape if value.node.hint == 14]
    symbol, sizes = size.node.expr, size.node.shape_env
    (output,) = graph.find_nodes(op="output")
    with graph.inserting_before(output):
        none = graph.call_function(operator.sub, (1, 1))
        none.meta["val"] = sizes.create_symintnode(2 * symbol * (8 * symbol - 2) - 16 * symbol**2 + 4 * symbol, hint=0)
        made = graph.call_function(torch.ops.aten.zeros.default, ([3, none],))
    output.args = ((made,),)
    share_sizes(graph)
    assert made.args == ([3, 0],)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda x, y: (x[:, : int(x.shape[1]) // 2] + y.sum(),), "a size that became 14"),
        (lambda x, y: (x if x.shape[1] == 14 else y,), "a size that became 14"),
        (lambda x, y: (x if x.shape[1] == 4 * x.shape[0] + 2 else y,), "a size that became 4"),
    ],
)
def test_a_trace_that_holds_for_some_sizes_only_is_refused(run: Runs, says: str) -> None:
    with pytest.raises(ExportError, match=says):
        traced(run)
