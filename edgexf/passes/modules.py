"""Remember which module of the user's model each node comes from, for latency reports.

    before  node.metadata_props {"pkg.torch.onnx.name_scopes": "['', 'module', 'module.layers.0', 'add_3']", ...}
    after   node.meta {"edgexf.module": ["module", "layers", "0"]}, which is in memory only

`tidy` drops all metadata of the exporter, among it lines of source files. What is kept here is written to a file of its own:
paths of modules, and nothing else. An explain graph has none, because its trace runs through a reverse pass.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"  # the paths of the modules around a node, the outermost first, and the node
MODULE = "edgexf.module"


class KeepModules(ir.passes.InPlacePass):
    """Notes the innermost module around each node of the graph."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for node in model.graph:
            scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))[:-1]
            if scopes:
                node.meta[MODULE] = scopes[-1].split(".")
        return ir.passes.PassResult(model, modified=False)


def modules_of(model: ir.Model, known: Callable[[str], bool]) -> dict[str, str]:
    """The path of the user's module by the name of the node; empty for the model itself.

    A program holds the model as ``module``. What a lowering puts around modules is left out: `known` says whether the
    model has a submodule at a path.
    """
    found = {}
    for node in model.graph:
        if node.name and MODULE in node.meta:
            path = ""
            for part in node.meta[MODULE][1:]:
                longer = f"{path}.{part}" if path else part
                path = longer if known(longer) else path
            found[node.name] = path
    return found
