"""Traces a function over the inputs of a captured program, so that the trace is a program with these inputs.

In: an `ExportedProgram`, and a function of its inputs. Out: an `ExportedProgram` with the same dynamic axes.

    program(ids [batch, length])  +  run(ids) -> outputs   ->   program(ids [batch, length]) -> outputs

The sizes of the inputs are the symbols of the program. So nothing has to be captured again, which takes as long as the
trace itself. A trace may ask for a size, and then it holds for this size alone. torch.export refuses such a trace, and so
does this module.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from operator import attrgetter
from typing import Any

from sympy import expand
from torch import SymInt, Tensor
from torch._guards import detect_fake_mode
from torch._ops import OpOverload
from torch.export import ExportedProgram, ModuleCallEntry
from torch.export.graph_signature import (
    ArgumentSpec,
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymIntArgument,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node, config
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.traceback import preserve_node_meta
from torch.utils._pytree import tree_structure

from edgexf.errors import ExportError

Decompositions = Mapping[OpOverload, Callable[..., Any]]
REMEDY = (
    "compute with tensors instead of asking for values or looping over a length, "
    "lower the module, or fix the axis with dynamic_shapes"
)
LEFT = "edgexf_left"  # where a trace keeps the operators that it holds though it has decompositions of them, and these


def retraced(
    program: ExportedProgram, run: Callable[..., Any], table: Decompositions, composite: bool
) -> ExportedProgram:
    """Returns the trace of `run` over the inputs of `program`.

    Args:
        program: the program with the inputs; lifted weights are inputs too.
        run: takes these inputs and returns a tuple of tensors. Other tensors that it holds become constants.
        table: the decompositions of operators.
        composite: operators that consist of other operators stay whole where `table` lacks them. If not, `run` may
            differentiate.

    Raises ExportError if the trace holds for some sizes only.
    """
    old = program.graph.find_nodes(op="placeholder")
    inputs = [node.meta["val"] for node in old]
    with free(detect_fake_mode(inputs)), without_stacks(), preserve_node_meta():  # the modules that nodes come from
        traced = make_fx(run, decomposition_table=table, tracing_mode="symbolic", pre_dispatch=composite)(*inputs)
    share_sizes(traced.graph)
    given = [
        replace(spec, arg=replace(spec.arg, name=node.name))
        for spec, node in zip(
            program.graph_signature.input_specs, traced.graph.find_nodes(op="placeholder"), strict=True
        )
    ]
    constants = lift(traced, program.constants)
    lifted = [InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(name), name) for name in constants]
    (output,) = traced.graph.find_nodes(op="output")
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, as_argument(value), None) for value in output.args[0]]
    signature = ExportGraphSignature([*lifted, *given], outputs)
    (call,) = (entry.signature for entry in program.module_call_graph if entry.fqn == "")
    found = ExportedProgram(
        root=traced,
        graph=traced.graph,
        graph_signature=signature,
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=[ModuleCallEntry("", replace(call, out_spec=tree_structure(tuple(outputs))))],
        constants={**program.constants, **constants},
        verifiers=program.verifiers,
    )
    found.graph_module.meta[LEFT] = {
        node.target: table[node.target] for node in traced.graph.nodes if node.target in table
    }
    return found


@contextmanager
def without_stacks() -> Iterator[None]:
    """Keeps the lines of code that a node comes from out of a trace: nothing reads them, and they take time to collect."""
    before = config.do_not_emit_stack_traces
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


@contextmanager
def free(mode: Any) -> Iterator[None]:
    """Lets a trace use tensors of its own, and checks that no size of an input becomes a number or an expression.

    Two sizes may become one, since the batch of each input is a size. `dynamic_axes` gives all other axes different sizes.
    Bounds are not checked: torch asks whether a batch is below 16 to choose among kernels, and the trace is the same for
    all of them.
    """
    sizes: ShapeEnv = mode.shape_env
    before = mode.allow_non_fake_inputs, sizes.frozen
    symbols, known = set(sizes.var_to_range), set(sizes.replacements)
    mode.allow_non_fake_inputs, sizes.frozen = True, False
    try:
        yield
    finally:
        mode.allow_non_fake_inputs, sizes.frozen = before
    for symbol in symbols & sizes.replacements.keys() - known:
        size = sizes.replacements[symbol]
        if not size.is_symbol:  # the same axis of two inputs
            raise ExportError(
                f"a model must trace with dynamic batch and length, got a size that became {size}; {REMEDY}."
            )


def share_sizes(graph: Graph) -> None:
    """Keeps one node for each size, the first node that computes the size, and none for a number."""
    first: dict[Any, Any] = {}
    for node in graph.nodes:
        size = node.meta.get("val")
        if isinstance(size, SymInt):
            value = expand(size.node.shape_env.simplify(size.node.expr))
            node.replace_all_uses_with(int(value) if value.is_number else first.setdefault(value, node))
    graph.eliminate_dead_code()


def as_argument(value: Any) -> ArgumentSpec:
    """What an output is: a tensor, a size, or a constant such as None."""
    if not isinstance(value, Node):
        return ConstantArgument(name="", value=value)
    return (SymIntArgument if isinstance(value.meta.get("val"), SymInt) else TensorArgument)(value.name)


def lift(module: GraphModule, taken: Container[str]) -> dict[str, Tensor]:
    """Makes inputs of the tensors that a trace holds, by names that are not taken. Returns the tensors by name."""
    constants: dict[str, Tensor] = {}
    free_names = (name for name in map("constant_{}".format, count()) if name not in taken)
    start = next(iter(module.graph.nodes))
    for node in module.graph.find_nodes(op="get_attr"):
        with module.graph.inserting_before(start):
            lifted = module.graph.placeholder(next(free_names))
        lifted.meta = node.meta
        constants[lifted.name] = attrgetter(str(node.target))(module).detach()
        node.replace_all_uses_with(lifted)
        module.graph.erase_node(node)
    return constants
