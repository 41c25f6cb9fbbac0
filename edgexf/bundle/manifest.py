"""The manifest of a bundle, `edgexf.json`: all that a reader needs to run its graphs.

In: keyword arguments, or a JSON object. Out: frozen values that were checked for kind and range.
Law: ``Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from edgexf import names
from edgexf.bundle.preprocess import Bytes, Text
from edgexf.bundle.signature import Axis, Signature
from edgexf.checks import is_count, require, require_text
from edgexf.errors import BundleError, UsageError

SCHEMA_VERSION = 1
SCORES = ("softmax", "sigmoid", "none")
PADDINGS = re.compile(r"invariant|none|to_multiple\([1-9]\d*\)")


@dataclass(frozen=True)
class Limits:
    """What an input must keep to. Lengths and `block` are in tokens; ids are below `vocab`.

    `max_global` is how many global tokens a caller may choose; `token_types` are below it, and 0 for a model without
    them. `padding` is ``invariant`` (padding behind the real tokens changes no answer), ``to_multiple(n)`` (padding to
    the next multiple changes none) or ``none``. Up to `switch` tokens the model attends fully, 0 for one that never
    changes its attention with the length.
    """

    vocab: int
    min_length: int
    max_length: int
    block: int
    max_global: int
    padding: str
    token_types: int = 0
    switch: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("vocab", 1),
            ("min_length", 1),
            ("max_length", 1),
            ("block", 1),
            ("max_global", 0),
            ("token_types", 0),
            ("switch", 0),
        ):
            value = getattr(self, name)
            require(is_count(value, least), f"{name} must be a whole number of at least {least}", value)
        require(self.switch <= self.max_length, "switch must not be over max_length", self.switch)
        require(self.min_length <= self.max_length, "min_length must not be over max_length", self.min_length)
        require(
            isinstance(self.padding, str) and PADDINGS.fullmatch(self.padding) is not None,
            "padding must be invariant, to_multiple(n) or none",
            self.padding,
        )

    def padded(self, length: int) -> int:
        """The length that the model's own padding rule makes of one: inputs with the same one may share a batch."""
        if self.padding == "invariant":
            return self.max_length
        if self.padding == "none":
            return length
        multiple = int(self.padding.removeprefix("to_multiple(").removesuffix(")"))
        return -(-length // multiple) * multiple


@dataclass(frozen=True)
class Globals:
    """Which tokens are global where a caller names none: ``none``, ``first``, the ``question`` or the ``answer``.

    In a pair of RoBERTa's line, which holds three `separator_id`, the question is all before the first of them and the
    answer all behind the second; -1 for a rule that needs none.
    """

    rule: str
    separator_id: int

    def __post_init__(self) -> None:
        require_rule(self.rule, ("none", "first"), ("question", "answer"), self.separator_id)


@dataclass(frozen=True)
class Segments:
    """Which segment a token belongs to where a caller gives no ``token_type_ids``: 0 for all of them (``zeros``), or 1
    behind the first `separator_id` of a row that holds one (``context``), as the model itself fills them in.
    """

    rule: str
    separator_id: int

    def __post_init__(self) -> None:
        require_rule(self.rule, ("zeros",), ("context",), self.separator_id)


def require_rule(rule: str, plain: tuple[str, ...], separated: tuple[str, ...], separator_id: int) -> None:
    require(rule in (*plain, *separated), f"rule must be one of {', '.join((*plain, *separated))}", rule)
    require(
        is_count(separator_id, 0 if rule in separated else -1), "separator_id must be the id of a token", separator_id
    )


@dataclass(frozen=True)
class Decoder:
    """The second half of a sequence-to-sequence model: at most `max_length` tokens, which begin with `start_id`.

    Where a caller gives none, they are the input itself, one place later.
    """

    start_id: int
    max_length: int

    def __post_init__(self) -> None:
        for name, least in (("start_id", 0), ("max_length", 1)):
            require(is_count(getattr(self, name), least), f"{name} must be a whole number of at least {least}", self)


@dataclass(frozen=True)
class Tensor:
    """A graph's input or output. `shape` holds sizes, and names of axes (``batch``, ``sequence``) whose size varies."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        require_text(self)
        fits = all(isinstance(size, str) or is_count(size, 1) for size in self.shape)
        require(fits, "a shape must hold whole numbers and names of axes", self.shape)

    @property
    def has_tokens(self) -> bool:
        """Whether the axis behind the batch is that of the tokens."""
        return self.shape[1:2] == (names.SEQUENCE,)

    @property
    def varies(self) -> bool:
        """Whether an axis behind the batch has no fixed size."""
        return any(isinstance(size, str) for size in self.shape[1:])


@dataclass(frozen=True)
class Graph:
    """A graph file.

    Attributes:
        method: ``predict``, or the explanation that the graph computes besides.
        dtype: how its weights are stored, a name of `edgexf.dtypes`.
        file: its path in the bundle.
        inputs, outputs: its tensors in order.
        profile: the path in the bundle of a JSON file for latency reports, which maps each node to the module of the
            user's model that it came from, and counts the operations that are necessary; empty where there is none.
    """

    method: str
    dtype: str
    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profile: str = ""

    def __post_init__(self) -> None:
        require_text(self)

    @property
    def row_axis(self) -> int:
        """The axis of samples of an explanation's relevance, which is that of its residual."""
        shapes = {output.name: output.shape for output in self.outputs}
        rows = shapes[names.RESIDUAL]
        return shapes[names.RELEVANCE].index(rows[0]) if rows else 0


@dataclass(frozen=True)
class Manifest:
    """All that a reader needs. `variants` are the graphs, the first of them predicts.

    `globals` is there for a model with global tokens, `segments` for one with several token types, `decoder` for one of
    sequence to sequence, `preprocess` for one that reads bytes or text. `signature` is there for a module of one's own,
    whose inputs it describes instead of the limits. `scores` says how logits of classes become
    scores: ``softmax``, ``sigmoid`` (each class on its own) or ``none`` (a number, not a class).
    `tolerance` bounds the relative difference from the eager model. `grid` and `provenance` are for people
    and are not interpreted.
    """

    name: str
    task: str
    limits: Limits
    labels: tuple[str, ...]
    preprocess: Bytes | Text | None
    variants: tuple[Graph, ...]
    tolerance: float
    grid: dict[str, Any]
    provenance: dict[str, Any]
    globals: Globals | None = None
    segments: Segments | None = None
    decoder: Decoder | None = None
    signature: Signature | None = None
    scores: str = "softmax"
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    digest: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_text(self)
        require(all(isinstance(label, str) for label in self.labels), "labels must be text", self.labels)
        require(len(set(self.labels)) == len(self.labels), "labels must be different names", self.labels)
        require(
            isinstance(self.tolerance, float) and 0 < self.tolerance <= 0.1,
            "tolerance must be in (0, 0.1]",
            self.tolerance,
        )
        require(
            bool(self.variants) and self.variants[0].method == "predict",
            "the first variant must predict",
            self.variants,
        )
        require(self.scores in SCORES, f"scores must be one of {', '.join(SCORES)}", self.scores)
        if self.preprocess is not None:
            self.preprocess.check(self.limits.vocab, self.limits.max_length)
        inputs = [tensor.name for tensor in self.variants[0].inputs]
        for name, there in (
            ()
            if self.signature is not None
            else (
                (names.GLOBAL_ATTENTION_MASK, self.globals is not None and self.limits.max_global > 0),
                (names.TOKEN_TYPE_IDS, self.segments is not None and self.limits.token_types > 0),
                (names.DECODER_INPUT_IDS, self.decoder is not None),
            )
        ):
            require((name in inputs) == there, f"{name} must be an input exactly where the limits speak of it", inputs)
        for output in self.variants[0].outputs:
            columns = output.shape[-1:] == (len(self.labels),)
            labelled = bool(self.labels) and output.name == names.LOGITS
            require(not labelled or columns, "logits must have a column for each label", output.shape)

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON but for its `digest`, which is made of all others."""
        values = asdict(self)
        del values["digest"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_dict`. BundleError for an unknown schema version or key, and a value of the wrong kind."""
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"schema_version of a bundle must be {SCHEMA_VERSION}, got {version!r}; "
                "load it with the edgexf that wrote it, or export it again."
            )
        try:
            manifest = cls(**restored(record(cls, values, left_out=("digest",))))
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise BundleError(
                f"{names.MANIFEST_FILE} must hold values of the right kind, got others ({error}); export the bundle again."
            ) from error
        return with_new_dimensions(manifest)

    def graph(self, method: str, dtype: str) -> Graph:
        """The graph for a method; UsageError names those that the bundle has."""
        for graph in self.variants:
            if (graph.method, graph.dtype) == (method, dtype):
                return graph
        have = ", ".join(f"{graph.method} in {graph.dtype}" for graph in self.variants)
        raise UsageError(f"a graph must be one of the bundle's ({have}), got {method} in {dtype}; choose one of them.")

    def in_dtype(self, dtype: str) -> Self:
        """The manifest with the graphs of one dtype alone. UsageError names those that the bundle has."""
        self.graph("predict", dtype)
        return replace(self, variants=tuple(graph for graph in self.variants if graph.dtype == dtype))

    @property
    def samples(self) -> str:
        """The name of the axis along which answers are independent; empty for a module without one."""
        return names.BATCH if self.signature is None else self.signature.samples

    def targets(self, method: str) -> tuple[Tensor, ...]:
        """What a method's graph takes besides the inputs, in order."""
        graph = self.graph(method, self.variants[0].dtype)
        return graph.inputs[len(self.variants[0].inputs) :]

    @property
    def methods(self) -> tuple[str, ...]:
        """Explanation methods in the bundle, the default first."""
        return tuple(graph.method for graph in self.variants[1:] if graph.dtype == self.variants[0].dtype)


def restored(known: dict[str, Any]) -> dict[str, Any]:
    """A JSON object's values with their records and tuples."""

    def as_list(name: str, holder: Mapping[str, Any]) -> list[Any]:
        require(isinstance(holder[name], list | tuple), f"{name} must be a list", holder[name])
        return list(holder[name])

    def tensors(name: str, graph: Mapping[str, Any]) -> tuple[Tensor, ...]:
        rows = [record(Tensor, tensor) for tensor in as_list(name, graph)]
        return tuple(Tensor(**{**row, "shape": tuple(as_list("shape", row))}) for row in rows)

    graphs = [record(Graph, graph, may_lack=("profile",)) for graph in as_list("variants", known)]
    return {
        **known,
        "limits": Limits(**record(Limits, known["limits"])),
        **{name: optional(kind, known[name]) for name, kind in OPTIONAL.items()},
        "variants": tuple(
            Graph(**{**graph, "inputs": tensors("inputs", graph), "outputs": tensors("outputs", graph)})
            for graph in graphs
        ),
        "labels": tuple(as_list("labels", known)),
        "files": dict(known["files"]),
    }


OPTIONAL: dict[str, tuple[type, ...]] = {
    "preprocess": (Bytes, Text),
    "globals": (Globals,),
    "segments": (Segments,),
    "decoder": (Decoder,),
    "signature": (Signature,),
}


def optional(kinds: tuple[type, ...], values: Any) -> Any:
    """A record or None; where there are several kinds the value names its own."""
    if values is None:
        return None
    if kinds == (Signature,):
        known = record(Signature, values)
        return Signature(**{**known, "axes": tuple(Axis(**record(Axis, axis)) for axis in known["axes"])})
    named = [kind for kind in kinds if isinstance(values, Mapping) and values.get("kind") == kind.__name__.lower()]
    chosen = (named or kinds)[0]
    return chosen(**record(chosen, values))


def with_new_dimensions(manifest: Manifest) -> Manifest:
    """The manifest with the dimension names of today, where its graphs were written before them.

    A manifest in which one of the new names occurs stays as it is: a custom module may call an axis ``batch``.
    """
    tensors = [tensor for graph in manifest.variants for tensor in (*graph.inputs, *graph.outputs)]
    new = names.OLD_DIMENSIONS
    if {size for tensor in tensors for size in tensor.shape} & set(new.values()):
        return manifest

    def renamed(old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(one, shape=tuple(new.get(str(size), size) for size in one.shape)) for one in old)

    variants = tuple(
        replace(one, inputs=renamed(one.inputs), outputs=renamed(one.outputs)) for one in manifest.variants
    )
    signature = manifest.signature
    if signature is not None:
        axes = tuple(replace(axis, name=new.get(axis.name, axis.name)) for axis in signature.axes)
        signature = replace(signature, axes=axes, samples=new.get(signature.samples, signature.samples))
    return replace(manifest, variants=variants, signature=signature)


def record(cls: type, values: Any, left_out: tuple[str, ...] = (), may_lack: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values as keyword arguments of `cls`; BundleError names unknown and missing keys.

    A file holds none of the fields `left_out`; a file of an earlier edgexf may lack those of `may_lack`.
    """
    wanted = {item.name for item in fields(cls)} - set(left_out)
    found = set(values) if isinstance(values, Mapping) else set()
    unknown, missing = sorted(found - wanted), sorted(wanted - found - set(may_lack))
    if unknown or missing:
        raise BundleError(
            f"{cls.__name__} in {names.MANIFEST_FILE} takes exactly the keys {sorted(wanted)}, got unknown "
            f"{unknown} and missing {missing}; export the bundle again."
        )
    return dict(values)
