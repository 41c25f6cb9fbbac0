"""Refuses a custom module whose answer depends on what it answered before.

    if length > self.longest:                                     a fresh module      longest = 8     table over 8 places
        self.longest, self.table = length, self.over(length)      after 4,096 tokens  longest = 4096  table over 4,096 places

In: a `Probe` that has run the module at all of its sizes, and a copy of the module that has not run at all. Out: nothing, or
ExportError with the names of the buffers and attributes that changed. The module must answer its examples as it did at the
first call, and the shortest and the longest input as a copy does that has not run. A cache that changes no answer passes. What a known library changes
is restored after each call by the context of the call.

A graph has no memory. Declaring one of the answers the right one was weighed: the fresh one is not what a caller of the
module in memory gets, and the used one depends on the longest input of a probe.

The copy shares the parameters, so that no weight is held twice.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgexf.bundle.signature import Signature
from edgexf.errors import EdgexfError, ExportError, in_a_sentence
from edgexf_exporters.sources.calls import Model
from edgexf_exporters.sources.modules.axes import Sizes
from edgexf_exporters.sources.modules.examples import Array
from edgexf_exporters.sources.modules.probe import Answer, Probe, unchanged

ALIKE = 1e-4  # the tolerance of the grid: what changes an answer by less is no matter
OF_TORCH = vars(nn.Module()).keys()  # attributes that every module has
VALUES = (bool, int, float, complex, str, bytes, set, frozenset, range, torch.dtype, torch.device)
MOST_NAMED = 3


def fresh_copy(module: Model) -> Model:
    """A copy that shares the parameters. An attribute that can't be copied, such as a lock or what weight_norm
    leaves, is shared too.

    Raises ExportError for a module that can't be copied.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in module.parameters()}
    with suppress(Exception):  # the attribute that hinders it is looked for below
        return copy.deepcopy(module, dict(shared))
    for _, value in attributes(module):
        try:
            copy.deepcopy(value, dict(shared))
        except Exception:  # noqa: BLE001 (any class may refuse to be copied in its own way)
            shared[id(value)] = value
    with in_a_sentence(
        "a custom module must be copied, to see whether it remembers calls", "let copy.deepcopy copy it, without hooks"
    ):
        return copy.deepcopy(module, shared)


def attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The attributes and buffers of a module and of its parts, by path and name."""
    for path, part in module.named_modules():
        own = {name: value for name, value in vars(part).items() if name not in OF_TORCH}
        for name, value in {**own, **part._buffers}.items():
            yield f"{path}.{name}" if path else name, value


def check_memory(probe: Probe, fresh: nn.Module, signature: Signature) -> None:
    """Raises ExportError if the module of the probe remembers calls: see the module's docstring."""
    changed = names_changed(fresh, probe.module)
    short = {axis.name: axis.least for axis in signature.axes}
    if changed:  # so that the shortest input comes right behind the longest
        for axis in signature.axes:
            if axis.name != signature.samples:
                rest = {signature.samples: short[signature.samples]} if signature.samples else {}
                sizes = {**probe.draws.shapes.examples, **rest, axis.name: axis.most}
                inputs = probe.draws(sizes, seed=1)
                unused = Probe(fresh_copy(fresh), probe.draws, probe.settings)
                compare(answer_of(unused, inputs), answer_of(probe, inputs), sizes, changed)
    inputs = probe.draws(short, seed=1)
    new = Probe(fresh, probe.draws, probe.settings)
    compare(answer_of(new, inputs), answer_of(probe, inputs), short, changed)
    examples = {name: tensor.detach().cpu().numpy() for name, tensor in probe.draws.examples.items()}
    compare(probe.first, answer_of(probe, examples), probe.draws.shapes.examples, changed)


def answer_of(probe: Probe, inputs: Mapping[str, Array]) -> Answer | None:
    """The answer; None where the module refuses the inputs."""
    try:
        return probe.answer(inputs)
    except EdgexfError:
        raise
    except Exception:  # noqa: BLE001 (a custom module may raise any error at inputs that it refuses)
        return None


def compare(before: Answer | None, after: Answer | None, sizes: Sizes, changed: Sequence[str]) -> None:
    """Raises ExportError if two answers to the same inputs differ."""
    if before is None or after is None:
        wrong = "no answer" if before is not after else ""
    elif before.keys() != after.keys():
        wrong = "other outputs"
    else:
        other = (name for name in before if not unchanged(before[name], after[name], ALIKE))
        wrong = next((f"another {name}" for name in other), "")
    if wrong:
        where = ", ".join(f"{name} {size}" for name, size in sizes.items())
        names = ", ".join(changed[:MOST_NAMED]) or "what no attribute of it shows"
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        raise ExportError(
            f"a module must answer the same whatever it answered before, got {wrong} at {where} after other calls, which "
            f"changed {names}{more}; compute it from the inputs at each call, or once in __init__."
        )


def names_changed(fresh: nn.Module, used: nn.Module) -> list[str]:
    """The paths and names of the buffers and attributes that differ."""
    before, after = dict(attributes(fresh)), dict(attributes(used))
    return [
        name for name, value in after.items() if name not in before or not same(before[name], value, set())
    ] + sorted(before.keys() - after.keys())


def same(one: Any, two: Any, seen: set[int]) -> bool:
    """Whether two values are equal, as far as one can see into them: functions and opaque objects count as equal."""
    if one is two or id(two) in seen:
        return True
    seen.add(id(two))
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor):
        if one.shape != two.shape or one.dtype != two.dtype or one.device != two.device:
            return False
        return one.is_meta or bool(((one == two) | (one != one)).all())  # a tensor on "meta" has no numbers
    if isinstance(one, np.ndarray):
        return one.shape == two.shape and bool(((one == two) | (one != one)).all())
    if isinstance(one, VALUES):
        return bool(one == two)
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(same(value, two[key], seen) for key, value in one.items())
    if isinstance(one, list | tuple | deque):
        return len(one) == len(two) and all(same(*pair, seen) for pair in zip(one, two, strict=True))
    if isinstance(one, nn.Module) or not hasattr(one, "__dict__") or isinstance(one, type):
        return True
    return same(vars(one), vars(two), seen)
