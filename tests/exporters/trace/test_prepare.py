"""A captured program is made ready as torch itself would do it, in one trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.onnx._internal.exporter import _core

from edgexf_exporters.trace import prepare
from edgexf_exporters.trace.export import capture, quiet
from edgexf_exporters.trace.prepare import calls, decomposed, decompositions, prepared, translations
from edgexf_exporters.trace.retrace import retraced
from edgexf_exporters.trace.simplify import simplify

pytestmark = pytest.mark.slow  # exports many small programs

Does = Callable[[Tensor], Any]
OPSET = 20


def captured(does: Does) -> ExportedProgram:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return does(x)

    return capture(Module(), (torch.randn(4, 6),), ({0: Dim.DYNAMIC},))


def graph_of(program: ExportedProgram) -> onnx.ModelProto:
    translated = _core._exported_program_to_onnx_program(program, registry=translations(OPSET))
    simplify(translated.model)
    return translated.model_proto


def operators(model: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in model.graph.node)


def torchs_own(program: ExportedProgram) -> ExportedProgram:
    with quiet():
        return _core._prepare_exported_program_for_export(program, registry=translations(OPSET))


def assert_as_torch(does: Does) -> None:
    """The graph has the operators of torch's graph, and answers as the code does at another size."""
    found = graph_of(prepared(captured(does), OPSET))
    assert operators(found) == operators(graph_of(torchs_own(captured(does))))
    given = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    session = ort.InferenceSession(found.SerializeToString())
    answers = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    wanted = does(given) if isinstance(does(given), tuple) else (does(given),)
    for place, (answer, tensor) in enumerate(zip(answers, wanted, strict=True)):
        assert (place, answer.dtype, answer.shape) == (place, tensor.numpy().dtype, tuple(tensor.shape))
        assert np.allclose(answer, tensor.numpy(), rtol=1e-6, atol=1e-6), place  # a few ulps of float32


@pytest.fixture
def torchs_way(monkeypatch: pytest.MonkeyPatch) -> list[ExportedProgram]:
    """Collects the programs that torch decomposes."""
    went: list[ExportedProgram] = []

    def decompose(program: ExportedProgram, opset: int) -> ExportedProgram:
        went.append(program)
        return original(program, opset)

    original = prepare.functional
    monkeypatch.setattr(prepare, "functional", decompose)
    return went


def untranslated(x: Tensor) -> tuple[Tensor, ...]:
    rows = x.square().flatten().unflatten(0, (x.shape[0], 3, 2)).flatten(0, 1).unflatten(0, (-1, 3)) * 2
    return (
        x * ((x > 0) & (x < 1)),
        x * ((x > 0) | (x < -1)),
        x.argsort(dim=1, descending=True),
        (x * 2).detach_() + 1,
        x.T @ torch.eye(x.shape[0]),
        torch.rsub(x, 1).square(),
        x.to(torch.float64) + x.to(torch.float32),
        (x.square() + torch.tensor([1.0, 2, 3, 4, 5, 6])).to(torch.int64),
        rows.flatten(1),
    )


def test_operators_without_a_translation_become_those_of_torchs_decomposition(
    torchs_way: list[ExportedProgram],
) -> None:
    program = captured(untranslated)
    assert not prepare.all_translated(program.graph, OPSET)
    assert prepare.is_plain(program.graph)
    assert_as_torch(untranslated)
    assert torchs_way == []


def read_twice(x: Tensor) -> Tensor:
    doubled = x * 2
    rows = doubled.reshape(-1)
    doubled.add_(1)
    return rows + 1


def write_to_a_view(x: Tensor) -> Tensor:
    doubled = x * 2
    doubled[:, 1].add_(1)
    return doubled


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.square() * 2


def write_to_another_name(x: Tensor) -> Tensor:
    doubled = x * 2
    doubled.positive().add_(1)
    return doubled * 1


def write_to_the_input_of_a_composite(x: Tensor) -> Tensor:
    doubled = x * 2
    torch.conj_physical(doubled).add_(1)
    return doubled * 1


def with_autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return x * 2


@pytest.mark.parametrize(
    "does",
    [
        read_twice,
        write_to_a_view,
        write_to_another_name,
        write_to_the_input_of_a_composite,
        with_autocast,
        without_gradient,
        lambda x: (x * 2).add_(x.double()),
        lambda x: (x * 2).gt_(x) + x,
        lambda x: (x * 2).pow_(2) + x,
        lambda x: torch.zeros_like(x).masked_fill_(x > 0, -3.0),
    ],
)
def test_a_program_that_writes_or_holds_a_program_goes_torchs_way(
    does: Does, torchs_way: list[ExportedProgram], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(prepare, "retraced")
    assert_as_torch(does)
    assert len(torchs_way) == 1


def write_unseen(x: Tensor) -> tuple[Tensor, ...]:
    return (
        (x * 2).add_(x, alpha=3) + 1,
        (x * 2).masked_fill_(x > 0, -3.0).mul_(2) * x,
        (x > 0).logical_and_(x < 1) * x,
        (x.long() + 1).add_(x.int()) * 2,
    )


def test_a_write_that_nobody_else_sees_makes_a_new_tensor(torchs_way: list[ExportedProgram]) -> None:
    assert prepare.is_plain(captured(write_unseen).graph)
    assert_as_torch(write_unseen)
    assert torchs_way == []


def test_a_size_that_depends_on_values_stays_a_size_of_the_graph() -> None:
    def places(x: Tensor) -> Tensor:
        return ((x > 0) & (x < 1)).nonzero().flatten(0) * 2

    found = ort.InferenceSession(graph_of(prepared(captured(places), OPSET)).SerializeToString())
    given = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    assert found.run(None, {found.get_inputs()[0].name: given.numpy()})[0].tolist() == places(given).tolist()


def mixed_types(x: Tensor) -> tuple[Tensor, ...]:
    return (
        x.long() + x,
        x.long() / 2,
        torch.where(x > 0, x.double(), x),
        (x > 0) + 1,
        x.long().exp(),
        x.long().abs() ** 2.5,
        torch.cat((x, x.long()), dim=1),
        (x > 0).sum(1) * 0.5,
        x.double() * x.shape[0] + x,
        (x.long() + x).square() + (x > 0),
    )


def test_types_are_promoted_as_torch_promotes_them() -> None:
    assert_as_torch(mixed_types)


def normalized(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.nn.functional.layer_norm(x, [6]).flatten(0).unflatten(0, (-1, 6)))


def test_a_trace_with_the_same_decompositions_is_not_decomposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an explanation is, which is traced with them. A trace without them is decomposed."""
    frame = captured(lambda x: x.clone())
    found, plain = (
        retraced(frame, lambda x: (normalized(x),), table, composite=not table) for table in (decompositions(OPSET), {})
    )
    assert any(target in decompositions(OPSET) for target in calls(found.graph))  # `where` answered NotImplemented
    assert decomposed(plain, OPSET) is not plain
    monkeypatch.setattr(prepare, "retraced", lambda *_, **__: pytest.fail("it was traced again"))
    assert decomposed(found, OPSET) is found


def test_an_operator_that_came_after_the_trace_is_decomposed(torchs_way: list[ExportedProgram]) -> None:
    """`keep_small` puts such operators into a trace."""
    found = retraced(
        captured(lambda x: x.clone()), lambda x: (torch.sigmoid(x),), decompositions(OPSET), composite=False
    )
    (node,) = found.graph.find_nodes(op="call_function", target=torch.ops.aten.sigmoid.default)
    node.target = torch.ops.edgexf.exact_sigmoid.default
    assert torch.ops.edgexf.exact_sigmoid.default not in calls(decomposed(found, OPSET).graph)
    assert torchs_way == []


def test_a_number_before_a_tensor_of_another_type_is_promoted_where_a_program_writes() -> None:
    """As XLNet's ``1.0 - mask``: a program that writes to a tensor goes torch's way."""

    def does(x: Tensor) -> Tensor:
        kept = torch.zeros_like(x)
        kept[:, 1:] = x[:, 1:]
        return kept * (1.0 - (x > 0).long())

    model = graph_of(prepared(captured(does), OPSET))
    given = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    session = ort.InferenceSession(model.SerializeToString())
    (answer,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    assert np.array_equal(answer, does(given).numpy())


def test_each_group_of_rows_has_its_own_matrix() -> None:
    """The experts of transformers, of which some have no row."""
    from transformers.integrations import moe  # noqa: F401 (it makes the operator)

    matrices = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1))

    def does(x: Tensor) -> Tensor:
        ends = torch.stack((torch.full((), 0), (x[:, 0] > 0).sum(), torch.full((), 1) * x.shape[0])).int()
        found: Tensor = torch.ops.transformers.grouped_mm_fallback(x, matrices, ends)
        return found

    model = graph_of(prepared(captured(does), OPSET))
    session = ort.InferenceSession(model.SerializeToString())
    for rows in (1, 9):
        given = torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows))
        (answer,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        assert np.abs(answer - does(given).numpy()).max() <= 1e-5  # sums of six products in float32
