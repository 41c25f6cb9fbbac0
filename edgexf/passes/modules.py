"""Remember which module of the user's model each node comes from, for latency reports.

    exporting   node.metadata_props {"pkg.torch.onnx.name_scopes": "['', 'module', 'module.layers.0', 'add_3']", ...}
    quantizing  node.metadata_props {"edgexf.module": "layers.0"}, from the profile of the fp32 graph
    after       node.meta {"edgexf.module": "module.layers.0"}, which is in memory only

`tidy` drops all metadata of the exporter, among it lines of source files, and names nodes anew. What is kept here is written to
a file of its own: paths of modules, and nothing else. A pass that puts nodes in the place of others gives them the module of
those: `place_of` and `put`. A node that several modules share belongs to the innermost module around them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile

import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"  # the paths of the modules around a node, the outermost first, and the node
MODULE = "edgexf.module"
MODEL = "module"  # how a program calls the model


class KeepModules(ir.passes.InPlacePass):
    """Notes the innermost module around each node of the graph."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for node in model.graph:
            scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))[:-1]
            place = place_of(node)
            if place is not None:
                scopes = [f"{MODEL}.{place}" if place else MODEL]
            if scopes:
                node.meta[MODULE] = scopes[-1]
        return ir.passes.PassResult(model, modified=False)


def modules_of(model: ir.Model, known: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
    """The path of the user's module by the name of the node; empty for the model itself.

    A program holds the model as ``module``. What a lowering puts around modules is left out: `known` says whether the
    model has a submodule at a path.
    """
    found = {}
    for node in model.graph:
        if node.name and MODULE in node.meta:
            path = ""
            for part in node.meta[MODULE].split(".")[1:]:
                longer = f"{path}.{part}" if path else part
                path = longer if known(longer) else path
            found[node.name] = path
    return found


def tell(model: ir.Model, modules: Mapping[str, str]) -> None:
    """Notes the modules of nodes that a file of modules tells, by the names of the nodes."""
    for node in model.graph:
        put([node], modules.get(node.name or ""))


def place_of(node: ir.Node) -> str | None:
    """The path of the module of a node in a graph that is quantized; None where nobody knows."""
    return node.metadata_props.get(MODULE)


def put(nodes: Iterable[ir.Node], place: str | None) -> None:
    """Notes the path of a module at new nodes, if it is known."""
    for node in nodes if place is not None else ():
        node.metadata_props[MODULE] = str(place)


def place_around(nodes: Iterable[ir.Node]) -> str | None:
    """The path of the innermost module around nodes; None where nobody knows one of them."""
    return around([place_of(node) for node in nodes])


def around(places: Sequence[str | None]) -> str | None:
    """The path of the innermost module around paths."""
    if not places or None in places:
        return None
    same = takewhile(
        lambda parts: len(set(parts)) == 1, zip(*(str(place).split(".") for place in places), strict=False)
    )
    return ".".join(parts[0] for parts in same)


def shared(node: ir.Node | None, place: str | None) -> None:
    """Notes that a node also serves the module at a path: it belongs to the innermost module around both."""
    if node is not None:
        found = around([place_of(node), place])
        node.metadata_props.pop(MODULE, None)
        put([node], found)
