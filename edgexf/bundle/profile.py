"""The file of a bundle that says which module of the user's model each node of a graph comes from.

In: paths of modules by node, for each graph. Out: JSON, and back. Law: ``read_modules(written_modules(modules)) == modules``.

    {"schema_version": 1, "modules": {"onnx/model.onnx": {"MatMul_3": "layers.0.attention.query", "Add_9": "layers.0"}}}

The file holds paths of modules only, no lines of source files. The path of the model itself is empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from edgexf.errors import BundleError

PROFILE_SCHEMA = 1
Modules = Mapping[str, Mapping[str, str]]  # by the path of a graph, then by the name of a node


def written_modules(modules: Modules) -> bytes:
    return json.dumps({"schema_version": PROFILE_SCHEMA, "modules": modules}, separators=(",", ":")).encode() + b"\n"


def read_modules(data: bytes) -> Modules:
    """The inverse of `written_modules`. BundleError for anything else."""
    try:
        values = json.loads(data)
        modules: Modules = values["modules"]
        texts = [path for nodes in modules.values() for path in nodes.values()]
        right = set(values) == {"schema_version", "modules"} and all(isinstance(path, str) for path in texts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"a profile must say the module of each node, got something else ({error}); export the bundle again."
        ) from error
    version = values.get("schema_version")
    if not right or version != PROFILE_SCHEMA:
        raise BundleError(
            f"a profile must hold modules and the schema_version {PROFILE_SCHEMA}, got {sorted(values)} and {version!r}; export the bundle again, or load it with the edgexf that wrote it."
        )
    return modules
