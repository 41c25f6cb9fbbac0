"""Recurrent layers as single operators of a captured program, and their translation to ONNX.

    edgexf::recurrent    one direction of one layer                    LSTM, GRU or RNN
    edgexf::accumulate   state = keep * state + added, time by time    Scan
    edgexf::carry        the reverse of a layer, one time at a time    Scan

Tensors are [time, batch, width], with any length of time. Rows may end before the last time: `lengths` says where. Weights lie as ONNX wants them: gates in the order i, o, f, c
of an LSTM and z, r, h of a GRU. `edgexf_exporters.lowerings.packages.torch_rnn` puts them so, and
`edgexf_exporters.explain.recurrent` holds the reverse pass.

torch decomposes its own operators into one cell for each time of the example, so a length becomes a number. Two
alternatives were weighed. `torch.ops.higher_order.scan` keeps the length free, but it runs Dynamo inside the trace, and
its ONNX form is a loop over a cell, where onnxruntime has kernels for whole layers. A translation of aten.lstm is
impossible: `torch.export` decomposes this operator before any table is read.
Source: the operators LSTM, GRU, RNN and Scan of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset20
from torch import Tensor
from torch.nn import functional as F
from torch.onnx._internal.exporter._torchlib.ops.hop import call_op

op: Any = opset20  # its types don't know the values of a translation
States = tuple[Tensor, Tensor]
FLOAT = ir.TensorType(ir.DataType.FLOAT)


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes:
        operator: the operator of ONNX.
        gates: for each gate in the order of ONNX, its place among the gates of torch.
        step: makes the next hidden state and cell state from the gates of the input, the gates of the hidden state, the
            hidden state and the cell state.
        attributes: further attributes of the operator.
        has_memory: the cell has a state besides the hidden state.
    """

    operator: str
    gates: tuple[int, ...]
    step: Callable[[Tensor, Tensor, Tensor, Tensor], States]
    attributes: tuple[tuple[str, Any], ...] = ()
    has_memory: bool = False


def lstm_step(given: Tensor, fed_back: Tensor, _: Tensor, memory: Tensor) -> States:
    enters, leaves, kept, new = (given + fed_back).chunk(4, dim=-1)
    memory = kept.sigmoid() * memory + enters.sigmoid() * new.tanh()
    return leaves.sigmoid() * memory.tanh(), memory


def gru_step(given: Tensor, fed_back: Tensor, hidden: Tensor, memory: Tensor) -> States:
    (keep, reset, new), (keep_back, reset_back, new_back) = given.chunk(3, dim=-1), fed_back.chunk(3, dim=-1)
    keep = (keep + keep_back).sigmoid()
    fresh = (new + (reset + reset_back).sigmoid() * new_back).tanh()
    return (1 - keep) * fresh + keep * hidden, memory


def tanh_step(given: Tensor, fed_back: Tensor, _: Tensor, memory: Tensor) -> States:
    return (given + fed_back).tanh(), memory


def relu_step(given: Tensor, fed_back: Tensor, _: Tensor, memory: Tensor) -> States:
    return (given + fed_back).relu(), memory


# By `mode` of torch.nn.RNNBase.
CELLS = {
    "LSTM": Cell("LSTM", (0, 3, 1, 2), lstm_step, has_memory=True),
    "GRU": Cell("GRU", (1, 0, 2), gru_step, (("linear_before_reset", 1),)),
    "RNN_TANH": Cell("RNN", (0,), tanh_step, (("activations", ["Tanh"]),)),
    "RNN_RELU": Cell("RNN", (0,), relu_step, (("activations", ["Relu"]),)),
}


def beyond(lengths: Tensor, times: int) -> Tensor:
    """Which times lie behind the end of each row, bool [time, batch, 1]."""
    return (torch.arange(times, device=lengths.device).unsqueeze(1) >= lengths).unsqueeze(-1)


def in_order(times: int, backward: bool) -> Sequence[int]:
    return range(times - 1, -1, -1) if backward else range(times)


@torch.library.custom_op("edgexf::recurrent", mutates_args=())
def recurrent(
    values: Tensor,
    weight: Tensor,
    hidden_weight: Tensor,
    bias: Tensor,
    hidden: Tensor,
    memory: Tensor,
    lengths: Tensor | None,
    cell: str,
    backward: bool,
    gated: bool,  # noqa: ARG001 (the reverse pass reads it)
) -> tuple[Tensor, Tensor, Tensor]:
    """One direction of one layer.

    Args:
        values: [time, batch, input].
        weight: [1, gates * width, input].
        hidden_weight: [1, gates * width, width].
        bias: [1, 2 * gates * width], of the input and of the hidden state.
        hidden: the hidden state before the first time, [batch, width].
        memory: the cell state before the first time, [batch, width]. Cells without memory return it as it is.
        lengths: the times of each row, int64 [batch]; None if all rows have all times.
        cell: a name of `CELLS`.
        backward: the layer begins with the last time of each row.
        gated: gates pass gradients. If not, gates are constants, and so is tanh(x) / x: the rules of relevance.

    Returns the hidden states [time, batch, width], which are 0 behind the end of a row, and the last hidden state and cell
    state of each row [batch, width].
    """
    ended = None if lengths is None else beyond(lengths, len(values))
    given_bias, hidden_bias = bias[0].chunk(2)
    given = F.linear(values, weight[0], given_bias)
    states, memory = [hidden] * len(values), memory.clone()
    for time in in_order(len(values), backward):
        fed_back = F.linear(hidden, hidden_weight[0], hidden_bias)
        found = CELLS[cell].step(given[time], fed_back, hidden, memory)
        if ended is not None:
            found = torch.where(ended[time], hidden, found[0]), torch.where(ended[time], memory, found[1])
        hidden, memory = found
        states[time] = hidden if ended is None else hidden.masked_fill(ended[time], 0.0)
    return torch.stack(states), hidden.clone(), memory


@recurrent.register_fake
def _(values: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    hidden, memory = given[3:5]
    return (
        values.new_empty(values.shape[0], *hidden.shape),
        torch.empty_like(hidden),
        torch.empty_like(memory),
    )


@torch.library.custom_op("edgexf::accumulate", mutates_args=())
def accumulate(added: Tensor, keep: Tensor, start: Tensor, backward: bool) -> Tensor:
    """The states before each time [time, batch, width] of ``state = keep * state + added``, from `start` [batch, width].

    The states before, not behind: a Scan with the same state twice among its results is what passes make wrong.
    """
    found, state = [start] * len(added), start
    for time in in_order(len(added), backward):
        found[time], state = state, keep[time] * state + added[time]
    return torch.stack(found)


@accumulate.register_fake
def _(added: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(added)


@torch.library.custom_op("edgexf::carry", mutates_args=())
def carry(
    gradient: Tensor,
    slope: Tensor,
    keep: Tensor,
    slopes: Tensor,
    hidden_weight: Tensor,
    hidden: Tensor,
    memory: Tensor,
    ended: Tensor | None,
    of_hidden: Sequence[int],
    backward: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reverse of a layer, which runs against the time of the layer.

        d_hidden = hidden + gradient                    hidden = (d_gates * slopes) @ hidden_weight
        d_memory = memory + d_hidden * slope            memory = d_memory * keep

    Args:
        gradient: by the hidden state of each time, [time, batch, width].
        slope: of the hidden state by the memory, [time, batch, width].
        keep: of the memory by the memory before, [time, batch, width].
        slopes: of the hidden state or of the memory by the gates, [time, batch, gates * width].
        hidden_weight: [gates * width, width].
        hidden: by the last hidden state, [batch, width].
        memory: by the last memory, [batch, width].
        ended: 1 behind the end of a row, else 0, float [time, batch, 1]; None if all rows have all times. There `hidden`
            stays as it is. So does `memory`, if `slope` is 0 and `keep` is 1 there.
        of_hidden: for each gate, whether `slopes` are of the hidden state (1) or of the memory (0).
        backward: as for `recurrent`: the layer begins with the last time.

    Returns d_hidden and d_memory [time, batch, width], and the gradients by the states before the first time.
    """
    both = []
    for time in reversed(in_order(len(gradient), backward)):
        d_hidden = hidden + gradient[time]
        d_memory = memory + d_hidden * slope[time]
        d_gates = torch.cat([d_hidden if one else d_memory for one in of_hidden], dim=-1)
        stays = 0 if ended is None else hidden * ended[time]
        hidden, memory = (d_gates * slopes[time]) @ hidden_weight + stays, d_memory * keep[time]
        both.append((d_hidden, d_memory))
    by_hidden, by_memory = zip(*(both if backward else reversed(both)), strict=True)
    return torch.stack(by_hidden), torch.stack(by_memory), hidden.clone(), memory.clone()


@carry.register_fake
def _(gradient: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden, memory = given[4:6]
    return tuple(map(torch.empty_like, (gradient, gradient, hidden, memory)))  # type: ignore[return-value]


def onnx_recurrent(
    values: Any, weight: Any, hidden_weight: Any, bias: Any, hidden: Any, memory: Any, lengths: Any,
    cell: str, backward: bool, gated: bool,
) -> Any:  # fmt: skip
    """The translation of `recurrent`.

    torch refuses a row without a time. ONNX Runtime takes the length 0, and refuses -1. So 0 becomes -1.
    """
    del gated  # a graph holds its reverse pass in operators of its own
    kind, direction = CELLS[cell], op.Constant(value_ints=[0])
    states = [op.Unsqueeze(one, direction) for one in (hidden, memory)[: 1 + kind.has_memory]]
    zero, minus_one = op.Constant(value_int=0), op.Constant(value_int=-1)
    found = call_op(
        kind.operator,
        values,
        weight,
        hidden_weight,
        bias,
        None
        if lengths is None
        else op.Cast(op.Where(op.Equal(lengths, zero), minus_one, lengths), to=ir.DataType.INT32),
        *states,
        _num_outputs=2 + kind.has_memory,
        hidden_size=hidden_weight.shape[-1],
        direction="reverse" if backward else "forward",
        **dict(kind.attributes),
    )
    last = op.Squeeze(found[2], direction) if kind.has_memory else op.Identity(memory)
    return op.Squeeze(found[0], op.Constant(value_ints=[1])), op.Squeeze(found[1], direction), last


def scan(states: Sequence[Any], rows: Sequence[Any], step: Callable[..., Any], backward: bool) -> Any:
    """A Scan over the first axis of `rows`.

    `step` takes the states and one row of each, as values of ONNX, and returns the nodes of the body and its outputs:
    the next states and what a time gives.
    """
    inside = [ir.Value(name=f"state_{place}", shape=one.shape, type=FLOAT) for place, one in enumerate(states)]
    inside += [
        ir.Value(name=f"row_{place}", shape=ir.Shape(one.shape[1:]), type=FLOAT) for place, one in enumerate(rows)
    ]
    nodes, outputs = step(*inside)
    for place, output in enumerate(outputs):
        output.name, output.type = f"next_{place}", FLOAT
    given = len(outputs) - len(states)
    return call_op(
        "Scan",
        *states,
        *rows,
        _num_outputs=len(outputs),
        body=ir.Graph(inside, outputs, nodes=nodes, name="body"),
        num_scan_inputs=len(rows),
        scan_input_directions=[int(backward)] * len(rows),
        scan_output_directions=[int(backward)] * given,
    )


class Body:
    """Collects the nodes of a graph inside a graph. Their values have names that no value of an outer graph has."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []

    def __call__(self, operator: str, *given: ir.Value, **attributes: int) -> ir.Value:
        """Adds an operator and returns its output."""
        named = [ir.AttrInt64(name, value) for name, value in attributes.items()]
        self.nodes.append(ir.Node("", operator, given, named))
        output = self.nodes[-1].outputs[0]
        output.name = f"scan_body_{len(self.nodes)}"
        return output

    def transposed(self, matrices: ir.Value) -> ir.Value:
        """Swaps the last two of three axes."""
        self.nodes.append(ir.Node("", "Transpose", [matrices], [ir.AttrInt64s("perm", [0, 2, 1])]))
        output = self.nodes[-1].outputs[0]
        output.name = f"scan_body_{len(self.nodes)}"
        return output


def onnx_accumulate(added: Any, keep: Any, start: Any, backward: bool) -> Any:
    """The translation of `accumulate`."""

    def step(state: ir.Value, more: ir.Value, kept: ir.Value) -> Any:
        body = Body()
        return body.nodes, [body("Add", body("Mul", kept, state), more), body("Identity", state)]

    return scan([start], [added, keep], step, backward)[1]


def onnx_carry(
    gradient: Any, slope: Any, keep: Any, slopes: Any, hidden_weight: Any, hidden: Any, memory: Any, ended: Any,
    of_hidden: Sequence[int], backward: bool,
) -> Any:  # fmt: skip
    """The translation of `carry`."""

    def step(
        by_hidden: ir.Value, by_memory: ir.Value, more: ir.Value, slope: ir.Value, kept: ir.Value, each: ir.Value,
        *over: ir.Value,
    ) -> Any:  # fmt: skip
        body = Body()
        d_hidden = body("Add", by_hidden, more)
        d_memory = body("Add", by_memory, body("Mul", d_hidden, slope))
        d_gates = body("Concat", *(d_hidden if one else d_memory for one in of_hidden), axis=-1)
        before = body("MatMul", body("Mul", d_gates, each), hidden_weight)
        for one in over:
            before = body("Add", before, body("Mul", by_hidden, one))
        return body.nodes, [before, body("Mul", d_memory, kept), d_hidden, d_memory]

    rows = [gradient, slope, keep, slopes, *([] if ended is None else [ended])]
    found = scan([hidden, memory], rows, step, not backward)
    return found[2], found[3], found[0], found[1]


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.edgexf.recurrent.default: onnx_recurrent,
    torch.ops.edgexf.accumulate.default: onnx_accumulate,
    torch.ops.edgexf.carry.default: onnx_carry,
}
