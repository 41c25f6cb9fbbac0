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
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.card import card
from edgexf.errors import ExportError, UsageError, VerificationError
from edgexf.extras import require_packages
from edgexf.manifest import Graph, Manifest

if TYPE_CHECKING:
    from torch import nn

    from edgexf_exporters.graphs import Graphs
    from edgexf_exporters.source import Source
    from edgexf_exporters.verify import GridResult
    from edgexf_runtimes.golden import GoldenRow

OPSETS = range(20, 24)
GOLDEN_BYTES = 1_000_000
UNEXPLAINED = "unexplained"  # in a manifest's provenance: why there is no explain graph
JS_CONFIG = {"dtype": "fp32", "use_external_data_format": True}  # what transformers.js must know of a bundle
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and what it holds."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class Part:
    """The golden cells run in one dtype, and the tolerance that they must keep."""

    dtype: str
    rows: tuple[GoldenRow, ...]
    tolerance: float

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.rows)

    @property
    def passed(self) -> bool:
        return all(row.worst <= self.tolerance for row in self.rows)


@dataclass(frozen=True)
class Verdict:
    """What `verify` found on this device, in every dtype of the bundle, fp32 first."""

    bundle: Bundle
    parts: tuple[Part, ...]

    @property
    def rows(self) -> tuple[GoldenRow, ...]:
        """Those of fp32."""
        return self.parts[0].rows

    @property
    def tolerance(self) -> float:
        return self.parts[0].tolerance

    @property
    def worst(self) -> float:
        return self.parts[0].worst

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)


def silent(_: str) -> None:
    """Progress that nobody watches."""


def export(
    source: nn.Module | str | os.PathLike[str] | None = None,
    *,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    module: str | None = None,
    variant: str | None = None,
    task: str | None = None,
    max_global: int | None = None,
    tokenizer: Any = None,
    output: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    explain: str | Sequence[str] | None = None,
    grid: str = "quick",
    opset: int = 20,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Exports a model and verifies it; nothing is written unless every check passes.

    `source` is a folder that `save_pretrained` wrote, the id of a model on the Hugging Face hub, a model of
    transformers in memory, or an encoder of `edgexf.models`; `task` and `max_global`, the most global tokens a
    row may have, go with it, and for a model in memory its `tokenizer` of transformers. Any other `torch.nn.Module` goes
    with `example_inputs`, a tuple of tensors in the order of its ``forward`` or a dictionary by name: every axis of an
    integer input varies, axes of equal size together; `dynamic_shapes`, as of `torch.export`, says otherwise. `module` names what builds one, as
    ``package.module:factory``, whose weights those of `weights` may replace; see `edgexf_exporters.factory`. Without these `variant` names a
    reference model, with the trained weights or those of `weights`, a safetensors file, and `sizes` (such as
    ``layers``) where that file carries no specification.
    `output` defaults to ``./<name>-bundle``. `explain` names the methods to compile (``attnlrp``, ``cplrp``, ``gradient``,
    ``integrated-gradients``), none for ``()``; by default AttnLRP, where every operator of the model has a rule. Raises UsageError for a wrong choice, ExportError
    where the model does not trace or the weights do not fit, VerificationError where a graph differs.
    """
    require_packages("export", "torch", "onnx", "onnx_ir", "onnxscript", "safetensors")
    from edgexf_exporters import graphs
    from edgexf_exporters.cells import check_grid

    check_grid(grid)
    if opset not in OPSETS:
        raise UsageError(
            f"opset must be {OPSETS.start} to {OPSETS.stop - 1}, got {opset}; leave it out for {OPSETS.start}."
        )
    if module is not None:
        if any(given is not None for given in (source, variant, task, max_global, tokenizer, sizes or None)):
            raise UsageError("a module brings its own attention, sizes and task, got others beside it; leave them out.")
        chosen = choose_factory(module, weights, example_inputs, dynamic_shapes)
    elif source is None:
        if any(given is not None for given in (task, max_global, tokenizer, example_inputs, dynamic_shapes)):
            raise UsageError(
                "task, max_global, tokenizer, example_inputs and dynamic_shapes belong to a model, got one without it; leave it out."
            )
        chosen = choose_reference(variant, weights, sizes or {})
    elif variant is not None or weights is not None or sizes:
        raise UsageError("a model brings its own attention, weights and sizes, got others beside it; leave them out.")
    elif example_inputs is not None or dynamic_shapes is not None:
        chosen = choose_module(source, example_inputs, dynamic_shapes, (task, max_global, tokenizer))
    else:
        chosen = choose_model(source, task, max_global, tokenizer)
    methods = methods_for(chosen, explain)
    target = Path(output) if output is not None else Path(f"{chosen.name}-bundle")
    bundle.check_target(target, overwrite)
    with chosen.quiet(), graphs.frozen(chosen.module):
        progress("tracing and translating")
        made = graphs.make(chosen, methods, opset, asked=explain is not None)
        progress("verifying against the eager model")
        made, files, result, golden = verified(chosen, made, grid, asked=explain is not None)
    if result.failures:
        raise VerificationError(
            f"a graph must agree with its model within {result.tolerance:g} on the {grid} grid, got "
            f"{len(result.failures)} failures ({'; '.join(result.failures[:3])}); no bundle was written.",
            result.to_dict(),
        )
    progress("writing")
    extra = {
        **chosen.files,
        names.CONFIG_FILE: json_bytes({**chosen.config, names.JS_CONFIG: JS_CONFIG}),
        names.GOLDEN_FILE: golden,
        names.CARD_FILE: card(chosen, result).encode(),
    }
    path = bundle.write(target, {**files, **extra}, make_manifest(chosen, made, result, opset), overwrite)
    return Bundle(path, bundle.read(path))


def methods_for(source: Source, explain: str | Sequence[str] | None) -> tuple[str, ...]:
    """The methods to compile; where none is named, the first that there is, for a model that it can explain."""
    if explain is None:
        from edgexf_exporters.explain import METHODS

        return (next(iter(METHODS)),) if source.target is not None else ()
    return (explain,) if isinstance(explain, str) else tuple(explain)


def choose_reference(variant: str | None, weights: str | os.PathLike[str] | None, sizes: Mapping[str, int]) -> Source:
    """A variant with its trained weights or the user's."""
    from edgexf_exporters import VARIANTS, reference

    if variant is None:
        known = ", ".join(record.name for record in VARIANTS if record.reference)
        raise UsageError(f"an export needs a model or a variant ({known}), got neither; name one.")
    return reference.from_variant(variant, None if weights is None else Path(weights), sizes)


def choose_model(
    source: nn.Module | str | os.PathLike[str], task: str | None, max_global: int | None, tokenizer: Any
) -> Source:
    """A checkpoint of transformers by its folder or hub id, or a model in memory."""
    from edgexf.models.encoder import Encoder
    from edgexf_exporters import reference

    if isinstance(source, Encoder):
        if task is not None or max_global is not None or tokenizer is not None:
            raise UsageError(
                "task, max_global and tokenizer belong to a model of transformers, got them beside an encoder; leave them out."
            )
        return reference.from_encoder(source)
    bases = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    if isinstance(source, str | os.PathLike) or "transformers" in bases:
        require_packages("export", "transformers", "optimum")
        from transformers import PreTrainedModel

        from edgexf_exporters import checkpoint

        if isinstance(source, str | os.PathLike) and tokenizer is not None:
            raise UsageError("a checkpoint brings its own tokenizer, got another beside it; leave it out.")
        if isinstance(source, str | os.PathLike):
            return checkpoint.from_checkpoint(os.fspath(source), task, max_global)
        if isinstance(source, PreTrainedModel) and task is None:
            return checkpoint.from_model(source, max_global, tokenizer=tokenizer)
        if isinstance(source, PreTrainedModel):
            raise UsageError(f"a model in memory has its task already, got {task!r} beside it; leave it out.")
    raise UsageError(
        f"a module that is neither an encoder of edgexf.models nor a model of transformers needs example_inputs, got {type(source).__name__} without; "
        "give a tuple of tensors that its forward takes."
    )


def choose_factory(
    reference: str, weights: str | os.PathLike[str] | None, example_inputs: Any, dynamic_shapes: Any
) -> Source:
    """A module by the name of its factory, which may bring example inputs and dynamic shapes."""
    from edgexf_exporters import factory
    from edgexf_exporters.module import from_module

    built, examples, shapes = factory.build(reference)
    if weights is not None:
        factory.load_weights(built, Path(weights))
    examples = example_inputs if example_inputs is not None else examples
    if examples is None:
        examples = factory.guess_examples(built)
    origin = {"source": reference, **({} if weights is None else {"weights_sha256": bundle.sha256(Path(weights))})}
    return from_module(built, examples, shapes if dynamic_shapes is None else dynamic_shapes, origin)


def choose_module(source: Any, example_inputs: Any, dynamic_shapes: Any, others: tuple[Any, ...]) -> Source:
    """Any module, by inputs that it answers."""
    from torch import nn

    from edgexf_exporters.module import from_module

    if not isinstance(source, nn.Module) or example_inputs is None or any(given is not None for given in others):
        raise UsageError(
            f"example_inputs go with a torch.nn.Module, and dynamic_shapes with them; task, max_global and tokenizer don't, got {type(source).__name__}; leave the others out."
        )
    return from_module(source, example_inputs, dynamic_shapes)


def graph_files(source: Source, made: Graphs) -> dict[str, bytes]:
    """The graphs after the passes, by their path in the bundle, with one file of weights."""
    import onnx_ir as ir

    from edgexf.passes import PIPELINES
    from edgexf.passes.edges import Edges
    from edgexf.passes.same_weights import same_weights
    from edgexf.passes.share import share_weights

    protos = {names.PREDICT_FILE: made.predict}
    protos |= {path: made.explain[method] for method, path in explain_files(made).items()}
    given, found = source.explained_by(path=True, weights=True)
    shapes = {tensor.name: tensor.shape for tensor in (*source.tensors, *source.outputs, *given, *found)}
    switch = source.limits.switch if made.framed else 0
    tidy = PIPELINES["export"](Edges(made.block, source.padding_id, shapes, switch, made.absent))
    models = {path: tidy(ir.serde.deserialize_model(proto)).model for path, proto in protos.items()}
    weights = {name: weight for name, weight in source.module.named_parameters() if weight.element_size() == 4}
    same_weights(models, ((name, weight.detach().cpu().numpy()) for name, weight in weights.items()))
    return share_weights(models, names.WEIGHTS_FILE)


def verified(
    source: Source, made: Graphs, grid: str, asked: bool
) -> tuple[Graphs, dict[str, bytes], GridResult, bytes]:
    """The graphs, their files, the grid's result and golden.npz. An explanation that nobody `asked` for by name is left
    out where the untouched model can't be explained by its rules, and the reason is told; one that differs is a failure.
    """
    files = graph_files(source, made)
    try:
        return made, files, *verify_graphs(source, made, files, grid)
    except ExportError as error:
        if asked or not made.explain:
            raise
        made = replace(made, explain={}, unexplained=str(error))
    files = graph_files(source, made)
    return made, files, *verify_graphs(source, made, files, grid)


def verify_graphs(source: Source, made: Graphs, files: Mapping[str, bytes], grid: str) -> tuple[GridResult, bytes]:
    """The contract grid over the very bytes that will be written, and golden.npz."""
    import onnx

    from edgexf.golden import pack
    from edgexf_exporters import inspect_graph, ties, verify
    from edgexf_runtimes.providers import create

    variant = source.variant
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for path, data in files.items():
            bundle.write_synced(Path(folder, path), data)
        sessions = {path: create(Path(folder, path), ("cpu",), None) for path in files if path.endswith(".onnx")}
        explain = {method: sessions[path] for method, path in explain_files(made).items()}
        predict = sessions[names.PREDICT_FILE]

        @cache
        def choosing() -> list[Any]:
            """The same graphs, which also answer their discrete choices."""
            count = len(ties.choices(onnx.load(str(Path(folder, names.PREDICT_FILE)), load_external_data=False)))
            paths = [ties.with_choices(Path(folder, path), count) for path in sessions]
            return [create(path, ("cpu",), None) for path in paths]

        asked = choosing if source.chooses else None
        result, references = verify.compare(source, predict, explain, grid, made.block, variant.tolerance, asked)
        result.checks |= verify.check_behaviour(source, made.block, [predict, *explain.values()])
        for path in sessions:
            graph = onnx.load(str(Path(folder, path)), load_external_data=False)
            result.checks[f"no random operator in {path}"] = inspect_graph.random_operators(graph)
            if variant.subquadratic:
                found = inspect_graph.quadratic_tensors(Path(folder, path), source.tensors, made.block, source.limits)
                if found is not None:
                    result.checks[f"nothing grows as length squared in {path}"] = found
        if source.own is not None:
            missed = verify.check_uncovered(source, source.own, predict, made.guards, variant.tolerance)
            result.checks["sizes that the trace does not cover agree"] = missed
            result.growth = inspect_graph.growth(Path(folder, names.PREDICT_FILE), source.own)
    # Batch 1 first, since it holds more lengths in the same bytes.
    sampled = sorted(references, key=lambda reference: reference[0].batch)
    return result, pack({cell.name: tensors for cell, tensors in sampled}, GOLDEN_BYTES)


def make_manifest(source: Source, made: Graphs, result: GridResult, opset: int) -> Manifest:
    return Manifest(
        name=source.name,
        task=source.task,
        limits=replace(source.limits, block=made.block),
        labels=source.labels,
        preprocess=source.preprocess,
        globals=source.globals,
        segments=source.segments,
        decoder=source.decoder,
        signature=None if source.own is None else source.own.signature,
        scores=source.scores,
        variants=(
            Graph("predict", "fp32", names.PREDICT_FILE, source.tensors, source.outputs),
            *(explain_graph(source, method, path) for method, path in explain_files(made).items()),
        ),
        tolerance=result.tolerance,
        grid=result.to_dict(),
        provenance={
            **source.provenance,
            "variant": source.variant.name,
            "attention": source.variant.attention,
            **({UNEXPLAINED: made.unexplained} if made.unexplained else {}),
            "opset": opset,
            "versions": {name: version(name) for name in ("edgexf", "torch", "onnx", "onnxscript", "onnxruntime")},
        },
    )


def explain_graph(source: Source, method: str, path: str) -> Graph:
    """What a method's graph takes and gives."""
    from edgexf_exporters.explain import METHODS

    given, found = source.explained_by(METHODS[method].path, METHODS[method].weights)
    return Graph(method, "fp32", path, (*source.tensors, *given), (*source.outputs, *found))


def explain_files(made: Graphs) -> dict[str, str]:
    """The explain graphs' paths in the bundle by their method."""
    return {method: names.explain_file(method, place == 0) for place, method in enumerate(made.explain)}


def json_bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n"


def verify(path: str | os.PathLike[str]) -> Verdict:
    """Hashes, contract and golden outputs of a bundle on this device, without torch. BundleError where it was changed."""
    from edgexf_runtimes import choice, golden, load

    found = bundle.read(Path(path))
    parts = []
    for dtype in dict.fromkeys(graph.dtype for graph in found.variants):
        with load(path, dtype=dtype, verify="never") as session:
            parts.append(Part(dtype, tuple(golden.check(session)), choice.tolerance(Path(path), found, dtype)))
    return Verdict(Bundle(Path(path), found), tuple(parts))
