"""Which module of the model each node of an explanation comes from, also in the reverse pass.

In: a captured body, whose nodes know their module. Out: a module that computes the same. While it is traced, each node of the
trace notes the module that it comes from, in ``node.meta["nn_module_stack"]``:

    forward   y = x W       in layers.0.expand   ->  layers.0.expand
    reverse   dx = dy W^T   by autograd          ->  layers.0.expand too, the module of y
    sum       dx + dx'      by autograd          ->  the innermost module around those that read x

torch can copy such notes to a reverse pass by the number of the forward operator (`copy_fwd_metadata_to_bw_nodes`). It has one
number for all functions of autograd that an operator makes, and none for functions that differentiate inside themselves, as
rules of an explanation do. So here the functions of autograd are told their module when they are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.traceback import get_current_meta
from torch.utils._pytree import tree_leaves

STACK = "nn_module_stack"  # torch's name: by some key, the path and the class of each module around a node, the outermost first
ROOT = "program."  # where a body holds the program of `edgexf_exporters.capture`, which holds the model as ``module``
MODEL = "module"
SUMS = "edgexf_sums"  # the key of a note between two functions of autograd, with what their sums come from

Stack = Mapping[str, tuple[str, Any]]


class Following(nn.Module):
    """The body of a model, which notes in a trace where its nodes come from."""

    def __init__(self, body: GraphModule) -> None:
        super().__init__()
        self.body = body

    def forward(self, *inputs: Tensor) -> Any:
        return Run(self.body).run(*inputs)


class Within(nn.Module):
    """A module of the model, at its path, which notes in a trace where its nodes come from."""

    def __init__(self, module: nn.Module, path: str) -> None:
        super().__init__()
        self.module, self.path = module, path

    def forward(self, *inputs: Tensor) -> Any:
        with within({self.path: (f"{MODEL}.{self.path}" if self.path else MODEL, type(self.module))}):
            return self.module(*inputs)


class Run(Interpreter):
    """One run of a body.

    Attributes:
        told: the functions of autograd that were told their module. torch makes a new object for one that nobody holds.
        readers: the modules of the functions that give a gradient to a place of a function.
        given: the places that have a gradient so far, in the reverse pass with the number `task`.
    """

    def __init__(self, body: GraphModule) -> None:
        super().__init__(body)
        self.extra_traceback = False  # an error of a rule stays one sentence
        self.told: set[Any] = set()
        self.readers: dict[Any, list[Stack]] = defaultdict(list)
        self.given: set[Any] = set()
        self.task = -1

    @contextmanager
    def _set_current_node(self, node: Node) -> Iterator[None]:
        """Sets what a trace notes of a node: its modules, and nothing else."""
        with within(shortened(node.meta.get(STACK, {}))):
            yield

    def run_node(self, n: Node) -> Any:
        """Runs a node, and tells the functions of autograd that it makes where they come from."""
        value = super().run_node(n)
        waiting = [leaf.grad_fn for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        while waiting:
            function = waiting.pop()
            if function is not None and function not in self.told:
                self.told.add(function)
                self.tell(function, shortened(n.meta.get(STACK, {})))
                waiting += [before for before, _ in function.next_functions]
        return value

    def tell(self, function: Any, stack: Stack) -> None:
        """Lets a trace note where the reverse pass of a function of autograd comes from, and the sums that follow it.

        An error in between leaves the note until `preserve_node_meta` ends, in which each trace stands.
        """
        places = function.next_functions
        for place in places:
            self.readers[place].append(stack)

        def enter(_: Any) -> None:
            get_current_meta()[STACK] = dict(stack)

        def leave(gradients: Any, _: Any) -> None:
            task = torch._C._current_graph_task_id()
            if task != self.task:
                self.task, self.given = task, set()
            got = [place for place, gradient in zip(places, gradients, strict=True) if gradient is not None]
            sums = [around(self.readers[place]) for place in got if place in self.given]
            self.given.update(got)
            get_current_meta()[STACK] = {SUMS: sums}

        function.register_prehook(enter)
        function.register_hook(leave)


def shortened(stack: Stack) -> Stack:
    """The modules from the model on, by the paths that they have in a program that predicts."""
    return {
        key: (path.removeprefix(ROOT), kind) for key, (path, kind) in stack.items() if path.startswith(f"{ROOT}{MODEL}")
    }


def around(stacks: Iterable[Stack]) -> Stack:
    """The modules around all of several places."""
    levels = zip(*(stack.values() for stack in stacks), strict=False)
    same = takewhile(lambda level: len({path for path, _ in level}) == 1, levels)
    return {level[0][0]: level[0] for level in same}


@contextmanager
def within(stack: Stack) -> Iterator[None]:
    """Lets a trace note that its nodes come from a module."""
    meta = get_current_meta()
    before = meta.get(STACK, {})
    meta[STACK] = dict(stack)
    try:
        yield
    finally:
        meta[STACK] = before


def note_sums(graph: Graph) -> None:
    """Notes the modules of the sums that autograd makes of several gradients of a value.

    They directly follow a function that foretold them. Where the trace has others there, nobody knows their module.
    """
    between: dict[int, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        if SUMS in node.meta.get(STACK, {}):
            between[id(node.meta[STACK][SUMS])].append(node)
    for nodes in between.values():
        foretold = nodes[0].meta[STACK][SUMS]
        sums = list(takewhile(lambda node: node.target is torch.ops.aten.add.Tensor, nodes))
        for node in nodes:
            node.meta[STACK] = {}
        if len(sums) == len(foretold):
            for node, stack in zip(sums, foretold, strict=True):
                node.meta[STACK] = stack
