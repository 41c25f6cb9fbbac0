"""Marks where attention mixes tokens: the values that its weights act on, and the mixed values.

In: a model and its variant's `Mixing`. Out: inside ``with marked(...)``, a custom operator marks the output of every
value projection and the input of every output projection. `Watching` collects these tensors by layer:

    mixed = A values        A [tokens, tokens] of each head, which is never computed

One reverse pass gives the product of a row r and A: r A = d(r . mixed) / d values. The attention may compute anything
between the two tensors: windows, blocks, sorted buckets, global tokens. The library's module and the lowered module
share these projections, so both are marked in the same way.

Two alternatives were weighed. If the library gave its matrices (``output_attentions``), the graph could be compared
only with dense copies, which have another format for each attention. A method of each lowering that computes its
weights would be as much code again as the lowering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgexf_exporters.explain.rules import Above
from edgexf_exporters.source import places_of
from edgexf_exporters.trace.marks import MARKED, mixing
from edgexf_exporters.variant import Mixing


@mixing.register_fake
def _(tokens: Tensor, layer: int, heads: int, mixed: bool) -> Tensor:  # noqa: ARG001
    return torch.empty_like(tokens)


mixing.register_autograd(lambda _, gradient: (gradient, None, None, None))


@contextmanager
def marked(model: nn.Module, about: Mixing, turned: bool = False) -> Iterator[None]:
    """Marks the projections of `model` for the duration. `turned`: they hold [tokens, rows, width]."""

    def value_hook(layer: int, heads: int) -> Any:
        def mark(_: nn.Module, __: object, output: Tensor) -> Tensor:
            parts = list(output.chunk(about.part[1], dim=-1)) if about.part[1] > 1 else [output]
            values = parts[about.part[0]]
            found: Tensor = mixing(values.transpose(0, 1) if turned else values, layer, heads, False)
            parts[about.part[0]] = found.transpose(0, 1) if turned else found
            return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

        return mark

    def reader_hook(layer: int, heads: int) -> Any:
        return lambda _, given: (mixing(given[0], layer, heads, True), *given[1:])

    token = MARKED.set(True)
    try:
        with ExitStack() as hooks:
            for layer, place in enumerate(places_of(model, about)):
                for module in place.values:
                    hooks.enter_context(module.register_forward_hook(value_hook(layer, place.heads)))
                hooks.enter_context(place.reader.register_forward_pre_hook(reader_hook(layer, place.heads)))
            yield
    finally:
        MARKED.reset(token)


@dataclass(frozen=True, eq=False)
class Layer:
    """The marked tensors of a layer.

    Attributes:
        heads: the number of heads.
        values: the tensors that the weights act on, one for each value projection.
        mixed: the mixed values, [rows, tokens, width].
    """

    heads: int
    values: Sequence[Tensor]
    mixed: Tensor

    def carried(self, row: Tensor) -> Tensor:
        """r A of each head, float32 [rows, heads, tokens], for a row r [rows, tokens] over the queries."""
        channels = self.mixed.shape[-1]
        width = channels // self.heads
        first = (torch.arange(channels) % width == 0).to(row.dtype)  # one channel of a head shows the head's weights
        parts = torch.autograd.grad(self.mixed, self.values, row.unsqueeze(-1) * first, retain_graph=True)
        found: Tensor = sum(one.unflatten(-1, (self.heads, width))[..., 0] for one in parts)
        return found.transpose(1, 2)[..., : row.shape[-1]]  # a library may pad what it projects


class Watching(Above):
    """Collects the marked tensors by layer.

    Values become leaves, so that the gradient holds the weights of one layer, and nothing of the layer's inputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, list[Tensor]] = {}
        self.layers: dict[int, Layer] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.edgexf.mixing.default:
            return self.met(*args)
        return func(*args, **(kwargs or {}))

    def met(self, tokens: Tensor, number: int, heads: int, mixed: bool) -> Tensor:
        values = self.values.setdefault(number, [])
        if mixed:
            self.layers[number] = Layer(heads, values, tokens)
            return tokens
        values.append(tokens.detach().requires_grad_(True))
        return values[-1]

    def last_first(self) -> list[Layer]:
        return [self.layers[number] for number in sorted(self.layers, reverse=True)]
