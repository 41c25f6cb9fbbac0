"""The graphs of a bundle as its manifest lists them: their tensors, and the candidates that may stand in for them.

In: keyword arguments, or a JSON object. Out: frozen values that were checked for kind and range.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

from edgexf import names
from edgexf.checks import is_count, require, require_text
from edgexf.dtypes import NAMES
from edgexf.records import Record

# The operators of a graph: those of the ONNX standard, or also those that ONNX Runtime adds for a provider.
PORTABLE, ORT_CPU, ORT_CUDA = "portable", "ort-cpu", "ort-cuda"
OPS = (PORTABLE, ORT_CPU, ORT_CUDA)
CANDIDATE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Tensor(Record):
    """An input or output of a graph. `shape` holds sizes, and names of axes whose size varies (``batch_size``)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        require_text(self)
        fits = all(isinstance(size, str) or is_count(size, 1) for size in self.shape)
        require(fits, "a shape must hold whole numbers and names of axes", self.shape)

    @property
    def has_tokens(self) -> bool:
        """Whether the axis behind the batch is the axis of tokens."""
        return self.shape[1:2] == (names.SEQUENCE,)

    @property
    def varies(self) -> bool:
        """Whether an axis behind the batch has no fixed size."""
        return any(isinstance(size, str) for size in self.shape[1:])


class Graph(Record):
    """A graph file.

    Attributes:
        method: ``predict``, or the explanation method that the graph computes too.
        dtype: how the weights of the graph are stored: a name of `edgexf.dtypes`.
        file: the path of the graph in the bundle.
        inputs, outputs: the tensors of the graph in order.
        profile: the path of a JSON file in the bundle for latency reports; empty without such a file. The file says which
            module of the user's model each node of the graph comes from, and how many operations it needs; see
            `edgexf.bundle.profile`.
        ops: the operators that the graph may hold, a name of `OPS`.
    """

    method: str
    dtype: str
    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profile: str = ""
    ops: str = PORTABLE

    def __post_init__(self) -> None:
        require_text(self)
        require(self.ops in OPS, f"ops must be one of {', '.join(OPS)}", self.ops)
        require(self.dtype in NAMES, f"dtype must be one of {', '.join(NAMES)}", self.dtype)

    @property
    def row_axis(self) -> int:
        """The axis of samples in the relevance of an explanation: the axis that the residual has too."""
        shapes = {output.name: output.shape for output in self.outputs}
        rows = shapes[names.RESIDUAL]
        return shapes[names.RELEVANCE].index(rows[0]) if rows else 0


class Candidate(Record):
    """Other graphs of a model that answer the same, and may be faster on a device.

    Attributes:
        name: the name by which a caller asks for them, such as ``ort-cpu``.
        graphs: the graphs. Each stands in for the bundle's graph of the same method and dtype.
        preferred: a session takes them by default where they are made for its provider; else by name alone, or when
            `edgexf tune` found them the fastest.
    """

    name: str
    graphs: tuple[Graph, ...]
    preferred: bool = False

    def __post_init__(self) -> None:
        require_text(self)
        require(
            CANDIDATE.fullmatch(self.name) is not None,
            "a candidate's name must be words of a-z and 0-9 with - between",
            self.name,
        )
        require(bool(self.graphs), "a candidate must hold graphs", self.graphs)
        require(isinstance(self.preferred, bool), "preferred must be true or false", self.preferred)

    @property
    def ops(self) -> str:
        """The operators of its graphs."""
        return self.graphs[0].ops

    def in_dtype(self, dtype: str) -> Candidate | None:
        """The candidate with its graphs of one dtype; None if it has none."""
        graphs = tuple(graph for graph in self.graphs if graph.dtype == dtype)
        return replace(self, graphs=graphs) if graphs else None


def without_usual(graph: dict[str, Any]) -> dict[str, Any]:
    """The values of a graph for JSON, without `ops` that are portable, which earlier readers don't know."""
    return {name: value for name, value in graph.items() if name != "ops" or value != PORTABLE}


def written(candidate: Candidate) -> dict[str, Any]:
    """The values of a candidate for JSON."""
    values = asdict(candidate)
    return {**values, "graphs": [without_usual(graph) for graph in values["graphs"]]}


def candidate_file(path: str, name: str) -> str:
    """The path of a candidate's graph, made from the `path` of the graph that it stands in for."""
    stem, _, kind = path.rpartition(".")
    return f"{stem}_{name.replace('-', '_')}.{kind}"
