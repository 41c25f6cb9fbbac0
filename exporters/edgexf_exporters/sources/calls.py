"""How a custom module is called: its arguments by name, its weights in float32, and the context of a call.

In: a module, and the example inputs of a user. Out: tensors and settings by the argument names of ``forward``; the
module to call; a context for each call.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgexf.errors import UsageError
from edgexf_exporters.hooks import gradients_kept, without_fast_path
from edgexf_exporters.lowerings.swap import variants_in
from edgexf_exporters.variant import load

Model = TypeVar("Model", bound=nn.Module)


def arguments(module: nn.Module, given: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The arguments of ``forward`` by name: the tensors, floats among them in float32, and all other arguments.

    Raises UsageError for arguments that do not fit ``forward``, for an argument without a name, for tensors inside an
    argument, and if no argument is a tensor.
    """
    given = (given,) if isinstance(given, Tensor) else given
    try:
        taken = inspect.signature(module.forward)
        bound = taken.bind(**given) if isinstance(given, Mapping) else taken.bind(*given)
    except TypeError as error:
        raise UsageError(
            f"example_inputs must fit {type(module).__name__}.forward, got others ({error}); give a tuple in its order, or a dictionary."
        ) from error
    odd = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    unnamed = [name for name in bound.arguments if taken.parameters[name].kind in odd]
    if unnamed:
        raise UsageError(
            f"forward must name its inputs, got *{', *'.join(unnamed)} in {type(module).__name__}; wrap it in a module whose forward does."
        )
    tensors = {name: value for name, value in bound.arguments.items() if isinstance(value, Tensor)}
    nested = [
        name
        for name, value in bound.arguments.items()
        if name not in tensors and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
    ]
    if nested:
        raise UsageError(
            f"an input must be a tensor of its own, got tensors inside {', '.join(nested)}; wrap the module in one whose forward takes each by name."
        )
    if not tensors:
        raise UsageError("example_inputs must hold a tensor, got none; give inputs that the module answers.")
    tensors = {name: tensor.float() if tensor.dtype.is_floating_point else tensor for name, tensor in tensors.items()}
    return tensors, {name: value for name, value in bound.arguments.items() if name not in tensors}


def in_float32(module: Model) -> Model:
    """The module itself, or a copy in float32 if its weights have another dtype. The caller's object stays as it is."""
    if all(tensor.dtype == torch.float32 for tensor in module.parameters()):
        return module
    copied = copy.deepcopy(module)
    nn.Module.float(copied)  # complex values stay as they are; a model of transformers may refuse its own `float`
    return copied


def surrounding(module: nn.Module) -> Any:
    """The context that each call of a module needs.

    It turns off the fast path of torch.nn, whose answers have other shapes where rows are padded: torch.nn then runs
    its code for training. It keeps gradients on where the module turns them off. It also enters the `call_context` of
    each known attention in the module. Such a context makes a library draw the random numbers of the graph, for example.
    """
    contexts = [load(variant.call_context) for variant in variants_in(module) if variant.call_context]

    @contextmanager
    def around(called: nn.Module) -> Iterator[None]:
        with without_fast_path(), gradients_kept(), ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context(called))
            yield

    return around
