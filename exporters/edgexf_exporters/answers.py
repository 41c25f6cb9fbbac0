"""What a module answers with: tensors, by name.

In: whatever a module returned. Out: its tensors, each under the name of the bundle's output.

    (logits, (hidden, hidden))  ->  {"logits": ..., "output_1_0": ..., "output_1_1": ...}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor

from edgexf import names
from edgexf.errors import ExportError


def named_outputs(found: Any, name: str = names.LOGITS, taken: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors that a module answers with, by name.

    A tensor without a name is called `name` if it is the only tensor or the first of several. Later tensors are called
    ``output_1``, ``output_2``, ... A tensor inside a list, tuple or dictionary gets the name of what holds it, and its
    own place or key: ``hidden_states_0``. A name of `taken` gets ``_out`` behind it. Values that are no tensors, such as
    a cache, are left out. Raises ExportError for an answer without tensors.
    """
    if isinstance(found, list | tuple) and not hasattr(found, "_asdict"):
        start = name if found and isinstance(found[0], Tensor) else "output_0"
        parts = [(start if place == 0 else f"output_{place}", value) for place, value in enumerate(found)]
    elif isinstance(found, Tensor):
        parts = [(name, found)]
    elif isinstance(found, Mapping):
        parts = list(found.items())
    else:
        values = found._asdict() if hasattr(found, "_asdict") else getattr(found, "__dict__", {})
        parts = list(dict(values).items())
    tensors: dict[str, Tensor] = {}
    for key, tensor in (leaf for part in parts for leaf in flat(*part)):
        while key in tensors or key in taken:
            key += "_out"
        tensors[key] = tensor
    if not tensors:
        raise ExportError(f"a module must answer with tensors, got {type(found).__name__} without; return some.")
    return tensors


def flat(key: object, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors inside a value, each with its name."""
    if isinstance(value, Tensor):
        yield str(key), value
    elif isinstance(value, Mapping | list | tuple):
        named = value._asdict() if hasattr(value, "_asdict") else value
        for place, inner in named.items() if isinstance(named, Mapping) else enumerate(named):
            yield from flat(f"{key}_{place}", inner)
