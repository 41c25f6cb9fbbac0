"""The manifest of a bundle, `edgexf.json`: all that a reader needs to run its graphs.

In: keyword arguments, or a JSON object. Out: frozen values that were checked for kind and range.
Law: ``Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any, Self

from edgexf import names
from edgexf.bundle.dimensions import with_new_dimensions
from edgexf.bundle.embedding import Embedding
from edgexf.bundle.graphs import PORTABLE, without_usual, written
from edgexf.bundle.graphs import Candidate as Candidate
from edgexf.bundle.graphs import Graph as Graph
from edgexf.bundle.graphs import Tensor as Tensor
from edgexf.bundle.preprocess import Bytes, Image, Text
from edgexf.bundle.signature import Axis, Signature, Within
from edgexf.bundle.steps import steps_of
from edgexf.checks import is_count, require, require_text, wrong_keys
from edgexf.errors import BundleError, UsageError, enumerated, quoted
from edgexf.records import Record

SCHEMA_VERSION = 1
SCORES = ("softmax", "sigmoid", "none")
PADDINGS = re.compile(r"invariant|none|to_multiple\([1-9]\d*\)")


class Limits(Record):
    """What an input must keep to. Lengths are in tokens.

    Attributes:
        vocab: token ids are below this number.
        min_length, max_length: the smallest and the largest length.
        block: the number of tokens in a block of the graphs.
        max_global: how many global tokens a caller may choose.
        padding: ``invariant`` if padding behind the real tokens changes no output, ``to_multiple(n)`` if padding to the
            next multiple of n changes no output, else ``none``.
        token_types: token types are below this number; 0 for a model without token types.
        switch: up to this length the model attends fully; 0 if its attention never changes with the length.
        pads_left: padding may also stand before the real tokens of a row.
    """

    vocab: int
    min_length: int
    max_length: int
    block: int
    max_global: int
    padding: str
    token_types: int = 0
    switch: int = 0
    pads_left: bool = False

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
        require(isinstance(self.pads_left, bool), "pads_left must be true or false", self.pads_left)
        require(self.min_length <= self.max_length, "min_length must not be over max_length", self.min_length)
        require(
            isinstance(self.padding, str) and PADDINGS.fullmatch(self.padding) is not None,
            "padding must be invariant, to_multiple(n) or none",
            self.padding,
        )

    def padded(self, length: int) -> int:
        """The length after padding by the model's rule. Inputs with the same padded length may share a batch."""
        if self.padding == "invariant":
            return self.max_length
        if self.padding == "none":
            return length
        multiple = int(self.padding.removeprefix("to_multiple(").removesuffix(")"))
        return -(-length // multiple) * multiple


class Globals(Record):
    """Which tokens are global if a caller names none.

    Attributes:
        rule: ``none``, ``first``, ``question`` or ``answer``.
        separator_id: the id of the separator token; -1 for a rule that needs none. A pair for a model of the RoBERTa
            family holds three separators. The question is all before the first one, the answer all behind the second.
    """

    rule: str
    separator_id: int

    def __post_init__(self) -> None:
        require_rule(self.rule, ("none", "first"), ("question", "answer"), self.separator_id)


class Segments(Record):
    """Which segment a token belongs to if a caller gives no ``token_type_ids``, as the model itself fills them in.

    Attributes:
        rule: ``zeros`` for 0 at all tokens; ``context`` for 1 behind the first separator of a row, if it holds any.
        separator_id: the id of the separator token; -1 for a rule that needs none.
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


class Decoder(Record):
    """The decoder of a sequence-to-sequence model: at most `max_length` tokens, which begin with `start_id`.

    If a caller gives no decoder tokens, they are the input tokens, each of them one place later.
    """

    start_id: int
    max_length: int

    def __post_init__(self) -> None:
        for name, least in (("start_id", 0), ("max_length", 1)):
            require(is_count(getattr(self, name), least), f"{name} must be a whole number of at least {least}", self)


class Manifest(Record):
    """All that a reader needs to run the graphs of a bundle.

    Attributes:
        name: the name of the model.
        task: what the model is used for.
        limits: what an input must keep to.
        labels: the names of the classes; empty if they have no names.
        preprocess: how bytes, text or a picture becomes inputs; None for a model that takes arrays.
        variants: the graphs. The first graph predicts.
        tolerance: the bound of the relative difference from the eager model.
        grid, provenance: the result of the contract grid, and how the model was exported; for people, not interpreted.
        globals: the rule for global tokens; None for a model without global tokens.
        segments: the rule for segments; None for a model without several token types.
        decoder: the limits of the decoder; None for a model that is not sequence-to-sequence.
        signature: the inputs of a custom module, which it describes instead of `limits`; None for other models.
        candidates: other graphs that answer the same, for `edgexf tune` and for providers with operators of their own.
        embedding: how texts become embeddings; None for a model whose checkpoint says nothing of that.
        scores: how logits of classes become scores: ``softmax``, ``sigmoid`` (each class separately) or ``none`` (a
            number, not a class).
        files: the sha256 and the size in bytes of each listed file, by path.
        schema_version: the version of this format.
        digest: the sha256 of all other values; empty before the bundle is written.
    """

    name: str
    task: str
    limits: Limits
    labels: tuple[str, ...]
    preprocess: Bytes | Text | Image | None
    variants: tuple[Graph, ...]
    tolerance: float
    grid: dict[str, Any]
    provenance: dict[str, Any]
    globals: Globals | None = None
    segments: Segments | None = None
    decoder: Decoder | None = None
    signature: Signature | None = None
    embedding: Embedding | None = None
    scores: str = "softmax"
    candidates: tuple[Candidate, ...] = ()
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
        check_candidates(self.candidates, self.variants)
        require(self.scores in SCORES, f"scores must be one of {', '.join(SCORES)}", self.scores)
        inputs = {tensor.name: tensor.shape for tensor in self.variants[0].inputs}
        if self.preprocess is not None:
            self.preprocess.check(self.limits.vocab, self.limits.max_length, inputs)
        for name, there in (
            ()
            if self.signature is not None
            else (
                (names.GLOBAL_ATTENTION_MASK, self.globals is not None and self.limits.max_global > 0),
                (names.TOKEN_TYPE_IDS, self.segments is not None and self.limits.token_types > 0),
                (names.DECODER_INPUT_IDS, self.decoder is not None),
            )
        ):
            require((name in inputs) == there, f"{name} must be an input exactly where limits speak of it", [*inputs])
        for output in self.variants[0].outputs:
            columns = output.shape[-1:] == (len(self.labels),)
            labelled = bool(self.labels) and output.name == names.LOGITS
            require(not labelled or columns, "logits must have a column for each label", output.shape)

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON without the `digest`, which is made of all other values, and without an `embedding` that
        is None and candidates that are none, which earlier readers don't know.
        """
        values = asdict(self)
        values["variants"] = tuple(map(without_usual, values["variants"]))
        values["candidates"] = tuple(map(written, self.candidates))
        unset = ("digest", *(name for name in ("embedding", "candidates") if not getattr(self, name)))
        return {name: value for name, value in values.items() if name not in unset}

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
            known = record(cls, values, left_out=("digest",), may_lack=("embedding", "candidates"))
            manifest: Manifest = cls(**restored(known))
            if any("profile" not in graph for graph in known["variants"]):  # a key that came with today's names
                manifest = with_new_dimensions(manifest)
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise BundleError(
                f"{names.MANIFEST_FILE} must hold values of the right kind, got others ({error}); export the bundle again."
            ) from error
        return manifest

    def graph(self, method: str, dtype: str) -> Graph:
        """The graph for a method in a dtype. UsageError, naming the graphs of the bundle, if it has no such graph."""
        for graph in self.variants:
            if isinstance(method, str) and (graph.method, graph.dtype) == (method, dtype):
                return graph
        have, got = ", ".join(f"{one.method} in {one.dtype}" for one in self.variants), enumerated([method])
        raise UsageError(f"a graph must be one of the bundle's ({have}), got {got} in {dtype}; choose one of them.")

    def in_dtype(self, dtype: str) -> Self:
        """The manifest with the graphs of one dtype only. UsageError, naming the bundle's graphs, if it has none."""
        self.graph("predict", dtype)
        candidates = (one.in_dtype(dtype) for one in self.candidates)
        return replace(
            self,
            variants=tuple(graph for graph in self.variants if graph.dtype == dtype),
            candidates=tuple(one for one in candidates if one is not None),
        )

    def with_candidate(self, name: str) -> Self:
        """The manifest with the graphs of a candidate in place of those that it stands in for; `PORTABLE` names the
        bundle's own graphs. UsageError, naming the candidates, for an unknown name.
        """
        if name == PORTABLE:
            return self
        for one in self.candidates:
            if one.name == name:
                instead = {(graph.method, graph.dtype): graph for graph in one.graphs}
                found = tuple(instead.get((graph.method, graph.dtype), graph) for graph in self.variants)
                return replace(self, variants=found)
        have = ", ".join((PORTABLE, *(one.name for one in self.candidates)))
        raise UsageError(f"a candidate must be one of the bundle's ({have}), got {quoted(name)}; choose one of them.")

    @property
    def samples(self) -> str:
        """The name of the axis along which outputs are independent; empty for a module without such an axis."""
        return names.BATCH if self.signature is None else self.signature.samples

    def targets(self, method: str) -> tuple[Tensor, ...]:
        """The inputs of a method's graph that are no inputs of the predict graph, in order."""
        graph = self.graph(method, self.variants[0].dtype)
        return graph.inputs[len(self.variants[0].inputs) :]

    @property
    def methods(self) -> tuple[str, ...]:
        """The explanation methods of the bundle, the default method first."""
        return tuple(graph.method for graph in self.variants[1:] if graph.dtype == self.variants[0].dtype)


def check_candidates(candidates: Sequence[Candidate], variants: Sequence[Graph]) -> None:
    """Raises ValueError unless each candidate stands in for graphs of the bundle, and has a name of its own."""
    known = [one.name for one in candidates]
    require(len({PORTABLE, *known}) == 1 + len(known), "candidates must have different names", known)
    there = {(graph.method, graph.dtype): (graph.inputs, graph.outputs) for graph in variants}
    for one in candidates:
        kinds = {(graph.method, graph.dtype) for graph in one.graphs}
        alike = len(kinds) == len(one.graphs) and len({graph.ops for graph in one.graphs}) == 1
        require(alike, "a candidate must hold one graph of each method and dtype, all of the same ops", one.name)
    for graph in (graph for one in candidates for graph in one.graphs):
        fits = there.get((graph.method, graph.dtype)) == (graph.inputs, graph.outputs)
        require(fits, "a candidate's graph must have the inputs and outputs of a graph of the bundle", graph.file)


def restored(known: dict[str, Any]) -> dict[str, Any]:
    """The values of a JSON object, with records and tuples in place of objects and lists."""

    def as_list(name: str, holder: Mapping[str, Any]) -> list[Any]:
        require(isinstance(holder[name], list | tuple), f"{name} must be a list", holder[name])
        return list(holder[name])

    def tensors(name: str, graph: Mapping[str, Any]) -> tuple[Tensor, ...]:
        rows = [record(Tensor, tensor) for tensor in as_list(name, graph)]
        return tuple(Tensor(**{**row, "shape": tuple(as_list("shape", row))}) for row in rows)

    def graphs(name: str, holder: Mapping[str, Any]) -> tuple[Graph, ...]:
        rows = [record(Graph, graph, may_lack=("profile", "ops")) for graph in as_list(name, holder)]
        return tuple(
            Graph(**{**one, "inputs": tensors("inputs", one), "outputs": tensors("outputs", one)}) for one in rows
        )

    candidates = [record(Candidate, one) for one in as_list("candidates", {"candidates": (), **known})]
    return {
        **known,
        "limits": Limits(**record(Limits, known["limits"], may_lack=("pads_left",))),
        **{name: optional(kind, known.get(name)) for name, kind in OPTIONAL.items()},
        "variants": graphs("variants", known),
        "candidates": tuple(Candidate(**{**one, "graphs": graphs("graphs", one)}) for one in candidates),
        "labels": tuple(as_list("labels", known)),
        "files": dict(known["files"]),
    }


OPTIONAL: dict[str, tuple[type, ...]] = {
    "preprocess": (Bytes, Text, Image),
    "globals": (Globals,),
    "segments": (Segments,),
    "decoder": (Decoder,),
    "signature": (Signature,),
    "embedding": (Embedding,),
}


def optional(kinds: tuple[type, ...], values: Any) -> Any:
    """A record of one of `kinds`, or None for None. Where `kinds` has several, the values name the kind."""
    if values is None:
        return None
    if kinds == (Signature,):
        known = record(Signature, values, may_lack=("within", "fixed", "frozen", "narrowed", "sampled"))
        read: dict[str, Any] = {"axes": tuple(Axis(**record(Axis, axis)) for axis in known["axes"])}
        read["within"] = {name: Within(**record(Within, one)) for name, one in known.get("within", {}).items()}
        said = {name: tuple(known.get(name, ())) for name in ("fixed", "narrowed", "sampled")}
        return Signature(**{**known, **read, **said})
    named = [kind for kind in kinds if isinstance(values, Mapping) and values.get("kind") == kind.__name__.lower()]
    chosen = (named or kinds)[0]
    known = record(chosen, values)
    return chosen(**known | ({"steps": steps_of(known["steps"])} if chosen is Image else {}))


def record(cls: type, values: Any, left_out: tuple[str, ...] = (), may_lack: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values as keyword arguments of `cls`. BundleError names unknown and missing keys.

    A file holds no field of `left_out`. A file of an earlier edgexf may lack the fields of `may_lack`.
    """
    wrong = wrong_keys(cls, values, left_out, may_lack)
    if wrong:
        raise BundleError(f"{cls.__name__} in {names.MANIFEST_FILE} {wrong}; export the bundle again.")
    return dict(values)
