"""From a model to a verified bundle, and from a bundle to a verdict: the only module that sees both sides.

    export: specification and weights -> graphs -> passes -> contract grid -> bundle on disk
    verify: bundle on disk -> hashes, contract, golden outputs on this device

It composes and decides nothing that a module below decides.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.errors import ExportError, MissingExtraError, UsageError, VerificationError
from edgexf.manifest import Bytes, Graph, Limits, Manifest, Tensor
from edgexf.spec import CLASS_ID, MAX_BYTES, PADDING_ID, VOCABULARY, EncoderSpec

if TYPE_CHECKING:
    from edgexf.models.encoder import Encoder
    from edgexf_exporters.graphs import Graphs
    from edgexf_exporters.variant import Variant
    from edgexf_exporters.verify import Cell, Feeds, GridResult
    from edgexf_runtimes.golden import GoldenRow

OPSETS = range(20, 24)
GOLDEN_BYTES = 1_000_000
TASK = "content-kind"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and what it holds."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class Verdict:
    """What `verify` found: the golden cells run on this device, and the tolerance that they must keep."""

    bundle: Bundle
    rows: tuple[GoldenRow, ...]
    tolerance: float

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.rows)

    @property
    def passed(self) -> bool:
        return all(row.worst <= self.tolerance for row in self.rows)


def silent(_: str) -> None:
    """Progress that nobody watches."""


def export(
    source: Encoder | None = None,
    *,
    variant: str | None = None,
    output: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    explain: str | Sequence[str] = ("gradient",),
    grid: str = "quick",
    opset: int = 20,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Exports a reference model and verifies it; nothing is written unless every check passes.

    `source` is an encoder of `edgexf.models`; without it `variant` names an architecture, with the
    trained weights or those of `weights`, a safetensors file, and `sizes` (such as ``layers``) where
    that file carries no specification. `output` defaults to ``./<name>-bundle``. `explain` names the
    methods to compile, none for ``()``. Raises UsageError for a wrong choice, ExportError where the model
    does not trace or the weights do not fit, VerificationError where a graph differs from the model.
    """
    require_export()
    from edgexf_exporters import graphs
    from edgexf_exporters.verify import check_grid

    check_grid(grid)
    if opset not in OPSETS:
        raise UsageError(
            f"opset must be {OPSETS.start} to {OPSETS.stop - 1}, got {opset}; leave it out for {OPSETS.start}."
        )
    methods = (explain,) if isinstance(explain, str) else tuple(explain)
    encoder, record = choose_model(source, variant, weights, sizes or {})
    if encoder.spec.vocabulary < VOCABULARY:
        raise UsageError(
            f"a model that reads bytes needs a vocabulary of at least {VOCABULARY}, got {encoder.spec.vocabulary}; "
            "bundles of other inputs come later."
        )
    come_from = origin(source, weights, record.name)
    target = Path(output) if output is not None else Path(f"{record.name}-bundle")
    bundle.check_target(target, overwrite)
    progress("tracing and translating")
    made = graphs.make(encoder, methods, opset)
    progress("verifying against the eager model")
    files = graph_files(made)
    result, golden = verify_graphs(encoder, made, files, record, grid)
    if result.failures:
        raise VerificationError(
            f"a graph must agree with its model within {record.tolerance:g} on the {grid} grid, got "
            f"{len(result.failures)} failures ({'; '.join(result.failures[:3])}); no bundle was written.",
            result.to_dict(),
        )
    progress("writing")
    manifest = make_manifest(encoder, made, record, result, opset, come_from)
    extra = {
        names.CONFIG_FILE: json_bytes(config(encoder.spec, record.name)),
        names.GOLDEN_FILE: golden,
        names.CARD_FILE: card(record, result, weights is None and source is None).encode(),
    }
    path = bundle.write(target, {**files, **extra}, manifest, overwrite)
    return Bundle(path, bundle.read(path))


def require_export() -> None:
    """MissingExtraError where the packages that only an export needs are not installed."""
    for package in ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors"):
        try:
            version(package)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"an export needs the extra `export`, got no {package} in this environment; install it with: pip install 'edgexf[export]'."
            ) from error


def choose_model(
    source: Encoder | None, variant: str | None, weights: str | os.PathLike[str] | None, sizes: Mapping[str, int]
) -> tuple[Encoder, Variant]:
    """The encoder to export and the record of its attention."""
    from edgexf.models.encoder import Encoder
    from edgexf.models.weights import load, shipped
    from edgexf_exporters import VARIANTS
    from edgexf_exporters.swap import variants_in

    known = {record.name: record for record in VARIANTS}
    if variant is not None and variant not in known:
        raise UsageError(f"variant must be one of {', '.join(known)}, got {variant!r}; choose one of them.")
    if source is not None:
        if not isinstance(source, Encoder):
            raise UsageError(
                f"a model must be an encoder of edgexf.models, got {type(source).__name__}; build one with edgexf.models.build."
            )
        found = variants_in(source)
        if len(found) != 1 or variant not in (None, found[0].name) or weights is not None or sizes:
            raise UsageError(
                "an encoder brings its own attention, weights and sizes, got others beside it; leave them out."
            )
        return source, found[0]
    if variant is None:
        raise UsageError(f"an export needs a model or a variant ({', '.join(known)}), got neither; name one.")
    if weights is None:
        if sizes:
            raise UsageError(
                f"sizes describe weights of your own, got {', '.join(sizes)} without them; add --weights FILE or leave the sizes out."
            )
        return load(shipped(variant)), known[variant]
    return load_own(Path(weights), variant, sizes), known[variant]


def load_own(path: Path, variant: str, sizes: Mapping[str, int]) -> Encoder:
    """A user's weights: the file's own specification, or the variant's with `sizes` where it carries none."""
    from edgexf.models.weights import load, read

    own = read(path)[1]
    chosen = resize(own or default_spec(variant), sizes)
    encoder = load(path, chosen)
    if type(chosen.attention) is not type(default_spec(variant).attention):
        raise ExportError(
            f"weights must be of the variant that is named, got {chosen.attention.kind} attention for {variant}; name its own variant."
        )
    return encoder


def default_spec(variant: str) -> EncoderSpec:
    from edgexf.models import architecture

    return EncoderSpec(attention=architecture(variant).attention)


def resize(spec: EncoderSpec, sizes: Mapping[str, int]) -> EncoderSpec:
    """`spec` with other sizes, the attention's own among them; UsageError for a size that it does not have."""
    of_attention = {field.name for field in fields(spec.attention)}
    of_encoder = {field.name for field in fields(spec)} - {"attention", "labels"}
    unknown = sorted(set(sizes) - of_attention - of_encoder)
    if unknown:
        raise UsageError(
            f"sizes of a {spec.attention.kind} model are {', '.join(sorted(of_attention | of_encoder))}, got {', '.join(unknown)}; leave them out."
        )
    changed: dict[str, Any] = {name: size for name, size in sizes.items() if name in of_encoder}
    attention = replace(spec.attention, **{name: size for name, size in sizes.items() if name in of_attention})
    return replace(spec, attention=attention, **changed)


def graph_files(made: Graphs) -> dict[str, bytes]:
    """The graphs after the passes, by their path in the bundle, with one file of weights."""
    import onnx_ir as ir

    from edgexf.passes import PIPELINES
    from edgexf.passes.share import share_weights

    protos = {names.PREDICT_FILE: made.predict}
    protos |= {path: made.explain[method] for method, path in explain_files(made).items()}
    tidy = PIPELINES["export"](made.block)
    return share_weights(
        {path: tidy(ir.serde.deserialize_model(proto)).model for path, proto in protos.items()}, names.WEIGHTS_FILE
    )


def verify_graphs(
    encoder: Encoder, made: Graphs, files: Mapping[str, bytes], record: Variant, grid: str
) -> tuple[GridResult, bytes]:
    """The contract grid over the very bytes that will be written, and golden.npz."""
    import onnx

    from edgexf.golden import pack
    from edgexf_exporters import inspect_graph, verify
    from edgexf_runtimes.providers import create

    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for path, data in files.items():
            bundle.write_synced(Path(folder, path), data)
        sessions = {path: create(Path(folder, path), ("cpu",), None) for path in files if path.endswith(".onnx")}
        explain = [sessions[path] for path in explain_files(made).values()]
        predict = sessions[names.PREDICT_FILE]
        result, references = verify.compare(encoder, predict, explain, grid, made.block, record.tolerance)
        result.checks |= verify.check_behaviour(encoder.spec, made.block, [predict, *explain])
        for path in sessions:
            graph = onnx.load(str(Path(folder, path)))
            result.checks[f"no random operator in {path}"] = inspect_graph.random_operators(graph)
            if (
                record.subquadratic and encoder.spec.max_length >= 2 * made.block
            ):  # else there is no length to grow with
                found = inspect_graph.quadratic_tensors(graph, made.block, encoder.spec.max_length)
                result.checks[f"nothing grows as length squared in {path}"] = found
    golden = pack({cell_name(cell): tensors for cell, tensors in sampled(references)}, GOLDEN_BYTES)
    return result, golden


def cell_name(cell: Cell) -> str:
    return f"length{cell.length}-batch{cell.batch}-{cell.mask}"


def sampled(references: Sequence[tuple[Cell, Feeds]]) -> list[tuple[Cell, Feeds]]:
    """The cells that golden.npz takes: batch 1 first, since it holds more lengths in the same bytes."""
    return sorted(references, key=lambda reference: reference[0].batch)


def make_manifest(
    encoder: Encoder, made: Graphs, record: Variant, result: GridResult, opset: int, origin: Mapping[str, str]
) -> Manifest:
    spec = encoder.spec
    tokens, classes = (-1, -1), (-1, len(spec.labels))
    inputs = tuple(Tensor(name, "int64", tokens) for name in (names.INPUT_IDS, names.ATTENTION_MASK))
    logits = Tensor(names.LOGITS, "float32", classes)
    target = Tensor(names.TARGET, "float32", classes)
    explained = (logits, Tensor(names.RELEVANCE, "float32", tokens), Tensor(names.RESIDUAL, "float32", (-1,)))
    return Manifest(
        name=record.name,
        task=TASK,
        limits=Limits(spec.vocabulary, 2, spec.max_length, made.block, 0, record.padding),
        labels=spec.labels,
        preprocess=Bytes("bytes", CLASS_ID, PADDING_ID, min(MAX_BYTES, spec.max_length - 1)),
        variants=(
            Graph("predict", "fp32", names.PREDICT_FILE, inputs, (logits,)),
            *(
                Graph(method, "fp32", path, (*inputs, target), explained)
                for method, path in explain_files(made).items()
            ),
        ),
        tolerance=record.tolerance,
        grid=result.to_dict(),
        provenance={
            **origin,
            "variant": record.name,
            "attention": record.attention,
            "spec": spec.to_dict(),
            "opset": opset,
            "versions": {name: version(name) for name in ("edgexf", "torch", "onnx", "onnxscript", "onnxruntime")},
        },
    )


def explain_files(made: Graphs) -> dict[str, str]:
    """The explain graphs' paths in the bundle by their method."""
    return {method: names.explain_file(method, place == 0) for place, method in enumerate(made.explain)}


def origin(source: Encoder | None, weights: str | os.PathLike[str] | None, name: str) -> dict[str, str]:
    """Where the weights came from: their kind and, for a file, its hash; never a path."""
    if source is not None:
        return {"source": "an encoder in memory"}
    if weights is not None:
        return {"source": "weights of the user", "weights_sha256": bundle.sha256(Path(weights))}
    from edgexf.models.weights import shipped

    return {"source": f"reference weights {name}", "weights_sha256": bundle.sha256(shipped(name))}


def config(spec: EncoderSpec, name: str) -> dict[str, Any]:
    """config.json, in the words that readers of the ecosystem look for."""
    return {
        "architectures": ["Encoder"],
        "model_type": f"edgexf-{name}",
        "vocab_size": spec.vocabulary,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "max_position_embeddings": spec.max_length,
        "id2label": {str(index): label for index, label in enumerate(spec.labels)},
        "label2id": {label: index for index, label in enumerate(spec.labels)},
        "transformers.js_config": {"dtype": "fp32", "use_external_data_format": True},
    }


def json_bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n"


def card(record: Variant, result: GridResult, trained: bool) -> str:
    """The bundle's README.md: the trained model's card where it is one, and the grid."""
    from edgexf.models.weights import shipped
    from edgexf.report import markdown_table

    head = f"# {record.name}\n\nExported by edgexf.\n"
    if trained:
        head = shipped(record.name).with_suffix(".md").read_text(encoding="utf-8")
    table = markdown_table(GRID_HEADER, grid_cells(result.to_dict()))
    return (
        f"{head}\n## Agreement with the eager model\n\nWorst relative difference {result.worst:.1e}, tolerance {result.tolerance:g}, "
        f"{result.grid} grid.\n\n{table}"
    )


GRID_HEADER = ("length", "batch", "mask", "logits", "relevance", "residual")


def grid_cells(grid: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells of each row of a manifest's grid, as `GRID_HEADER` names them."""
    return [
        (
            f"{row['length']:,}",
            str(row["batch"]),
            row["mask"],
            *(difference_text(row[name]) for name in GRID_HEADER[3:]),
        )
        for row in grid["rows"]
    ]


def difference_text(difference: float | None) -> str:
    """A relative difference, or a dash where there was nothing to compare."""
    return "-" if difference is None else f"{difference:.1e}"


def verify(path: str | os.PathLike[str]) -> Verdict:
    """Hashes, contract and golden outputs of a bundle on this device, without torch. BundleError where it was changed."""
    from edgexf_runtimes import golden, load

    with load(path) as session:
        rows = tuple(golden.check(session))
        return Verdict(Bundle(Path(path), session.manifest), rows, session.manifest.tolerance)
