"""The reverse pass of a recurrent layer, and its relevance rule, in operators that ONNX has.

In: `edgexf_exporters.trace.recurrent.recurrent`. Out: its gradient, as one product over all times, one loop over time
(`carry`, a Scan of ONNX) and one more product. The cell states of an LSTM come from another loop (`accumulate`).

    gates of all times from the hidden states -> how each state depends on its gates -> carry -> d_gates @ W = d_input

A relevance rule has the same form with other factors: input, forget, output, update and reset gates are constants, so
that all relevance passes to the signal that they multiply, and tanh(x) / x is a constant.

The untouched model has aten.lstm instead. Its rule runs the layer time by time, in operators that have rules. So the
graph is compared with something independent.

Two alternatives were weighed. Reverse passes by `torch.ops.higher_order.scan` need no formula, but its reverse can't be
traced again with free sizes. Finite differences need a run for each input.
Source: Hochreiter and Schmidhuber 1997; Cho et al. 2014; Arras et al. 2017, "Explaining Recurrent Neural Network
Predictions in Sentiment Analysis", section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgexf_exporters.explain.gradients import divisor
from edgexf_exporters.trace.recurrent import CELLS, accumulate, beyond, carry, in_order, recurrent

aten = torch.ops.aten


@dataclass(frozen=True)
class Slopes:
    """How the states of all times depend on each other and on the gates; [time, batch, ...].

    Attributes:
        of_hidden: for each gate, whether it acts on the hidden state (1) or on the memory (0).
        slope: of the hidden state by the memory.
        keep: of the memory by the memory before.
        by_fed_back: of these states by what each gate gets from the hidden state before, [time, batch, gates * width].
        by_given: the same by what each gate gets from the input.
    """

    of_hidden: tuple[int, ...]
    slope: Tensor
    keep: Tensor
    by_fed_back: Tensor
    by_given: Tensor


@dataclass(frozen=True)
class Run:
    """What a layer computed.

    Attributes:
        given: what the gates get from the input, [time, batch, gates * width].
        fed_back: what the gates get from the hidden state before, in the same shape.
        before: the hidden state before each time, [time, batch, width].
        hidden: the hidden state of each time.
        memory: the cell state before the first time, [batch, width].
        ended: which times lie behind the end of each row, bool [time, batch, 1]; None if all rows have all times.
        backward: the layer begins with the last time.
        gated: as for `recurrent`.
    """

    given: Tensor
    fed_back: Tensor
    before: Tensor
    hidden: Tensor
    memory: Tensor
    ended: Tensor | None
    backward: bool
    gated: bool

    def tanh_slope(self, answer: Tensor, value: Tensor) -> Tensor:
        """The slope of ``answer = tanh(value)``, or by the rule the constant answer / value."""
        return 1 - answer * answer if self.gated else answer / divisor(value)

    def until_end(self, values: Tensor, beyond: float = 0.0) -> Tensor:
        """The values, and `beyond` behind the end of each row."""
        return values if self.ended is None else values.masked_fill(self.ended, beyond)

    def gate_slope(self, gate: Tensor, by: Tensor) -> Tensor:
        """The slope of ``by * gate`` by what a sigmoid gate gets; 0 by the rule."""
        return by * gate * (1 - gate) if self.gated else torch.zeros_like(gate)


def shifted(states: Tensor, start: Tensor, backward: bool) -> Tensor:
    """The state before each time: `start` before the first time of the layer."""
    first = start.unsqueeze(0)
    return torch.cat((states[1:], first) if backward else (first, states[:-1]))


def lstm_slopes(run: Run) -> Slopes:
    value = run.given + run.fed_back
    enters, leaves, kept, new = value.chunk(4, dim=-1)
    enters, leaves, kept, fresh = enters.sigmoid(), leaves.sigmoid(), kept.sigmoid(), new.tanh()
    before = accumulate(run.until_end(enters * fresh), run.until_end(kept, 1.0), run.memory, run.backward)
    memory = kept * before + enters * fresh
    shown = memory.tanh()
    slopes = torch.cat(
        (
            run.gate_slope(enters, fresh),
            run.gate_slope(leaves, shown),
            run.gate_slope(kept, before),
            enters * run.tanh_slope(fresh, new),
        ),
        dim=-1,
    )
    return Slopes((0, 1, 0, 0), leaves * run.tanh_slope(shown, memory), kept, slopes, slopes)


def gru_slopes(run: Run) -> Slopes:
    keep, reset, new = run.given.chunk(3, dim=-1)
    keep_back, reset_back, new_back = run.fed_back.chunk(3, dim=-1)
    keep, reset = (keep + keep_back).sigmoid(), (reset + reset_back).sigmoid()
    value = new + reset * new_back
    fresh = value.tanh()
    by_value = (1 - keep) * run.tanh_slope(fresh, value)
    gates = run.gate_slope(keep, run.before - fresh), run.gate_slope(reset, by_value * new_back)
    by_fed_back, by_given = (torch.cat((*gates, last), dim=-1) for last in (by_value * reset, by_value))
    return Slopes((0, 0, 0), torch.ones_like(keep), keep, by_fed_back, by_given)


def tanh_slopes(run: Run) -> Slopes:
    slope = run.tanh_slope(run.hidden, run.given + run.fed_back)
    return Slopes((1,), torch.zeros_like(slope), torch.zeros_like(slope), slope, slope)


def relu_slopes(run: Run) -> Slopes:
    slope = (run.hidden > 0).to(run.hidden.dtype)
    return Slopes((1,), torch.zeros_like(slope), torch.zeros_like(slope), slope, slope)


SLOPES: dict[str, Callable[[Run], Slopes]] = {
    "LSTM": lstm_slopes,
    "GRU": gru_slopes,
    "RNN_TANH": tanh_slopes,
    "RNN_RELU": relu_slopes,
}


def remember(ctx: Any, inputs: Sequence[Any], output: Sequence[Tensor]) -> None:
    *tensors, ctx.cell, ctx.backward, ctx.gated = inputs
    ctx.save_for_backward(*tensors, output[0])


def reverse(ctx: Any, by_hidden: Tensor, by_last: Tensor, by_memory: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of the input and of the states before the first time. Weights are constants."""
    values, weight, hidden_weight, bias, start, memory, lengths, hidden = ctx.saved_tensors
    ended = None if lengths is None else beyond(lengths, values.shape[0])
    half = bias.shape[1] // 2
    given_bias, hidden_bias = bias[0, :half], bias[0, half:]
    before = shifted(hidden if ended is None else torch.where(ended, start, hidden), start, ctx.backward)
    given, fed_back = F.linear(values, weight[0], given_bias), F.linear(before, hidden_weight[0], hidden_bias)
    run = Run(given, fed_back, before, hidden, memory, ended, ctx.backward, ctx.gated)
    found = SLOPES[ctx.cell](run)
    has_memory = CELLS[ctx.cell].has_memory
    d_hidden, d_memory, by_start, by_kept = carry(
        by_hidden,
        run.until_end(found.slope),
        run.until_end(found.keep, 1.0),
        run.until_end(found.by_fed_back),
        hidden_weight[0],
        by_last,
        by_memory if has_memory else torch.zeros_like(by_last),
        None if ended is None else ended.to(values.dtype),
        found.of_hidden,
        ctx.backward,
    )
    d_gates = torch.cat([d_hidden if one else d_memory for one in found.of_hidden], dim=-1)
    by_values = (d_gates * run.until_end(found.by_given)) @ weight[0]
    starts = (by_start, by_kept) if has_memory else (by_start + by_kept, by_memory)
    return by_values, None, None, None, *starts, None, None, None, None


recurrent.register_autograd(reverse, setup_context=remember)


def lowered_rule(_: Any, op: Any, *given: Any, **named: Any) -> Any:
    """The rule of a lowered layer."""
    return op(*given[:-1], False, **named)


def layer_rule(rules: Any, op: Any, given: Tensor, *more: Any) -> tuple[Tensor, ...]:
    """The rule of the untouched layer, time by time.

    A packed sequence comes with the rows of each time, the longest row first: its answer is packed in the same way.
    """
    cell, _, form = op.__name__.partition(".")
    if form == "data":
        sizes, *settings = more
        values = given.split(sizes.tolist())
        found, *last = layers_along(rules, STEPS[cell], values, *settings)
        return torch.cat(found), *last
    *settings, batch_first = more
    values = (given.transpose(0, 1) if batch_first else given).unbind()
    found, *last = layers_along(rules, STEPS[cell], values, *settings)
    return torch.stack(found, dim=int(batch_first)), *last


def layers_along(
    rules: Any, step: Any, values: Sequence[Tensor], states: Any, weights: Sequence[Tensor], has_biases: bool, layers: int,
    _dropout: float, _train: bool, both: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """The answers of all times [rows, width], and the last states. `values` hold the rows that each time has."""
    states = states if isinstance(states, list | tuple) else [states]
    each = len(weights) // (layers * (1 + both))
    ends = []
    for layer in range(layers):
        answers = []
        for backward in range(1 + both):
            place = layer * (1 + both) + backward
            own = weights[place * each : (place + 1) * each]
            answer, last = along(rules, step, values, [one[place] for one in states], own, has_biases, bool(backward))
            answers.append(answer)
            ends.append(last)
        values = [torch.cat(one, dim=-1) for one in zip(*answers, strict=True)]
    return values, *(torch.stack(one) for one in zip(*ends, strict=True))


def along(
    rules: Any, step: Any, values: Sequence[Tensor], states: list[Tensor], weights: Sequence[Tensor], has_biases: bool,
    backward: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    """One direction of one layer, time by time."""
    weight, hidden_weight, *more = weights
    biases, projection = (more[:2], more[2:]) if has_biases else ([None, None], more)
    answers = list(values)
    for time in in_order(len(values), backward):
        given, rows = F.linear(values[time], weight, biases[0]), len(values[time])
        before = [one[:rows] for one in states]
        after = step(rules, given, F.linear(before[0], hidden_weight, biases[1]), before)
        after[0] = F.linear(after[0], projection[0]) if projection else after[0]
        answers[time] = after[0]
        states = [torch.cat((one, old[rows:])) for one, old in zip(after, states, strict=True)]
    return answers, states


def lstm_step(rules: Any, given: Tensor, fed_back: Tensor, states: list[Tensor]) -> list[Tensor]:
    enters, kept, new, leaves = (given + fed_back).chunk(4, dim=-1)
    memory = kept.sigmoid().detach() * states[1] + enters.sigmoid().detach() * rules(aten.tanh, new)
    return [leaves.sigmoid().detach() * rules(aten.tanh, memory), memory]


def gru_step(rules: Any, given: Tensor, fed_back: Tensor, states: list[Tensor]) -> list[Tensor]:
    (reset, keep, new), (reset_back, keep_back, new_back) = given.chunk(3, dim=-1), fed_back.chunk(3, dim=-1)
    keep = (keep + keep_back).sigmoid().detach()
    fresh = rules(aten.tanh, new + (reset + reset_back).sigmoid().detach() * new_back)
    return [(1 - keep) * fresh + keep * states[0]]


def tanh_step(rules: Any, given: Tensor, fed_back: Tensor, _: list[Tensor]) -> list[Tensor]:
    return [rules(aten.tanh, given + fed_back)]


def relu_step(_: Any, given: Tensor, fed_back: Tensor, __: list[Tensor]) -> list[Tensor]:
    return [(given + fed_back).relu()]


# By the name of the operator of torch.
STEPS = {"lstm": lstm_step, "gru": gru_step, "rnn_tanh": tanh_step, "rnn_relu": relu_step}
