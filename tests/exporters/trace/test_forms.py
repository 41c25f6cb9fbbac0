"""The forms of a graph: other nodes, the same answers, for every mask and at lengths never traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgexf.bundle.graphs import PORTABLE
from edgexf_exporters.lowerings.reference.full import hide
from edgexf_exporters.trace.export import capture, translate
from edgexf_exporters.trace.forms import FORMS, PLAIN, Form, forms_of, written_in
from edgexf_exporters.trace.sliced import sliced

FLOAT32 = 2e-6  # sums of up to 600 terms in another order, relative to the largest
LENGTHS = (1, 63, 64, 65, 256, 257, 600)
HEADS, WIDTH, VALUE_WIDTH = 3, 4, 5
INPUTS = ("query", "key", "value", "mask")
OF_ORT = tuple(form for form in FORMS if form.ops != PORTABLE)


class Attention(nn.Module):
    def __init__(self, causal: bool = False, masked: bool = True) -> None:
        super().__init__()
        self.causal, self.masked = causal, masked

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        if self.masked:
            query, key = hide(query, key, (mask > 0)[:, None])
        mixed: Tensor = sliced(query, key, value, self.causal, self.masked)
        return mixed + mask.sum()  # so that the graph reads the mask in any case


def drawn(length: int, mask: str = "all") -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(length)
    widths = {"query": WIDTH, "key": WIDTH, "value": VALUE_WIDTH}
    found = {name: torch.randn(2, HEADS, length, width, generator=chance) for name, width in widths.items()}
    real = torch.ones(2, length, dtype=torch.int64)
    if mask == "one row":
        real[1, (length + 1) // 2 :] = 0
    if mask == "left":
        real[:, : length // 2] = 0
    return {**found, "mask": real}


def captured(module: nn.Module) -> ExportedProgram:
    batch, length = Dim("batch", max=64), Dim("length", max=4096)
    axes = [{0: batch, 2: length}] * 3 + [{0: batch, 1: length}]
    return capture(module, tuple(drawn(97).values()), axes)


def in_form(program: ExportedProgram, form: Form) -> onnx.ModelProto:
    with written_in(form):
        return translate(program, INPUTS, ("mixed",), 20)


def operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            yield from operators(attribute.g)


def answer(model: onnx.ModelProto, given: dict[str, Tensor]) -> Any:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in given.items()})[0]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_form_answers_as_pytorch_for_every_mask(form: Form) -> None:
    module = Attention()
    model = in_form(captured(module), form)
    for length in LENGTHS:
        for mask in ("all", "one row", "left"):
            given = drawn(length, mask)
            wanted = module(*given.values()).numpy()
            assert np.abs(answer(model, given) - wanted).max() <= FLOAT32 * np.abs(wanted).max(), (length, mask)


@pytest.mark.parametrize("form", OF_ORT, ids=lambda form: form.name)
def test_onnx_runtimes_operator_runs_only_where_every_token_is_real(form: Form) -> None:
    """Its weights are broken on purpose: the answer changes where it ran, and nowhere else."""
    program = captured(Attention())
    model, usual = in_form(program, form), in_form(program, PLAIN)
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    branches = {attribute.name: list(operators(attribute.g)) for attribute in choice.attribute}
    assert {"MultiHeadAttention", "Scan"}.intersection(branches["then_branch"]) == {"MultiHeadAttention"}
    assert {"MultiHeadAttention", "Scan"}.intersection(branches["else_branch"]) == {"Scan"}
    body = next(attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    attention = next(node for node in body.node if node.op_type == "MultiHeadAttention")
    next(one for one in attention.attribute if one.name == "scale").f = 3.0
    for mask, same in (("all", False), ("one row", True), ("left", True)):
        given = drawn(100, mask)
        assert np.array_equal(answer(model, given), answer(usual, given)) == same


@pytest.mark.parametrize("module", [Attention(causal=True), Attention(masked=False)], ids=["causal", "without a mask"])
def test_a_graph_without_a_shared_mask_has_no_operator_of_onnx_runtime(module: nn.Module) -> None:
    program = captured(module)
    usual = in_form(program, PLAIN)
    for form in OF_ORT:
        assert in_form(program, form) == usual


def test_only_the_rows_of_a_slice_differ_in_a_form_of_slices() -> None:
    program = captured(Attention())
    found = {form.rows: in_form(program, form) for form in FORMS if form.ops == PORTABLE}
    held = {rows: [*operators(model.graph)] for rows, model in found.items()}
    assert len(found) == 2
    assert all(kinds == [*operators(in_form(program, PLAIN).graph)] for kinds in held.values())
    assert all("com.microsoft" not in {one.domain for one in model.opset_import} for model in found.values())


def test_a_form_ends_with_its_block() -> None:
    program = captured(Attention())
    before = in_form(program, PLAIN)
    with pytest.raises(ZeroDivisionError), written_in(OF_ORT[0]):
        raise ZeroDivisionError
    assert translate(program, INPUTS, ("mixed",), 20) == before


def test_an_export_writes_what_was_asked_for() -> None:
    assert forms_of(PORTABLE, candidates=False) == ()
    assert [form.name for form in forms_of("ort-cpu", candidates=False)] == ["ort-cpu"]
    assert forms_of("ort-cpu", candidates=True) == forms_of(PORTABLE, candidates=True) == FORMS
