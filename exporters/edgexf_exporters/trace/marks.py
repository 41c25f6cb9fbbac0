"""Operators that stand in a traced program as marks."""

from __future__ import annotations

from contextvars import ContextVar

import torch
from torch import Tensor
from torch.export import ExportedProgram


@torch.library.custom_op("edgexf::constant", mutates_args=())
def constant(value: Tensor) -> Tensor:
    """Marks what rules take for a constant, such as the inverse of an attention matrix; plain gradients pass."""
    return value.clone()


@constant.register_fake
def _(value: Tensor) -> Tensor:
    return torch.empty_like(value)


def unmarked(program: ExportedProgram) -> ExportedProgram:
    """The program without marks, operators of edgexf's own, which nothing else knows; it is changed."""
    for node in list(program.graph.nodes):
        if getattr(node.target, "namespace", "") == "edgexf":
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


MARKED = ContextVar("MARKED", default=False)


@torch.library.custom_op("edgexf::mixing", mutates_args=())
def mixing(tokens: Tensor, layer: int, heads: int, mixed: bool) -> Tensor:  # noqa: ARG001 (for those who watch)
    """Marks values [rows, tokens, width], or with `mixed` what attention made of them."""
    return tokens.clone()


def are_marked() -> bool:
    """Whether values must go through their projections, also where a lowering has a shorter way."""
    return MARKED.get()
