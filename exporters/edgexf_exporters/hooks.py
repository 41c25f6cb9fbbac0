"""What surrounds a call of the untouched model: constant weights, and leaves where its embedding's vectors are.

In: a model or its embedding. Out: context managers, which leave the model as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgexf_exporters.source import Values


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Makes the model answer as on a device: no dropout, constant weights. Afterwards the model is as before."""
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = {module: module.training for module in model.modules()}
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for parameter, gradient in wanted.items():
            parameter.requires_grad_(gradient)
        for module, mode in training.items():
            module.training = mode


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Turns off the fast path of torch.nn, whose answers have other shapes where rows are padded."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def vectors_of(reader: nn.Module, instead: Tensor | None = None) -> Iterator[list[Tensor]]:
    """Makes the outputs of an embedding leaves for the duration, and yields the list of these leaves.

    `instead` takes the place of the first output.
    """
    leaves: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        given = output if instead is None or leaves else instead
        leaves.append(given.detach().requires_grad_(True))
        return leaves[-1]

    with reader.register_forward_hook(leaf):
        yield leaves


@contextmanager
def started_from(
    reader: nn.Module, inputs: Mapping[str, Tensor], instead: Tensor | None = None
) -> Iterator[tuple[Mapping[str, Tensor], list[Tensor]]]:
    """Yields the inputs to call a model with, and the leaves from which an explanation starts.

    `instead` takes the place of the first leaf, as in `vectors_of`.
    """
    if isinstance(reader, Values):
        first, values = next(iter(inputs.items()))
        leaf = (values if instead is None else instead).detach().requires_grad_(True)
        yield {**inputs, first: leaf.clone()}, [leaf]  # a model may write to its input
        return
    with vectors_of(reader, instead) as leaves:
        yield inputs, leaves
