"""The file of a bundle that says where the time of each graph goes: to which modules, and to how many operations.

In: a `GraphProfile` for each graph, by its path. Out: JSON, and back. Law: ``read_profile(written_profile(graphs)) == graphs``.

    {"schema_version": 2, "graphs": {"onnx/model.onnx": {
        "modules": {"MatMul_3": "layers.0.attention.query", "Add_9": "layers.0"},
        "operations": [...],       as in `edgexf.bundle.operations`, or null
        "uncounted": ["Scan"]}}}   why they are null, as far as operators are the reason

The file holds paths of modules only, no lines of source files. The path of the model itself is empty. Files of schema 1 are
read too, since bundles are exported once and measured for years: they hold the modules of the graph that predicts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgexf.bundle.operations import Operations
from edgexf.checks import require
from edgexf.errors import BundleError, quoted
from edgexf.records import Record

PROFILE_SCHEMA = 2
MODULES_ALONE = 1  # the schema that held the modules of graphs, and nothing else
LARGEST = 64 << 20  # bytes; the graphs of a large model have some 100,000 nodes
SAYS = {PROFILE_SCHEMA: "graphs", MODULES_ALONE: "modules"}


class GraphProfile(Record):
    """What is known of a graph.

    Attributes:
        modules: the path of a module of the user's model by the name of the node that comes from it. A node of the reverse
            pass of an explanation comes from the module whose step it reverses. Nodes of no module are left out.
        operations: of its matrix products; None where they are no formula.
        uncounted: operators with products that nobody could count.
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    operations: Operations | None = None
    uncounted: tuple[str, ...] = ()


Profile = Mapping[str, GraphProfile]  # by the path of a graph


def written_profile(graphs: Profile) -> bytes:
    return json.dumps(
        {"schema_version": PROFILE_SCHEMA, "graphs": {path: values_of(graph) for path, graph in graphs.items()}},
        separators=(",", ":"),
    ).encode() + b"\n"  # fmt: skip


def values_of(graph: GraphProfile) -> dict[str, Any]:
    operations = None if graph.operations is None else graph.operations.to_list()
    return {"modules": dict(graph.modules), "operations": operations, "uncounted": list(graph.uncounted)}


def read_profile(data: bytes) -> Profile:
    """The inverse of `written_profile`. BundleError for anything else."""
    try:
        require(len(data) <= LARGEST, f"a profile must have at most {LARGEST:,} bytes", len(data))
        values = json.loads(data)
        version = values["schema_version"]
        known = type(version) is int and set(values) == {"schema_version", SAYS.get(version)}
        graphs = {path: graph_of(version, graph) for path, graph in values[SAYS[version]].items()} if known else {}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise BundleError(
            f"a profile must say the modules and operations of graphs, got something else ({str(error)[:200]}); export the bundle again."
        ) from error
    if not known:
        raise BundleError(
            f"a profile must hold graphs and the schema_version {PROFILE_SCHEMA}, got {quoted(sorted(values))} and {quoted(version)}; export the bundle again, or load it with the edgexf that wrote it."
        )
    return graphs


def graph_of(version: int, values: Any) -> GraphProfile:
    """Raises ValueError, TypeError, KeyError or AttributeError for anything else."""
    if version == MODULES_ALONE:
        return GraphProfile(modules_of(values))
    require(set(values) == {"modules", "operations", "uncounted"}, "a graph must hold modules and operations", values)
    operations = None if values["operations"] is None else Operations.from_list(values["operations"])
    uncounted = values["uncounted"]
    named = isinstance(uncounted, list) and all(isinstance(name, str) for name in uncounted)
    require(named, "uncounted must be names of operators", uncounted)
    return GraphProfile(modules_of(values["modules"]), operations, tuple(uncounted))


def modules_of(values: Any) -> dict[str, str]:
    paths = isinstance(values, dict) and all(isinstance(path, str) for path in values.values())
    require(paths, "modules must be paths by the names of nodes", values)
    return dict(values)
