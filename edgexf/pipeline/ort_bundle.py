"""Graphs in ONNX Runtime's own format beside those of a bundle, for reduced builds on phones.

    bundle on disk -> .ort files of its graphs, and the operators they need -> the bundle, revised

    onnx/model.ort, onnx/explain.ort, ...   one for each graph of the chosen dtypes, with its weights inside
    onnx/required_operators.config          what a reduced build must hold

This needs onnxruntime alone, so a device can do it. It is a step of its own on a bundle, as quantization is. Two alternatives were
weighed. An option of `edgexf export` would convert only what was just exported, and not what a device quantizes later. A
folder of its own for the .ort files would need a second manifest to be checked by. The files are listed in the manifest,
and belong to the graph of the same name, so the manifest needs no new key and older readers take the bundle too.

Candidates of a bundle are not converted: a reduced build holds the operators of one set of graphs.

`edgexf.load` runs the ONNX files: a Python package of ONNX Runtime is no reduced build. `edgexf.verify` runs both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgexf import bundle, names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.errors import UsageError
from edgexf.extras import require_onnxruntime
from edgexf.progress import Progress, unseen


def to_ort(
    path: str | os.PathLike[str], dtypes: Sequence[str] = (), overwrite: bool = False, progress: Progress = unseen
) -> Bundle:
    """Adds .ort files to a bundle in place, and the list of the operators that they need. Returns the bundle.

    Args:
        path: the folder of the bundle.
        dtypes: the dtypes whose graphs are converted; by default all of the bundle.
        overwrite: replaces .ort files that the bundle holds already.
        progress: is told of each graph.

    UsageError for a dtype that the bundle lacks, or for .ort files without `overwrite`; BundleError for a graph that can't
    be converted. The old .ort files all go, so that the list of operators tells of those that are there.
    """
    require_onnxruntime()
    from edgexf.pipeline.ort_format import in_ort_format, required_operators

    folder = Path(path).resolve()
    bundle.remove_remains(folder)
    manifest = bundle.read(folder)
    graphs = list(chosen(manifest, dtypes))
    there = names.ort_files(manifest.files)
    if there and not overwrite:
        raise UsageError(f"a bundle takes .ort files once, got {there[0]} in {folder.name} already; pass --overwrite.")
    made = {}
    for graph in graphs:
        with progress(None, f"converting {graph.file}"):
            made[names.ort_file(graph.file)] = in_ort_format(folder / graph.file)
    files = {**made, names.OPERATORS_FILE: required_operators(made)}
    bundle.revise(folder, files, there, manifest, manifest)
    return Bundle(folder, bundle.read(folder))


def chosen(manifest: Manifest, dtypes: Sequence[str]) -> Iterator[Graph]:
    """Yields the graphs of the dtypes, or all. UsageError, naming the bundle's graphs, for a dtype that it lacks."""
    for dtype in dtypes or dict.fromkeys(graph.dtype for graph in manifest.variants):
        yield from manifest.in_dtype(dtype).variants
