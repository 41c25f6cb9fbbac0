"""The record of one attention that edgexf can lower, as data: reading it imports no torch.

`lowers` and `lowering` name classes as ``module:Class``; `load` imports them when an export needs
them. The lowering is a module made from the original one: it shares the weights, has the same
``forward`` and an attribute `block`, the multiple of tokens its lengths must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Variant:
    """What `edgexf variants` prints and what an export needs to know.

    `padding` is the manifest's padding rule. `subquadratic` promises that no intermediate grows with
    the square of the length. `tolerance` bounds max |difference| / max |reference| in float32.
    """

    name: str
    attention: str
    lowers: str
    lowering: str
    source: str
    padding: str = "invariant"
    subquadratic: bool = True
    tolerance: float = 1e-4


def load(reference: str) -> Any:
    """The object that ``module:name`` stands for."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
