"""A custom module by the name of its factory, for the command line.

In: ``package.module:factory`` and a file of weights. Out: the module, example inputs and dynamic shapes.

The factory is a class or function without arguments. It returns the module, or (module, example_inputs), or
(module, example_inputs, dynamic_shapes). Without example inputs, a required argument of ``forward`` counts as token ids
[batch, sequence], or as a mask if its name says so. The weights are a state dictionary: a safetensors file, or a file
that torch.save wrote, from which only tensors are read.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edgexf.errors import ExportError, InputError, UsageError, in_a_sentence
from edgexf_exporters.sources.request import check_reference, importing_from_here

WRAPPED = ("_orig_mod.", "module.")  # what the names of a compiled or data-parallel module begin with
BATCH = 2
LENGTHS = (24, 64, 128, 256, 512, 1024, 4096)  # tokens, tried in turn until the module answers


def build(reference: str) -> tuple[nn.Module, Any, Any]:
    """Calls a factory. Returns the module in eval mode, and the example inputs and dynamic shapes, or None for each.

    Raises UsageError for a reference that names nothing to call and for a factory that returns something else, and
    ExportError where the import or the call fails.
    """
    check_reference(reference)
    where, _, name = reference.partition(":")
    sentence = in_a_sentence(
        f"{where} must be a Python module that can be imported", "check its name, or run from its folder"
    )
    with importing_from_here(), sentence:
        found: Any = import_module(where)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(
            f"a module is named as package.module:factory, got no {name} to call in {where}; check its name."
        )
    with in_a_sentence(
        f"{reference} must build a module without arguments", "give its arguments defaults, or wrap it in a function"
    ):
        built = found()
    module, examples, shapes = (*built, None, None)[:3] if isinstance(built, tuple) else (built, None, None)
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"a factory must answer with a torch.nn.Module, or with a tuple that begins with one, got {type(module).__name__} from {reference}; return one."
        )
    return module.eval(), examples, shapes


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads a file of weights into the module.

    Raises InputError for a file that can't be read, and ExportError for weights that are not exactly those of the
    module.
    """
    try:
        state = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"weights must be a file of safetensors or a state dictionary that torch.save wrote, got {path} ({reason}); save module.state_dict()."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"weights must be a dictionary of tensors by name, got {type(state).__name__} in {path}; save module.state_dict()."
        )
    own = module.state_dict()
    state = without_wrapper(state, own)
    problems = {
        "missing": sorted(set(own) - set(state)),
        "extra": sorted(set(state) - set(own)),
        "of another shape": sorted(name for name in set(own) & set(state) if own[name].shape != state[name].shape),
    }
    found = "; ".join(
        f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in problems.items()
        if names
    )
    if found:
        raise ExportError(
            f"weights must be exactly those of {type(module).__name__}, got {found}; build the module as it was when they were saved."
        )
    module.load_state_dict(state)


def without_wrapper(state: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The weights by the names of the module inside the wrapper that was saved, of torch.compile or DataParallel."""
    for prefix in WRAPPED:
        if state and all(name.startswith(prefix) for name in state) and not any(name in own for name in state):
            return without_wrapper({name.removeprefix(prefix): tensor for name, tensor in state.items()}, own)
    return state


def guess(name: str, length: int) -> Tensor:
    """Ids that every vocabulary has, or a mask without padding if the name says mask.

    The padding masks of torch.nn are true at padding.
    """
    if "mask" not in name:
        return torch.arange(BATCH * length).reshape(BATCH, length) % 2
    return (
        torch.zeros(BATCH, length, dtype=torch.bool) if "pad" in name else torch.ones(BATCH, length, dtype=torch.long)
    )


def guess_examples(module: nn.Module, max_length: int | None = None) -> dict[str, Tensor]:
    """Token ids or a mask [batch, sequence] for each argument of ``forward`` that has no default.

    Raises UsageError if the module answers them at none of `LENGTHS`, of which those over `max_length` are cut to it.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = inspect.signature(module.forward).parameters.values()
    needed = [one.name for one in taken if one.default is inspect.Parameter.empty and one.kind in kinds]
    reason = "no argument without a default"
    lengths = dict.fromkeys(min(length, max_length or length) for length in LENGTHS)
    for length in lengths if needed else ():
        examples = {name: guess(name, length) for name in needed}
        try:
            with torch.no_grad():
                module(**examples)
        except Exception as error:  # noqa: BLE001 (a custom module may raise any error; the last reason is reported)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        else:
            return examples
    raise UsageError(
        f"a factory must answer with example inputs where forward takes others than token ids [batch, sequence], got none ({reason}); return (module, example_inputs)."
    )
