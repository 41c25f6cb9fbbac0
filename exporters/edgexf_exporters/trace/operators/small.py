"""Small values that the next operator makes large: sigmoid under a logarithm or a quotient, and x - tanh(x).

In: a captured graph. Out: the same graph, with an operator of edgexf where small values count.

    log(sigmoid(x) + eps)   ->  log(exact_sigmoid(x) + eps)       x / sigmoid(x), 1 / sigmoid(x), sigmoid(x) ** 0.1 alike
    x - tanh(x)             ->  tanhshrink(x)

Sigmoid of onnxruntime answers 0 below -18. That is right to 2e-8, and wrong by any factor under a logarithm. It stays
where it gates or is an answer, because it is faster than the exact form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from edgexf_exporters.trace.operators.exponential import tanhshrink

aten = torch.ops.aten


@torch.library.custom_op("edgexf::exact_sigmoid", mutates_args=())
def exact_sigmoid(x: Tensor) -> Tensor:
    """The sigmoid, whose small values are exact too."""
    return torch.sigmoid(x)


@torch.library.custom_op("edgexf::tanhshrink", mutates_args=())
def shrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return x - torch.tanh(x)


@exact_sigmoid.register_fake
@shrink.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def sigmoid(x: Tensor) -> Tensor:
    return torch.reciprocal(1 + torch.exp(-x))


# Operators that make differences of small values large, by the place of the operand.
LARGE: dict[Any, int] = {
    aten.log.default: 0, aten.log2.default: 0, aten.log10.default: 0, aten.reciprocal.default: 0, aten.rsqrt.default: 0,
    aten.sqrt.default: 0, aten.logit.default: 0, aten.pow.Tensor_Scalar: 0, aten.div.Tensor: 1, aten.xlogy.Tensor: 1,
    aten.special_xlogy.default: 1, aten.special_entr.default: 0, aten.binary_cross_entropy.default: 0,
}  # fmt: skip
# Operators that hand small values on.
THROUGH = {
    aten.add.Tensor, aten.mul.Tensor, aten.clamp.default, aten.clamp_min.default, aten.clip.default, aten.maximum.default,
    aten.view.default, aten.reshape.default, aten.squeeze.dim, aten.unsqueeze.default, aten.transpose.int,
    aten.permute.default, aten.select.int, aten.slice.Tensor, aten.gather.default, aten.index_select.default,
    aten.expand.default, aten.to.dtype, aten._to_copy.default, aten.contiguous.default, aten.clone.default,
    aten.flatten.using_ints, aten.unbind.int, aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.neg.default,
    aten.index.Tensor, aten.masked_fill.Scalar, aten.where.self, aten.where.ScalarOther, aten.stack.default,
    aten.cat.default, aten.prod.dim_int, aten.cumprod.default, aten.abs.default,
}  # fmt: skip


def sources(node: Node, seen: set[Node]) -> set[Node]:
    """The nodes whose small values come to `node` through operators that hand them on."""
    if node in seen or node.target not in THROUGH:
        return {node}
    seen.add(node)
    return {found for one in node.all_input_nodes for found in sources(one, seen)}


def keep_small(graph: Graph) -> None:
    """Puts the operators of edgexf into the graph, in place."""
    if graph.find_nodes(op="call_function", target=aten.sigmoid.default):
        for operator, place in LARGE.items():
            for node in graph.find_nodes(op="call_function", target=operator):
                operand = node.args[place]
                for source in sources(operand, set()) if isinstance(operand, Node) else ():
                    if source.target is aten.sigmoid.default:
                        source.target = torch.ops.edgexf.exact_sigmoid.default
    for node in graph.find_nodes(op="call_function", target=aten.tanh.default):
        for user in list(node.users):
            if user.target is aten.sub.Tensor and user.args == (node.args[0], node) and not user.kwargs:
                user.target, user.args = torch.ops.edgexf.tanhshrink.default, (node.args[0],)
        if not node.users:
            graph.erase_node(node)


OPERATORS: dict[Any, Callable[..., Any]] = {
    torch.ops.edgexf.exact_sigmoid.default: sigmoid,
    torch.ops.edgexf.tanhshrink.default: tanhshrink,
}
