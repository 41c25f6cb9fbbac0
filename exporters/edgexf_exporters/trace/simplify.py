"""Removes what a translated graph does not need: computed constants, queries of shapes, moves that undo each other.

    before  Shape -> Gather -> Concat -> Reshape; Transpose -> Transpose; Expand to the same size
    after   Reshape by a constant; nothing; nothing

The rules come from onnxscript, and are named one by one. The default set of onnxscript compares each pair of slices
with every other pair. This takes a sixth of the time of an export, to join slices that no attention has. The default
set also drops a summand up to 1e-8 as if it were zero, but such a summand protects a division from 0 / 0.
"""

from __future__ import annotations

import math

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

COPIES, SMALL = ("Expand", "Tile"), 1024  # a constant of so many entries may be repeated in the file
ROUNDS = 2  # the second round finds what the first round uncovered
LARGE = 1 << 18  # a table of so many entries is compared with others, so that nodes that read equal tables are one
RULES = (
    rules.materialize_reshape_shape_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.no_op_transpose_rule,
    rules.reshape_reshape_rule,
    rules.squeeze_reshape_1d_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
)


def simplify(model: ir.Model) -> None:
    """Simplifies the model in place. Constants become initializers, and equal constants become one initializer."""
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        optimizer.fold_constants_ir(model, onnx_shape_inference=True, should_fold=no_copies)
        RewritePass(RULES)(model)
        common.RemoveUnusedNodesPass()(model)
    ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(size_limit=LARGE),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def no_copies(node: ir.Node) -> bool | None:
    """False for a node that only repeats a constant, which would make the file larger; None, for the usual choice, for others.

    A runtime repeats it when it loads the graph.
    """
    copies = node.op_type in COPIES and sum(map(entries, node.outputs)) > SMALL
    return False if copies else None


def entries(value: ir.Value | None) -> int:
    """The entries of a value; 0 where the shape is not known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return 0
    return math.prod(value.shape.numpy())
