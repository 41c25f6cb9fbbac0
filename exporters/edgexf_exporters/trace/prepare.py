"""A captured program, made ready for its translation to ONNX.

In: an `ExportedProgram`. Out: a program with the same inputs and outputs, in operators that have a translation, with a
cast wherever torch promotes a type, and without assertions.

    before  aten.to.dtype(x, int64)   aten.flatten(x, -2)          sym_size(y, 1) // 4   add(int64 x, float32 y)
    after   aten._to_copy(x, int64)   aten.view(x, [batch, size])  blocks                add(convert_element_type(x), y)

`torch.onnx.export` decomposes a program by two traces over tensors that record each write, which took up to half of an
export. Then it runs every node again to promote types. Here the program is traced once, over the tensors that its
capture noted, and the promotion reads the types that were noted. A program that writes to a tensor, or that holds another
program, still goes torch's way.

Two alternatives were weighed. Single operators can be renamed in the graph, which is faster still. But then views become
Shape and Slice, and graphs grow by a tenth. torch.export could decompose while it captures, but it takes no table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.experimental.symbolic_shapes import PropagateUnbackedSymInts
from torch.fx.node import map_arg
from torch.onnx._internal.exporter._decomp import (
    create_onnx_friendly_decomposition_table,
    get_onnx_implemented_overloads,
)
from torch.onnx._internal.exporter._fx_passes import remove_assertion_nodes
from torch.onnx._internal.exporter._registration import ONNXRegistry
from torch.onnx._internal.fx.passes import type_promotion

from edgexf_exporters.trace import attention_weights, blocks, operators, recurrent, rows, sizes, sliced, windowed
from edgexf_exporters.trace.attention import attention
from edgexf_exporters.trace.operators import experts, imaginary
from edgexf_exporters.trace.operators.small import keep_small
from edgexf_exporters.trace.resize import RESIZED
from edgexf_exporters.trace.retrace import LEFT, Decompositions, retraced, without_stacks
from edgexf_exporters.trace.sizes import as_python_computes

aten = torch.ops.aten
COMPOSITE = "CompositeImplicitAutograd"  # torch's name for an operator that consists of other operators
DROPPED = {aten._assert_tensor_metadata.default, aten._assert_scalar.default}  # operators that the exporter leaves out
TRANSFORMS = "torch._functorch.predispatch"  # where the calls come from that torch.vmap leaves in a program
ATTENTION = aten.scaled_dot_product_attention.default
MOVED = {
    aten.transpose.int,
    aten.permute.default,
    aten.reshape.default,
    aten.view.default,
}  # the same numbers elsewhere
OWN: Decompositions = {  # in place of torch's translation
    ATTENTION: attention,
    aten._is_all_true.default: torch.all,  # what an assertion asks, which the exporter leaves out
    **RESIZED,
    **operators.OPERATORS,
}
POOLINGS = {  # the number of axes that each of these averages over
    aten.adaptive_avg_pool1d.default: 1,
    aten.adaptive_avg_pool2d.default: 2,
    aten.adaptive_avg_pool3d.default: 3,
}
PROMOTIONS = type_promotion.TypePromotionTable()


def translations(opset: int) -> ONNXRegistry:
    """The operators that torch can translate, and those of edgexf that stay in a graph."""
    found = gathered(opset)
    for target, function in experts.translations().items():
        if not found.is_registered(target):
            found.register_op(target, function)
    return found


@cache
def gathered(opset: int) -> ONNXRegistry:
    """The same, as far as they are known at any time: torch needs a third of a second to gather them."""
    found = ONNXRegistry.from_torchlib(opset)
    for room in (attention_weights, blocks, operators, recurrent, rows, sizes, sliced, windowed):
        for target, function in room.TRANSLATIONS.items():
            found.register_op(target, function)
    for target, function in imaginary.TRANSLATIONS.items():
        found.register_op(target, function, is_complex=True)
    return found


@cache
def without_views(opset: int) -> Decompositions:
    """As `decompositions`, but views stay: torch's own decomposition makes a program without writes of them."""
    found: Any = create_onnx_friendly_decomposition_table(set(get_onnx_implemented_overloads(translations(opset))))
    found |= {target: otherwise(own, found.get(target)) for target, own in OWN.items()}
    return found  # type: ignore[no-any-return]


@cache
def decompositions(opset: int) -> Decompositions:
    """The decompositions by operator: of operators without a translation, of edgexf's own, and of all views."""
    found: Any = dict(without_views(opset))
    for name in torch._C._dispatch_get_registrations_for_dispatch_key(COMPOSITE):
        space, _, operator = name.partition("::")
        if space == "aten":
            packet, _, overload = operator.partition(".")
            target = getattr(getattr(aten, packet), overload or "default")
            if any(argument.alias_info is not None for argument in target._schema.arguments):
                found.setdefault(target, target.decompose)
    found[aten.detach_.default] = aten.detach.default
    return found  # type: ignore[no-any-return]


def otherwise(own: Callable[..., Any], torchs: Callable[..., Any] | None) -> Callable[..., Any]:
    """`own`, and torch's decomposition where `own` answers NotImplemented."""

    def function(*args: Any, **kwargs: Any) -> Any:
        answer = own(*args, **kwargs)
        return torchs(*args, **kwargs) if answer is NotImplemented and torchs is not None else answer

    return function


def write_to_new(module: GraphModule) -> None:
    """Makes ``x = a + b; x += c`` a new tensor, in place.

    A write stays if anything else could see it, because the written tensor has another reader or may share its memory.
    """
    for node in module.graph.nodes:
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable and is_unseen(node):
            node.target = out_of_place(node.target)
    module.recompile()


def average_whole(module: GraphModule) -> None:
    """Makes an average pooling to a single entry a mean, in place.

    torch sets the strides of what it pools after a transposition, which no reverse pass in ONNX can follow.
    """
    for node in module.graph.nodes:
        if node.target in POOLINGS and all(isinstance(size, int) and size == 1 for size in node.args[1]):
            node.target, node.args = aten.mean.dim, (node.args[0], list(range(-POOLINGS[node.target], 0)), True)
    module.recompile()


def reshape_attended(module: GraphModule) -> None:
    """Makes a view of what an attention answers a reshape, in place.

    torch answers in the memory of [batch, tokens, heads, width], where a view joins the heads after a transposition.
    The products that stand for the attention answer in that of [batch, heads, tokens, width], where no view does.
    """
    for node in module.graph.find_nodes(op="call_function", target=aten.view.default):
        source = node.args[0]
        while source.target in MOVED:
            source = source.args[0]
        if source.target is ATTENTION:
            node.target = aten.reshape.default
    module.recompile()


def is_unseen(node: Node) -> bool:
    """Whether a write may answer a new tensor instead: nothing else sees the written tensor, and types stay."""
    written, new = node.all_input_nodes[0], out_of_place(node.target)
    alone = is_elementwise(written.target) and len(written.users) == 1
    if not alone or not is_elementwise(new) or not all(map(is_tensor, node.all_input_nodes)):
        return False
    args, kwargs = map_arg((node.args, node.kwargs), without_values)
    return bool(new(*args, **kwargs).dtype == written.meta["val"].dtype)


def is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def out_of_place(target: Any) -> Any:
    """The operator that answers what `target` writes: ``aten.add.Tensor`` for ``aten.add_.Tensor``. None without one.

    Its arguments are those of `target`: ``pow.Scalar`` takes a number and a tensor, ``pow_.Scalar`` a tensor and a number.
    """
    packet = getattr(aten, target._schema.name.removeprefix("aten::").removesuffix("_"), None)
    found = getattr(packet, target._overloadname, None)
    return found if found is not None and arguments(found) == arguments(target) else None


def arguments(target: Any) -> list[tuple[str, str]]:
    """The names and types of the arguments of an operator."""
    return [(argument.name, str(argument.type)) for argument in target._schema.arguments]


def is_elementwise(target: Any) -> bool:
    """Whether an operator answers a new tensor, entry by entry.

    Operators that consist of others are left out: `positive` and `conj_physical` may answer their input itself.
    """
    if not isinstance(target, OpOverload) or torch.Tag.pointwise not in target.tags or target._schema.is_mutable:
        return False
    return not torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), COMPOSITE)


def without_values(node: Node) -> Tensor:
    """A tensor of the node's type and number of axes."""
    value = node.meta["val"]
    return torch.empty([1] * value.ndim, dtype=value.dtype, device="meta")


def prepared(program: ExportedProgram, opset: int) -> ExportedProgram:
    """Returns the program as `torch.onnx.export` would translate it. `program` may be changed."""
    keep_small(program.graph)
    found = decomposed(program, opset)
    numbers_behind(found.graph)
    promote(found.graph_module)
    found._graph_module = remove_assertion_nodes(found.graph_module)
    as_python_computes(found.graph)
    return found


def numbers_behind(graph: Graph) -> None:
    """Makes ``1.0 - x`` the sum ``-x + 1.0``, in place: torch's pass promotes no tensor behind a number."""
    for node in graph.find_nodes(op="call_function", target=aten.sub.Tensor):
        number, tensor = node.args
        if isinstance(number, Node) or not isinstance(tensor, Node) or node.kwargs:
            continue
        if node.meta["val"].dtype == tensor.meta["val"].dtype:  # nothing to promote
            continue
        if tensor.meta["val"].dtype == torch.uint8:  # has no negative numbers
            continue
        with graph.inserting_before(node):
            turned = graph.call_function(aten.neg.default, (tensor,))
        turned.meta = {**node.meta, "val": tensor.meta["val"]}
        node.target, node.args = aten.add.Tensor, (turned, number)


def decomposed(program: ExportedProgram, opset: int) -> ExportedProgram:
    """Returns the program in operators that have a translation: itself if it consists of such operators.

    An explanation was traced with these decompositions. What this trace left answered NotImplemented, and would again: a
    second trace gives the same graph, and takes an eighth of an export.
    """
    table, left = decompositions(opset), program.graph_module.meta.get(LEFT, {})
    if (
        is_plain(program.graph)
        and not is_blocked(program.graph)
        and any(target in table and left.get(target) is not table[target] for target in calls(program.graph))
    ):
        run = PropagateUnbackedSymInts(program.graph_module).run
        program = retraced(program, run, table, composite=True)
    return program if all_translated(program.graph, opset) else functional(program, opset)


def is_blocked(graph: Graph) -> bool:
    """Whether a graph cuts tokens into blocks, whose sizes torch knows nothing about: a second trace would ask for them."""
    return not {torch.ops.edgexf.places.default, torch.ops.edgexf.middle.default}.isdisjoint(calls(graph))


def functional(program: ExportedProgram, opset: int) -> ExportedProgram:
    """Decomposes a program in torch's way, which leaves no writes.

    Its views become reshapes, which are views where they can be: what a decomposition answers may lie otherwise in memory
    than what was captured.
    """
    for node in program.graph.find_nodes(op="call_function", target=aten.view.default):
        node.target = aten.reshape.default
    program.graph_module.recompile()
    with without_stacks():
        return program.run_decompositions(dict(without_views(opset)))  # type: ignore[no-any-return]


def is_plain(graph: Graph) -> bool:
    """Whether a graph writes to no tensor and holds no other graph, such as the body of an autocast or of a vmap."""
    return not any(
        target._schema.is_mutable and target is not aten.detach_.default
        if isinstance(target, OpOverload)
        else holds_another(target)
        for target in calls(graph)
    )


def holds_another(target: Any) -> bool:
    """Whether a call holds another graph, or begins or ends one, as those of torch.func do."""
    return isinstance(target, HigherOrderOperator) or getattr(target, "__module__", None) == TRANSFORMS


def all_translated(graph: Graph, opset: int) -> bool:
    """Whether the exporter can take each call of a graph as it is."""
    registry = translations(opset)
    return all(
        target in DROPPED or (registry.is_registered(target) and not target._schema.is_mutable)
        if isinstance(target, OpOverload)
        else not holds_another(target)
        for target in calls(graph)
    )


def calls(graph: Graph) -> list[Any]:
    return [node.target for node in graph.nodes if node.op == "call_function"]


class Promotion(type_promotion._TypePromotionInterpreter):
    """torch's pass, but a node that stays as it is keeps the value that was noted: torch runs every node again."""

    def run_node(self, n: Node) -> Any:
        """Promotes the inputs of a node and returns its value."""
        if n.op != "call_function" or "val" not in n.meta:
            return Interpreter.run_node(self, n)
        rule = type_promotion.get_type_promotion_rule(n, self.type_promotion_table)
        if rule is not None:
            with self._set_current_node(n):
                self._maybe_promote_node(n, rule)
        return n.meta["val"]


def promote(graph: GraphModule) -> None:
    """Inserts casts where torch promotes types, in the graph and in the graphs inside it."""
    for module in graph.modules():
        step = type_promotion.InsertTypePromotion(module)  # type: ignore[arg-type]
        step.interpreter = Promotion(module, PROMOTIONS)  # type: ignore[arg-type]
        step.run()
