"""Packed sequences of torch.nn, as padded tensors with the lengths of their rows, for the duration of an export.

    before  pack_padded_sequence(x, lengths) -> data [sum of lengths, features] -> LSTM -> pad_packed_sequence
    after   (x [time, batch, features], lengths) -> LSTM of ONNX with sequence_lens -> zeros behind the end of each row

No row is sorted: a recurrent layer of ONNX takes rows of any order. So the rows of an input that breaks the promise of
`enforce_sorted=True` get the answers that each of them gets alone.

`pad_packed_sequence` answers a tensor as long as the longest row, and so does the graph: it cuts at a length that depends
on values. Code that needs to know this length, as attention does, stops the trace. With ``total_length=x.shape[1]`` the
tensor keeps its axis.

`packing` exchanges the code of torch's two functions (`edgexf_exporters.trace.eager.exchange`). A torch mode was weighed: it sees
only the operators inside the two functions, between a sort and its inverse, which the graph would hold.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence

from edgexf.errors import ExportError
from edgexf_exporters.trace.eager.exchange import Exchange


def refused(*_: object) -> NoReturn:
    raise ExportError(
        "a packed sequence must go to nn.LSTM, nn.GRU, nn.RNN or pad_packed_sequence, got a module that reads its parts, "
        "whose size depends on values; call pad_packed_sequence first, and pack again behind."
    )


class Packed(PackedSequence):
    """What stands for a packed sequence. It has no parts that a module could read.

    Attributes:
        values: [time, batch, ...].
        lengths: int64 [batch].
        zeroed: the values behind the end of each row are 0.
    """

    values: Tensor
    lengths: Tensor
    zeroed: bool

    def __new__(cls, values: Tensor, lengths: Tensor, zeroed: bool = False) -> Packed:
        found: Packed = tuple.__new__(cls)
        found.values, found.lengths, found.zeroed = values, lengths, zeroed
        return found

    data = batch_sizes = sorted_indices = unsorted_indices = property(refused)
    __iter__ = __getitem__ = refused

    def __len__(self) -> int:
        return len(self._fields)


def beyond(lengths: Tensor, times: int) -> Tensor:
    """Which times lie behind the end of each row, bool [time, batch]."""
    return torch.arange(times, device=lengths.device).unsqueeze(1) >= lengths


def pack(given: Tensor, lengths: Any, batch_first: bool) -> Packed:
    """Raises ExportError for lengths that are no tensor: they would be constants of the graph."""
    if not isinstance(lengths, Tensor):
        raise ExportError(
            f"the lengths of rows must be a tensor while a model is traced, got {type(lengths).__name__}; "
            "pass the tensor itself to pack_padded_sequence."
        )
    values = given.transpose(0, 1) if batch_first else given
    if values.shape[1] != lengths.shape[0]:
        raise ExportError(
            f"a row must have one length, got {lengths.shape[0]} lengths for {values.shape[1]} rows; correct batch_first."
        )
    return Packed(values, lengths.to(torch.int64))


def pad(packed: Packed, batch_first: bool, padding_value: float, total_length: int | None) -> tuple[Tensor, Tensor]:
    """Raises ExportError for a total length that is not the length of the packed tensor."""
    values, times = packed.values, packed.values.shape[0]
    if not packed.zeroed or padding_value != 0:
        behind = beyond(packed.lengths, times)
        values = values.masked_fill(behind.reshape(*behind.shape, *[1] * (values.ndim - 2)), padding_value)
    if total_length is None:
        longest = packed.lengths.max().item()
        torch._check(longest >= 1)
        torch._check(longest <= times)
        values = values[:longest]
    elif total_length != times:
        raise ExportError(
            f"total_length must be the length of the tensor that was packed, got {total_length} for {times}; pass x.shape[1]."
        )
    return values.transpose(0, 1) if batch_first else values, packed.lengths


# The code of these two stands in for torch's.
def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True  # noqa: A002 (torch's name)
) -> Any:  # fmt: skip
    from edgexf_exporters.lowerings.packages import torch_packed

    if not torch_packed.EXCHANGE.is_active():
        return torch_packed.EXCHANGE.own["pack_padded_sequence"](input, lengths, batch_first, enforce_sorted)
    return torch_packed.pack(input, lengths, batch_first)


def pad_packed_sequence(
    sequence: Any, batch_first: bool = False, padding_value: float = 0.0, total_length: Any = None
) -> Any:  # fmt: skip
    from edgexf_exporters.lowerings.packages import torch_packed

    if not isinstance(sequence, torch_packed.Packed):
        return torch_packed.EXCHANGE.own["pad_packed_sequence"](sequence, batch_first, padding_value, total_length)
    return torch_packed.pad(sequence, batch_first, padding_value, total_length)


EXCHANGE = Exchange({rnn.pack_padded_sequence: pack_padded_sequence, rnn.pad_packed_sequence: pad_packed_sequence})
packing = EXCHANGE.active  # packs as this module does, in this thread, for the duration
