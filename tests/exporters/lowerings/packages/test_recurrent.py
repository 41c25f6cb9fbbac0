"""Recurrent layers of torch.nn: the lowering against the untouched layer in float64, then whole exports of modules."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import edgexf
from edgexf.bundle.manifest import Limits
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.explain.rules import Rules
from edgexf_exporters.hooks import frozen, vectors_of
from edgexf_exporters.lowerings.packages.torch_packed import packing
from edgexf_exporters.lowerings.packages.torch_rnn import Recurrent

LIMITS = Limits(vocab=60, min_length=2, max_length=64, block=1, max_global=0, padding="none")
ROUNDING = 1e-11  # relative to the largest value, in float64
TOLERANCE = 1e-4  # of the contract grid, in float32
KINDS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "LSTM": (nn.LSTM, {}),
    "LSTM with a projection": (nn.LSTM, {"proj_size": 3}),
    "GRU": (nn.GRU, {}),
    "RNN": (nn.RNN, {}),
    "RNN with relu": (nn.RNN, {"nonlinearity": "relu"}),
}
BATCH, TIME, INPUT, WIDTH = 3, 7, 5, 6


def layer(kind: str, **chosen: Any) -> Any:
    """Two layers in float64. Weights are larger than torch draws them, so that gates are not nearly constant."""
    torch.manual_seed(0)
    made, more = KINDS[kind]
    found = made(INPUT, WIDTH, 2, **more, **chosen)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(2)
    return found.double().eval().requires_grad_(False)


def states(own: Any) -> Any:
    """Initial states of `own` for `BATCH` samples, which need gradients."""
    rows = own.num_layers * (1 + own.bidirectional)
    hidden = torch.randn(rows, BATCH, own.proj_size or WIDTH, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(rows, BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    return (hidden, memory) if own.mode == "LSTM" else hidden


def tensors(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [leaf for part in found for leaf in tensors(part)]


def difference(found: Any, wanted: Any) -> float:
    pairs = list(zip(tensors(found), tensors(wanted), strict=True))
    assert all(one.shape == two.shape for one, two in pairs)
    return max(float(((one - two).abs().max() / two.abs().max()).detach()) for one, two in pairs)


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lowered_layer_answers_what_the_layer_of_torch_answers(kind: str, both: bool) -> None:
    for batch_first, bias in ((False, True), (True, False)):
        own = layer(kind, bidirectional=both, batch_first=batch_first, bias=bias)
        values = torch.randn((BATCH, TIME, INPUT) if batch_first else (TIME, BATCH, INPUT), dtype=torch.float64)
        given = states(own)
        lowering = Recurrent(own, LIMITS)
        for call in ((values,), (values, given), (values[0],)):
            assert difference(lowering(*call), own(*call)) <= ROUNDING


@pytest.mark.parametrize("rules", [nullcontext, Rules], ids=["gradient", "relevance"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_relevance_are_those_of_the_layer_of_torch_step_by_step(kind: str, rules: Any) -> None:
    own = layer(kind, bidirectional=True)
    values = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    given = states(own)
    weights = [torch.randn_like(one) for one in tensors(own(values, given))]

    def gradients(module: Any) -> list[Tensor]:
        with rules():
            found = tensors(module(values, given))
            value = sum((one * weight).sum() for one, weight in zip(found, weights, strict=True))
            return list(torch.autograd.grad(value, tensors([values, given])))  # type: ignore[arg-type]

    assert difference(gradients(Recurrent(own, LIMITS)), gradients(own)) <= ROUNDING


def packed_answers(module: Any, values: Tensor, given: Any) -> Any:
    packed = pack_padded_sequence(values, torch.tensor([4, TIME, 1]), enforce_sorted=False)
    found, last = module(packed, given)
    return pad_packed_sequence(found, total_length=TIME)[0], last


@pytest.mark.parametrize("rules", [nullcontext, Rules], ids=["gradient", "relevance"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_sequence_of_rows_in_any_order_gets_the_answers_and_gradients_of_torch(kind: str, rules: Any) -> None:
    own = layer(kind, bidirectional=True)
    values = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    given = states(own)
    weights = [torch.randn_like(one) for one in tensors(packed_answers(own, values, given))]

    def answered(module: Any) -> list[Tensor]:
        with rules():
            found = tensors(packed_answers(module, values, given))
            value = sum((one * weight).sum() for one, weight in zip(found, weights, strict=True))
            return [*found, *torch.autograd.grad(value, tensors([values, given]))]  # type: ignore[arg-type]

    wanted = answered(own)
    with packing():
        assert difference(answered(Recurrent(own, LIMITS)), wanted) <= ROUNDING


@pytest.mark.parametrize("kind", ["LSTM", "LSTM with a projection", "GRU", "RNN"])
def test_relevance_of_a_layer_without_biases_sums_to_its_answer(kind: str) -> None:
    """Arras et al. 2017: gates are constants, so the layer is linear in its input."""
    own = layer(kind, bias=False)
    values = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    with Rules():
        answer = Recurrent(own, LIMITS)(values)[0][-1].sum()
        (gradient,) = torch.autograd.grad(answer, values)
    assert float((gradient * values).sum().detach()) == pytest.approx(float(answer.detach()), rel=1e-9)


class Tagger(nn.Module):
    """A recurrent layer of two directions, attention over its answers, and its last states."""

    def __init__(self, recurrent: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 16)
        self.recurrent = recurrent(16, 40, 2, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(80, 4, batch_first=True)
        self.head = nn.Linear(80, 5)

    def forward(self, ids: Tensor) -> Tensor:
        self.recurrent.flatten_parameters()
        tokens, last = self.recurrent(self.embed(ids))
        hidden = last[0] if isinstance(last, tuple) else last
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        last_of_both = hidden.unflatten(0, (self.recurrent.num_layers, 2))[-1].transpose(0, 1).flatten(1)
        return self.head((tokens + mixed).mean(dim=1) + last_of_both)


def ids(batch: int, length: int) -> Tensor:
    return torch.randint(0, 60, (batch, length), generator=torch.Generator().manual_seed(length))


LENGTHS = {"ids": {0: Dim("batch_size"), 1: Dim("sequence_length", max=40)}}


@pytest.fixture(scope="module", params=[(nn.LSTM, "gradient"), (nn.GRU, "attnlrp")], ids=["LSTM", "GRU"])
def tagger(request: Any, tmp_path_factory: Any) -> tuple[nn.Module, Path]:
    made, method = request.param
    torch.manual_seed(0)
    module = Tagger(made).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    output = tmp_path_factory.mktemp("tagger") / "bundle"
    edgexf.export(module, example_inputs=(ids(2, 20),), dynamic_shapes=LENGTHS, output=output, explain=(method,))
    return module, output


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def test_a_recurrent_layer_is_one_operator_for_each_layer_and_direction(tagger: tuple[nn.Module, Path]) -> None:
    module, output = tagger
    graph = onnx.load(output / "onnx" / "model.onnx", load_external_data=False)
    assert [one.domain for one in graph.opset_import] == [""]
    assert operators(output / "onnx" / "model.onnx").count(type(module.recurrent).__name__) == 4
    assert not {"Loop", "Scan"} & set(operators(output / "onnx" / "model.onnx"))


def test_an_exported_tagger_explains_like_torch_at_lengths_that_were_not_traced(
    tagger: tuple[nn.Module, Path],
) -> None:
    module, output = tagger
    with edgexf.load(output) as session, frozen(module):
        rules = METHODS[session.manifest.methods[0]].rules
        for batch, length in ((1, 3), (3, 17), (2, 37)):
            given = ids(batch, length)
            with rules(), vectors_of(module.embed) as leaves:
                logits = module(given)
                (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaves)
            relevance = (gradient * leaves[0]).sum(dim=-1).detach()
            found = session.run_explain(ids=given.numpy(), target=np.eye(5, dtype=np.float32)[[1] * batch])
            assert difference(torch.from_numpy(found["logits"]), logits.detach()) <= TOLERANCE
            assert difference(torch.from_numpy(found["relevance"]), relevance) <= TOLERANCE


def test_int8_leaves_recurrent_weights_in_float32_and_names_them(tagger: tuple[nn.Module, Path]) -> None:
    module, output = tagger
    (outcome,) = edgexf.quantize(output, mode="int8", force=True)
    kind = type(module.recurrent).__name__
    left = {layer.name: layer.skipped for layer in outcome.layers if layer.skipped}
    assert any("recurrent" in name and kind in reason for name, reason in left.items())
    assert kind in operators(output / "onnx" / "model_quantized.onnx")
    with edgexf.load(output, dtype="q8") as session:
        assert session.run(ids=ids(3, 17).numpy())["logits"].shape == (3, 5)


@pytest.mark.parametrize("mode", ["fp16", "q4f16"])
def test_half_precision_keeps_the_loops_of_an_explanation_in_float32(tagger: tuple[nn.Module, Path], mode: str) -> None:
    _, output = tagger
    (outcome,) = edgexf.quantize(output, mode=mode, force=True)
    assert 0 < outcome.worst < outcome.tolerance
    assert all(row.cases > 0 and row.good for row in outcome.explain)
    graph = onnx.load(output / "onnx" / f"explain_{mode}.onnx", load_external_data=False).graph
    loops = [node for node in graph.node if node.op_type == "Scan"]
    bodies = [one.g for node in loops for one in node.attribute if one.name == "body"]
    assert {value.type.tensor_type.elem_type for body in bodies for value in body.output} == {onnx.TensorProto.FLOAT}
    assert {one.data_type for one in graph.initializer if one.name.endswith("weight")} <= {
        onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8
    }  # fmt: skip
    assert edgexf.verify(output).passed


class Resumed(nn.Module):
    """Attention before a GRU that starts from given states, and an LSTM over time first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.gru, self.lstm = nn.GRU(16, 12, batch_first=True), nn.LSTM(12, 9, proj_size=4)

    def forward(self, values: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        mixed, _ = self.attention(values, values, values)
        tokens, last = self.gru(mixed, hidden)
        found, (end, memory) = self.lstm(tokens.transpose(0, 1))
        return {"found": found.transpose(0, 1), "last": last, "end": end, "memory": memory}


def test_given_and_last_states_are_inputs_and_outputs_of_the_graph(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Resumed().eval()
    example = {"values": torch.randn(3, 11, 16), "hidden": torch.randn(1, 3, 12)}
    batch, length = Dim("batch_size"), Dim("sequence_length", max=30)
    shapes = {"values": {0: batch, 1: length}, "hidden": {1: batch}}
    edgexf.export(module, example_inputs=example, dynamic_shapes=shapes, output=tmp_path / "bundle", explain=())
    with edgexf.load(tmp_path / "bundle") as session:
        for rows, tokens in ((1, 3), (4, 29)):
            given = {"values": torch.randn(rows, tokens, 16), "hidden": torch.randn(1, rows, 12)}
            with torch.no_grad():
                wanted = module(**given)
            found = session.run(**{name: one.numpy() for name, one in given.items()})
            assert difference([torch.from_numpy(found[name]) for name in wanted], list(wanted.values())) <= TOLERANCE
