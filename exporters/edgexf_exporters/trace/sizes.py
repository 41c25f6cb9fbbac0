"""Arithmetic of sizes in a graph, as Python computes it.

In: a captured program. Out: the same program, whose ONNX answers as Python does where torch's translation does not.

    -(-n // 8)      Div of ONNX cuts off: -2 // 8 is 0   ->  Div of n - Mod(n, 8), which has no rest
    int(n * 0.7)    in float32, where 90 * 0.7 is 63     ->  in float64
    round(n / 2)    no translation                       ->  Round, which takes the even one of two, as Python does
    n >> 1, n & 7   no translation                       ->  n // 2, BitwiseAnd
    x.numel()       no translation                       ->  Size

The range of a size says whether it may be negative. Most can't, and their quotient stays a plain Div. A float from which
whole numbers alone come is computed in float64. A float that meets a tensor stays float32, as the tensor is.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from onnx import TensorProto
from onnx.helper import make_tensor
from onnxscript import INT64, opset18
from torch import SymFloat, SymInt
from torch.fx import Graph, Node

op: Any = opset18  # its types don't follow what a node answers
DOUBLE = torch.empty((), dtype=torch.float64, device="meta")  # what torch notes about a node in float64
WHOLE = (math.trunc, math.floor, math.ceil, round)  # make a whole number of a float
IN_ONNX = {
    operator.add: "Add", operator.sub: "Sub", operator.mul: "Mul", operator.truediv: "Div", operator.pow: "Pow",
}  # fmt: skip

# Operators of one operand: the operator of two that answers the same with a number.
ALONE = {torch.sym_float: (operator.add, 0.0), operator.neg: (operator.mul, -1.0)}


def floor_of_quotient(x: int, y: int) -> int:
    """x // y, where one may be negative."""
    return x // y


def floor_of_quotient_in_onnx(x: INT64, y: INT64) -> Any:
    """`floor_of_quotient` in ONNX. Mod of whole numbers has the sign of y, as in Python."""
    return op.Div(op.Sub(x, op.Mod(x, y)), y)


def bits_of_both(x: int, y: int) -> int:
    """x & y."""
    return x & y


def bits_of_both_in_onnx(x: INT64, y: INT64) -> Any:
    return op.BitwiseAnd(x, y)


def rounded_in_onnx(x: Any) -> Any:
    """`round` in ONNX."""
    return op.Cast(op.Round(x), to=TensorProto.INT64)


def number_of_entries_in_onnx(x: Any) -> Any:
    """`numel` in ONNX."""
    return op.Size(x)


def number(value: float) -> float:
    """A number in float64."""
    return value


def number_in_onnx(value: float) -> Any:
    return op.Constant(value=make_tensor("number", TensorProto.DOUBLE, [], [value]))


def in_float64(x: float, y: float, name: str) -> Any:
    """The operator of `IN_ONNX` of this name, in float64."""
    does: Callable[..., Any] = {its: one for one, its in IN_ONNX.items()}[name]
    return does(x, y)


def in_float64_in_onnx(x: Any, y: Any, name: str) -> Any:
    wide = [value if value.dtype == ir.DataType.DOUBLE else op.Cast(value, to=TensorProto.DOUBLE) for value in (x, y)]
    return getattr(op, name)(*wide)


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    floor_of_quotient: floor_of_quotient_in_onnx,
    bits_of_both: bits_of_both_in_onnx,
    round: rounded_in_onnx,
    torch.ops.aten.sym_numel.default: number_of_entries_in_onnx,
    number: number_in_onnx,
    in_float64: in_float64_in_onnx,
}


def as_python_computes(graph: Graph) -> None:
    """Puts the functions of `TRANSLATIONS` in place of operators of sizes, in place."""
    for node in graph.find_nodes(op="call_function", target=operator.rshift):
        by_power(node, operator.floordiv)
    for node in graph.find_nodes(op="call_function", target=operator.lshift):
        by_power(node, operator.mul)
    for node in graph.find_nodes(op="call_function", target=operator.and_):
        if isinstance(node.meta.get("val"), SymInt):
            node.target = bits_of_both
    for node in graph.find_nodes(op="call_function", target=operator.floordiv):
        if any(map(may_be_negative, node.args)):
            node.target = floor_of_quotient
    for node in graph.find_nodes(op="call_function", target=round):
        node.args = tuple(given for given in node.args if given is not None)  # round(x, None) is round(x)
    widen(graph)


def by_power(node: Node, does: Callable[..., Any]) -> None:
    """Makes a shift by a number a quotient or a product."""
    size, places = node.args
    if isinstance(places, int):
        node.target, node.args = does, (size, 2**places)


def may_be_negative(given: Any) -> bool:
    """Whether an operand, a number or a node of a size, may be below 0."""
    value = given.meta["val"] if isinstance(given, Node) else given
    if isinstance(value, SymInt):
        return bool(value.node.shape_env.bound_sympy(value.node.expr).lower < 0)
    return bool(value < 0)


def widen(graph: Graph) -> None:
    """Computes floats of sizes in float64 where whole numbers alone come of them."""
    wide: set[Node] = set()
    for node in reversed(graph.nodes):
        known = isinstance(node.meta.get("val"), SymFloat) and node.target in {*IN_ONNX, *ALONE}
        if known and node.users and all(user in wide or user.target in WHOLE for user in node.users):
            wide.add(node)
    for node in [node for node in graph.nodes if node in wide]:
        operands = [operand(graph, given, node) for given in node.args]
        if node.target in ALONE:
            node.target, neutral = ALONE[node.target]
            operands.append(operand(graph, neutral, node))
        node.target, node.args, node.meta["val"] = in_float64, (*operands, IN_ONNX[node.target]), DOUBLE


def operand(graph: Graph, given: Any, before: Node) -> Any:
    """A node for an operand."""
    if isinstance(given, Node):
        return given
    with graph.inserting_before(before):
        found = graph.call_function(number, (float(given),))
    found.meta["val"] = DOUBLE
    return found
