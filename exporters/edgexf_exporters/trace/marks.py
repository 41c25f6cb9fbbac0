"""Operators that mark tensors in a traced program.

In: a tensor. Out: the same values, which the rules and the programs of `edgexf_exporters.explain` recognise.
"""

from __future__ import annotations

from contextvars import ContextVar

import torch
from torch import Tensor
from torch.export import ExportedProgram


@torch.library.custom_op("edgexf::constant", mutates_args=())
def constant(value: Tensor) -> Tensor:
    """Marks what rules take for a constant, such as the inverse of an attention matrix. Plain gradients pass."""
    return value.clone()


@constant.register_fake
def _(value: Tensor) -> Tensor:
    return torch.empty_like(value)


@torch.library.custom_op("edgexf::mixing", mutates_args=())
def mixing(tokens: Tensor, layer: int, heads: int, mixed: bool) -> Tensor:  # noqa: ARG001 (`explain.mixing` reads them)
    """Marks the values [rows, tokens, width] that attention mixes, or with `mixed` the mixed values."""
    return tokens.clone()


MARKS = {torch.ops.edgexf.constant.default, torch.ops.edgexf.mixing.default}
MARKED = ContextVar("MARKED", default=False)


def unmarked(program: ExportedProgram) -> ExportedProgram:
    """Removes the marks from the program in place: they have no translation."""
    for node in list(program.graph.nodes):
        if node.target in MARKS:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


def are_marked() -> bool:
    """Whether values must go through their projections, even if a lowering has a shorter way."""
    return MARKED.get()
