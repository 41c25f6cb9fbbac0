"""torch.nn's recurrent layers as one operator for each layer and direction.

    before  aten.lstm(x, [h, c], weights)               which a trace unrolls over the time of the example
    after   edgexf::recurrent(x, W, R, B, h, c), ...    which becomes LSTM, GRU or RNN of ONNX at any length

An LSTM with a projection P has no operator. It is the LSTM with the recurrent weights R P and the answers P h. An initial
state h of it is the state with P s = h.
Source: the operators LSTM, GRU and RNN of ONNX; Sak et al. 2014, section 2, for the projection.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf_exporters.lowerings.packages.torch_packed import Packed, packing
from edgexf_exporters.trace.recurrent import CELLS, recurrent

States = tuple[Tensor, Tensor]
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class Recurrent(nn.Module):
    """An `nn.LSTM`, `nn.GRU` or `nn.RNN`. Takes and returns what the original does.

    Other attributes are those of the original: models read its sizes, and call `flatten_parameters`.
    """

    block = 1
    trace_context = staticmethod(packing)  # surrounds the whole trace; see `lowerings.swap`

    def __init__(self, original: nn.RNNBase, _: Limits) -> None:
        super().__init__()
        self.original = (original,)  # in a tuple, so that torch does not make it a part of this module
        self.directions, self.has_memory = 1 + original.bidirectional, CELLS[original.mode].has_memory
        self.runs = nn.ModuleDict(
            {
                name: Direction(original, name, backward == 1)
                for layer in range(original.num_layers)
                for backward, name in enumerate((f"l{layer}", f"l{layer}_reverse")[: self.directions])
            }
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["original"][0], name)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:  # noqa: A002 (torch's name)
        given: list[Tensor] = [] if hx is None else list(hx) if self.has_memory else [hx]
        if isinstance(input, Packed):
            values, found = self.run(input.values, given, input.lengths)
            return Packed(values, input.lengths, zeroed=True), tuple(found) if self.has_memory else found[0]
        if isinstance(input, PackedSequence):
            raise ExportError(
                "a recurrent layer must read a padded tensor or what pack_padded_sequence makes of one, got a sequence packed "
                "in another way, whose size depends on values; call pack_padded_sequence with a tensor and its lengths."
            )
        single = input.ndim == 2
        values = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        values, found = self.run(values, [one.unsqueeze(1) for one in given] if single else given)
        if single:
            values, found = values.squeeze(1), [one.squeeze(1) for one in found]
        elif self.batch_first:
            values = values.transpose(0, 1)
        return values, tuple(found) if self.has_memory else found[0]

    def run(self, values: Tensor, given: list[Tensor], lengths: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The answers of the last layer [time, batch, directions * width], and the last states of all layers."""
        zeros = values.new_zeros(values.shape[1], self.hidden_size)
        ends: list[States] = []
        runs: list[Any] = list(self.runs.values())
        for layer in range(0, len(runs), self.directions):
            answers = []
            for place, run in enumerate(runs[layer : layer + self.directions], start=layer):
                hidden = run.start(given[0][place]) if given else zeros
                memory = given[1][place] if len(given) > 1 else zeros
                answer, *last = run(values, hidden, memory, lengths)
                answers.append(answer)
                ends.append(tuple(last))
            values = torch.cat(answers, dim=-1)
        return values, [torch.stack(one) for one in zip(*ends, strict=True)][: 1 + self.has_memory]


class Direction(nn.Module):
    """One direction of one layer, with its weights in the order of ONNX."""

    def __init__(self, original: nn.RNNBase, name: str, backward: bool) -> None:
        super().__init__()
        self.cell, self.backward = original.mode, backward

        def part(kind: str) -> Any:
            found = getattr(original, f"{kind}_{name}", None)
            return None if found is None else found.detach()

        given, hidden, given_bias, hidden_bias, projection = map(part, KINDS)
        none = given.new_zeros(len(given))
        biases = [none if one is None else in_order(one, self.cell) for one in (given_bias, hidden_bias)]
        joined = hidden if projection is None else hidden @ projection
        self.weight = constant(in_order(given, self.cell).unsqueeze(0))
        self.hidden_weight = constant(in_order(joined, self.cell).unsqueeze(0))
        self.bias = constant(torch.cat(biases).unsqueeze(0))
        self.projection = None if projection is None else constant(projection)
        self.restored = None if projection is None else constant(torch.linalg.pinv(projection))

    def start(self, hidden: Tensor) -> Tensor:
        """The state inside the layer [batch, width], from a given initial state. It may be projected."""
        return hidden if self.restored is None else F.linear(hidden, self.restored)

    def forward(self, values: Tensor, hidden: Tensor, memory: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
        """The answers [time, batch, width], and the last hidden state and cell state [batch, width]."""
        weights = self.weight, self.hidden_weight, self.bias
        found, *last = recurrent(values, *weights, hidden, memory, lengths, self.cell, self.backward, True)
        if self.projection is None:
            return found, *last
        return F.linear(found, self.projection), F.linear(last[0], self.projection), last[1]


def constant(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def in_order(weight: Tensor, cell: str) -> Tensor:
    """Weights [gates * width, ...] with the gates in the order of ONNX."""
    parts = weight.chunk(len(CELLS[cell].gates))
    return torch.cat([parts[place] for place in CELLS[cell].gates])
