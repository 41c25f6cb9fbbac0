"""What config.json tells transformers.js about a bundle.

In: the values of config.json, and the paths of the bundle's files. Out: the values with the key
``transformers.js_config``: the dtype to load by default, and which graphs keep their weights in a file of their own.

The reader asks for ``<graph>_data`` of the graphs that ``use_external_data_format`` names. With ``true`` in place of
the map it asks for it beside every graph, and fails where a graph holds its weights itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from edgexf import names


def in_browsers(config: Mapping[str, Any], files: Iterable[str], dtype: str, webgpu: str = "") -> bytes:
    """The bytes of config.json. `dtype` is loaded by default, `webgpu` on WebGPU if it is not empty."""
    told: dict[str, Any] = {"dtype": dtype, "use_external_data_format": external_data(files)}
    if webgpu:
        told["device_config"] = {"webgpu": {"dtype": webgpu}}
    return json.dumps({**config, names.JS_CONFIG: told}, indent=1, ensure_ascii=False).encode() + b"\n"


def external_data(files: Iterable[str]) -> dict[str, bool]:
    """The graphs whose weights stand in a file of their own, by file name."""
    paths = set(files)
    return {PurePosixPath(path).name: True for path in sorted(paths) if f"{path}_data" in paths}
