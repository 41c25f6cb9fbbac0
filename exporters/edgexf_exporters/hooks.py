"""What surrounds a call of the untouched model: constant weights, and leaves where its embedding's vectors are.

In: a model or its embedding. Out: context managers, which leave the model as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from edgexf_exporters.source import Values

CACHES = ("cache", "past_key_values", "layer_past")  # arguments of layers, whose answers don't depend on an empty cache
KEPT = 1 << 16  # tokens times layers, up to which all is kept: 16 layers of 4,096 tokens


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


class GradientsKept(TorchFunctionMode):
    """Ignores that a module turns gradients off: people freeze an encoder by ``torch.no_grad``, and want it explained.

    A reverse pass may turn them off, as that of a reversible model does: torch leaves this mode while it runs.
    """

    def __torch_function__(
        self, function: Any, _types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls each function of torch but the one by which `torch.no_grad` and its relatives turn gradients off."""
        off = function is torch._C._set_grad_enabled and not args[0]
        return None if off else function(*args, **(kwargs or {}))


@contextmanager
def gradients_kept() -> Iterator[None]:
    """Keeps gradients as they are before a call, for the duration: see `GradientsKept`."""
    before = torch.is_grad_enabled()
    try:
        with GradientsKept():
            yield
    finally:
        torch.set_grad_enabled(before)


@contextmanager
def vectors_of(reader: nn.Module, instead: Tensor | None = None) -> Iterator[list[Tensor]]:
    """Makes the outputs of an embedding leaves for the duration, and yields the list of these leaves.

    `instead` takes the place of the first output. A module may read its tokens again, such as for a residual behind a
    library model, which pads them: the same vectors are the same leaf.
    """
    leaves: list[Tensor] = []
    first: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if first and begin_alike(first[0], output):
            again = leaves[0][:, : output.shape[1]]
            return torch.cat((again, output[:, again.shape[1] :].detach()), dim=1)
        first.append(output.detach())
        given = output if instead is None or leaves else instead
        leaves.append(given.detach().requires_grad_(True))
        return leaves[-1]

    with reader.register_forward_hook(leaf):
        yield leaves


def begin_alike(one: Tensor, two: Tensor) -> bool:
    """Whether vectors [rows, tokens, width] are the same, but for padding behind the shorter rows."""
    if one.ndim != 3 or two.ndim != 3 or one.shape[0] != two.shape[0]:
        return False
    length = min(one.shape[1], two.shape[1])
    rest = max(one, two, key=lambda vectors: vectors.shape[1])[:, length:]
    return torch.equal(one[:, :length], two[:, :length]) and bool((rest == rest[:1, :1]).all())


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


@contextmanager
def modes_again(modes: Iterable[TorchFunctionMode]) -> Iterator[None]:
    """Enters the modes that are not active."""
    with ExitStack() as entered:
        for mode in modes:
            if not any(mode is one for one in _get_current_function_mode_stack()):
                entered.enter_context(mode)
        yield


@contextmanager
def layers_again(module: nn.Module, tokens: int) -> Iterator[None]:
    """Lets a reverse pass within the block compute each layer of transformers again, so that the pass keeps its inputs alone.

    That is done from `KEPT` tokens on, counted in each layer. No layer gets a cache, to which it would write twice. A layer runs
    again in the modes of its first run, such as that which makes float32 to float64; torch leaves them before. The layers are
    those that the library itself computes again in training. What a layer keeps for the reverse pass is many times its input:
    158 MB and 13 MB in a layer of ModernBERT base at 4,096 tokens.
    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4.
    """
    kind: Any = getattr(sys.modules.get("transformers.modeling_layers"), "GradientCheckpointingLayer", ())
    layers: list[Any] = [part for part in module.modules() if isinstance(part, kind) and "forward" not in vars(part)]
    layers = layers if tokens * len(layers) >= KEPT else []

    def again(forward: Any, *given: Any, **named: Any) -> Any:
        named |= {name: None for name in CACHES if name in named}
        modes = partial(modes_again, _get_current_function_mode_stack())
        return checkpoint(
            partial(forward, **named), *given, use_reentrant=False, preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), modes()),
        )  # fmt: skip

    try:
        for layer in layers:
            layer.forward = partial(again, layer.forward)
        yield
    finally:
        for layer in layers:
            del layer.forward
